namespace TpServe.Gateway.Commands.Doctor;

/// <summary>All checks, in the order in which one would mend things.</summary>
internal static class Examination
{
    public static IReadOnlyList<Finding> Run(DoctorFacts facts)
    {
        Finding?[] findings =
        [
            ServingChecks.Settings(facts),
            ServingChecks.Model(facts),
            ServingChecks.WorkerProgram(facts),
            .. ServingChecks.Workers(facts),
            DeviceChecks.Gpus(facts),
            DeviceChecks.Placement(facts),
            DeviceChecks.InstructionSets(facts),
            ServingChecks.Plan(facts),
            HostChecks.Memory(facts),
            HostChecks.Cpu(facts),
            DeviceChecks.IpcNamespace(facts),
            DeviceChecks.PidNamespace(facts),
            DeviceChecks.CudaIpc(facts),
            HostChecks.SharedMemory(facts),
            HostChecks.MemoryLock(facts),
            HostChecks.OpenFiles(facts),
            HostChecks.TempFolder(facts),
            ServingChecks.Http(facts),
            ServingChecks.Grpc(facts),
            HostChecks.Unicode(facts),
            HostChecks.User(facts),
        ];
        return [.. findings.OfType<Finding>()];
    }
}
