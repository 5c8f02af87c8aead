using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Devices;

/// <summary>What workers might say of themselves.</summary>
internal static class TestHosts
{
    public const string NoDriver = "libcuda.so.1 was not found";

    public static string Uuid(int gpu) => $"GPU-00000000-0000-0000-0000-{gpu:d12}";

    /// <summary>A host with these GPUs, numbered by their ids; their ordinals count from 0.</summary>
    public static HelloReply With(params int[] gpus)
    {
        HelloReply host = new() { HostId = "boot/ipc/shm", Version = "1", Isa = InstructionSet.Avx2, Device = "cpu test", CudaVersion = "13.0", IpcNamespace = "ipc:[1]", PidNamespace = "pid:[1]" };
        foreach (int gpu in gpus)
            host.Gpus.Add(new GpuFacts { Ordinal = host.Gpus.Count, Uuid = Uuid(gpu), Name = "NVIDIA Test", TotalBytes = 80L << 30, FreeBytes = 78L << 30, Capability = 90, Multiprocessors = 132, PciBus = "0000:1b:00.0" });
        return host;
    }

    public static HelloReply Without(string reason = NoDriver) => new() { HostId = "boot/ipc/shm", Version = "1", Isa = InstructionSet.Avx2, Device = "cpu test", GpuReason = reason };
}
