using System.Globalization;
using System.Text;
using TpServe.Gateway.Settings;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The docker-compose.override.yml that makes docker-compose.yml serve a predicted plan: devices, degree, partition; on several hosts the gateway's workers.</summary>
/// <remarks>Host names and numbers alone go into it; every text that came from a file is quoted.</remarks>
internal static class PlanCompose
{
    private const int FirstPort = 9001;

    public static string Of(PredictedPlan predicted)
    {
        RankedPlan plan = predicted.Result.Best;
        string[] hosts = [.. plan.Devices.Select(device => predicted.Devices.Hosts[device])];
        (IReadOnlyList<double> weights, Partition _, double excess) = predicted.NearestWeights(plan);
        string partition = weights.Count == 0 ? "even" : string.Join(',', weights.Select(weight => weight.ToString("0.######", CultureInfo.InvariantCulture)));
        StringBuilder text = new();
        text.AppendLine("# docker-compose.override.yml, beside docker-compose.yml.");
        text.AppendLine(Invariant($"# Planned for {predicted.Objective}: {plan.Degree} of {predicted.Devices.Profiles.Count} devices, predicted {PlanReport.Time(plan.Prediction.PromptSeconds)} to the first token and {PlanReport.Time(plan.Prediction.StepSeconds)} per output token."));
        if (excess > 0.0005)
            text.AppendLine(Invariant($"# --partition splits heads, MLP and vocabulary in one proportion: predicted to cost {excess:P1} more than the plan."));
        if (hosts.Distinct().Count() > 1)
            Several(text, predicted, plan, hosts, partition);
        else
            One(text, predicted, plan, partition);
        return text.ToString();
    }

    private static void One(StringBuilder text, PredictedPlan predicted, RankedPlan plan, string partition)
    {
        bool gpus = predicted.Devices.AreGpus;
        text.AppendLine(Invariant($"# docker compose --profile {(gpus ? "gpu" : "cpu")} up -d"));
        text.AppendLine("services:");
        text.AppendLine(gpus ? "  tpserve:" : "  tpserve-cpu:");
        text.AppendLine("    environment:");
        text.AppendLine(Invariant($"      Gateway__Tp: \"{plan.Degree}\""));
        if (gpus)
            text.AppendLine(Invariant($"      Gateway__Device: \"{string.Join(',', plan.Devices.Select(device => Invariant($"cuda:{predicted.Devices.Ordinals[device]}")))}\""));
        Shared(text, predicted, partition);
        if (gpus)
            text.AppendLine(Invariant($"      Gateway__GpuMemoryUtilization: \"{predicted.GpuMemory}\""));
    }

    private static void Several(StringBuilder text, PredictedPlan predicted, RankedPlan plan, string[] hosts, string partition)
    {
        bool gpus = predicted.Devices.AreGpus;
        string profile = gpus ? "multihost" : "multihost-cpu", service = gpus ? "worker" : "worker-cpu";
        List<string> addresses = [];
        for (int rank = 0; rank < plan.Degree; rank++)
        {
            int earlier = hosts.Take(rank).Count(host => host == hosts[rank]);
            string name = Host(hosts[rank]), address = Invariant($"http://{name}:{FirstPort + earlier}");
            addresses.Add(address);
            string gpu = gpus ? Invariant($" TPSERVE_WORKER_GPU={predicted.Devices.Ordinals[plan.Devices[rank]]}") : "";
            text.AppendLine(Invariant($"# rank {rank}, on {name}: TPSERVE_WORKER_BIND=<its address> TPSERVE_WORKER_PORT={FirstPort + earlier} TPSERVE_ADVERTISE={address}{gpu} docker compose -p rank{rank} --profile {profile} up -d {service}"));
        }
        text.AppendLine(Invariant($"# on the gateway's host: docker compose --profile {profile} up -d gateway"));
        text.AppendLine("services:");
        text.AppendLine("  gateway:");
        text.AppendLine("    command:");
        foreach (string word in new[] { "serve", "--transport", "ring" }.Concat(addresses.SelectMany(address => new[] { "--worker", address })))
            text.AppendLine(Invariant($"      - \"{word}\""));
        text.AppendLine("    environment:");
        Shared(text, predicted, partition);
    }

    private static void Shared(StringBuilder text, PredictedPlan predicted, string partition)
    {
        text.AppendLine(Invariant($"      Gateway__Partition: \"{partition}\""));
        text.AppendLine(Invariant($"      Gateway__KvDtype: \"{Words.KvDtypes.Of(predicted.KvDtype)}\""));
    }

    /// <summary>A name that cannot end a quoted text or a comment.</summary>
    private static string Host(string name) => new([.. name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or ':' or '_' or '[' or ']' ? c : '-')]);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
