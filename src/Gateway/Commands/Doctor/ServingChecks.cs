using System.Globalization;
using System.Net;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>Settings, model, plan, addresses and workers. Pure functions of the facts.</summary>
internal static class ServingChecks
{
    public static Finding Settings(DoctorFacts facts) => facts.SettingFaults.Count == 0
        ? Finding.Ok("settings", "Every setting is within its limits.")
        : Finding.Fail("settings", string.Join(" ", facts.SettingFaults), "the flag, variable or line of appsettings.json that each names; docs/SETTINGS.md has them all");

    public static Finding Model(DoctorFacts facts) => facts.ModelFault.Length == 0
        ? Finding.Ok("model", facts.ModelSummary + ".")
        : Finding.Fail("model", facts.ModelFault, facts.InContainer ? "volumes: [./models:/models:ro], and --model /models/FILE" : "--model FILE|FOLDER");

    /// <summary>Who owns what and how much context fits; null where other findings come first.</summary>
    public static Finding? Plan(DoctorFacts facts)
    {
        if (facts.Plan is { } plan)
            return Finding.Ok("plan", string.Create(CultureInfo.InvariantCulture,
                $"{Amounts.Count(plan.Degree, "worker")}, context of {plan.MaxModelLen} tokens, cache of {(long)plan.KvBlocks * plan.BlockTokens}."));
        return facts.PlanFault.Length > 0 ? Finding.Fail("plan", facts.PlanFault, "--tp, --max-model-len, --kv-cache, --partition or --gpu-memory-utilization, as the sentence says") : null;
    }

    public static Finding? Http(DoctorFacts facts) => Address(facts, "http", "--http", facts.Options.Http, facts.HttpFault, facts.SparePorts.Http);

    public static Finding? Grpc(DoctorFacts facts) => Address(facts, "grpc", "--grpc", facts.Options.Grpc, facts.GrpcFault, facts.SparePorts.Grpc);

    /// <summary>The program of local workers; null where it was not tried.</summary>
    public static Finding? WorkerProgram(DoctorFacts facts) =>
        facts.Options.Workers.Count > 0 ? Finding.Ok("worker program", "Not needed: the workers run elsewhere.")
        : facts.WorkerProgramFault.Length > 0 ? Finding.Fail("worker program", facts.WorkerProgramFault, "dotnet publish src/Gateway copies it to worker/ beside the gateway; copy the folder whole")
        : facts.Host is null ? null
        : Finding.Ok("worker program", "It starts.");

    /// <summary>Each external worker.</summary>
    public static IEnumerable<Finding> Workers(DoctorFacts facts)
    {
        foreach ((int rank, WorkerAnswer worker) in facts.Workers.Index())
        {
            string check = string.Create(CultureInfo.InvariantCulture, $"worker {rank}");
            if (worker.Reply is not { } reply)
                yield return Finding.Fail(check, worker.Fault, worker.Fault.Contains("secret", StringComparison.Ordinal)
                    ? "--secret-file here and --secret-file there must hold the same text"
                    : worker.Fault.Contains("TLS", StringComparison.Ordinal) || worker.Fault.Contains("certificate", StringComparison.Ordinal)
                    ? "--tls here and --tls there must name the same certificate, and the address must begin with https"
                    : $"start it: TpServe.Worker --listen 0.0.0.0:{PortOf(worker.Address)} --secret-file FILE {(facts.Options.Tls.Length > 0 ? "--tls DIR" : "--insecure-links")}");
            else if (reply.Version != facts.Version)
                yield return Finding.Fail(check, $"{worker.Address} is release {reply.Version}; this gateway is {facts.Version}.", "the same image or build for the gateway and every worker");
            else
                yield return Finding.Ok(check, $"{worker.Address}: release {reply.Version}, {Device(reply)}.");
        }
    }

    private static Finding? Address(DoctorFacts facts, string check, string flag, string address, string fault, int sparePort)
    {
        if (!Endpoints.TryParse(address, out IPEndPoint endpoint, out _))
            return null; // the settings' fault, and reported there
        if (fault.Length > 0)
            return Finding.Fail(check, $"{address} cannot be listened on: {fault}", $"{flag} {(IPAddress.IsLoopback(endpoint.Address) ? "127.0.0.1" : "0.0.0.0")}:{Number(sparePort)}");
        return facts.InContainer && IPAddress.IsLoopback(endpoint.Address)
            ? Finding.Warn(check, $"{address} is free, but is reached from inside this container alone.", $"{flag} 0.0.0.0:{Number(endpoint.Port)}")
            : Finding.Ok(check, $"{address} is free.");
    }

    private static string Device(HelloReply reply) => reply.Gpus.Count > 0 ? $"{Amounts.Count(reply.Gpus.Count, "GPU")}" : reply.Device;

    private static string PortOf(string address) => Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) ? Number(uri.Port) : "PORT";

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
