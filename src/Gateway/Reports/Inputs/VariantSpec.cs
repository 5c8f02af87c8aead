using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Sharding;

namespace TpServe.Gateway.Reports.Inputs;

/// <summary>A group of workers to be measured.</summary>
/// <param name="Name">As the report names it.</param>
/// <param name="Degree">Workers.</param>
/// <param name="Partition">Weights; empty = even.</param>
internal sealed record VariantSpec(string Name, int Degree, string Partition)
{
    /// <summary>What partial sums are sent as where nothing is rounded.</summary>
    public static readonly string ExactWire = Words.Wires.Of(Protos.Worker.Wire.F32);

    /// <summary>What partial sums are sent as.</summary>
    public string Wire { get; init; } = ExactWire;

    /// <summary>Whether they are rounded, so that outputs are others.</summary>
    public bool IsRounded => Wire != ExactWire;

    /// <summary>Measured only to be compared with.</summary>
    public bool IsBaseline { get; init; }

    /// <summary>Threads of each worker; 0 = as the settings say.</summary>
    public int Threads { get; init; }

    /// <summary>Flags of the server beside those of all.</summary>
    public IReadOnlyList<string> Flags =>
    [
        "--tp", Text(Degree), "--partition", Partition.Length == 0 ? "even" : Partition, "--wire", Wire, .. Threads > 0 ? (string[])["--threads", Text(Threads)] : [],
    ];

    /// <summary>What --degrees, --partition and --wire ask for, without repetitions; faults name the flag and the value.</summary>
    /// <exception cref="InputFileException">A value is not allowed.</exception>
    public static IReadOnlyList<VariantSpec> Of(string degrees, IEnumerable<string> partitions, string wires)
    {
        string[] sent = [.. wires.Split(',', StringSplitOptions.TrimEntries).Select(wire => Words.Wires.TryParse(wire, out Protos.Worker.Wire known)
            ? Words.Wires.Of(known)
            : throw new InputFileException($"--wire {wires}: '{wire}' is not one of {string.Join(", ", Words.Wires.All)}."))];
        List<VariantSpec> specs = [];
        foreach (string text in degrees.Split(',', StringSplitOptions.TrimEntries))
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int degree) && degree is >= 1 and <= Sharding.Partition.MaxDegree)
                specs.Add(new VariantSpec($"tp {degree}", degree, ""));
            else
                throw new InputFileException($"--degrees {degrees}: '{text}' is no whole number in 1..{Sharding.Partition.MaxDegree}.");
        Setting setting = SettingsTable.Of(nameof(GatewayOptions.Partition));
        foreach (string text in partitions)
        {
            (GatewayOptions options, string? fault) = setting.Apply(new GatewayOptions(), text);
            if (fault is not null)
                throw new InputFileException("--partition: " + fault);
            if (options.Partition.Weights.Count is 0 or > Sharding.Partition.MaxDegree)
                throw new InputFileException($"--partition {text}: write one weight for each worker; --degrees measures even splits.");
            specs.Add(new VariantSpec($"tp {options.Partition.Weights.Count}, partition {text}", options.Partition.Weights.Count, text));
        }
        return [.. specs.SelectMany(spec => (spec.Degree == 1 ? [ExactWire] : sent).Select(spec.Sending)).DistinctBy(spec => spec.Name)];
    }

    private VariantSpec Sending(string wire) => wire == ExactWire ? this : this with { Name = $"{Name}, wire {wire}", Wire = wire };

    /// <summary>One worker with the threads of one worker of the largest group: what its speed-up is taken from where no group of so few threads is measured; null where it is not needed.</summary>
    /// <param name="specs">What is measured.</param>
    /// <param name="cores">Cores of the host.</param>
    public static VariantSpec? Baseline(IReadOnlyList<VariantSpec> specs, int cores)
    {
        int each = Math.Max(1, cores / specs.Max(spec => spec.Degree));
        return specs.Any(spec => ThreadsOf(spec.Degree, 0, cores) <= each)
            ? null
            : new VariantSpec($"tp 1, {Text(each)} thread{(each == 1 ? "" : "s")}", 1, "") { IsBaseline = true, Threads = each };
    }

    /// <summary>Compute threads of a group, no more than there are cores: threads beyond them are no resource.</summary>
    /// <param name="degree">Workers.</param>
    /// <param name="threads">Of each; 0 = the cores divided by the workers.</param>
    /// <param name="cores">Cores of the host.</param>
    public static int ThreadsOf(int degree, int threads, int cores) => Math.Min(cores, degree * (threads > 0 ? threads : Math.Max(1, cores / degree)));

    /// <summary>The same for threads as a setting gives them.</summary>
    public static int ThreadsOf(int degree, PerRank<int> threads, int cores) =>
        threads.Values.Count > 1 ? Math.Min(cores, threads.Values.Sum(count => count > 0 ? count : Math.Max(1, cores / degree))) : ThreadsOf(degree, threads.At(0), cores);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
