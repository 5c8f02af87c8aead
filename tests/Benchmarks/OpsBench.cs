using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Text.Json;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.Local;
using TpServe.Collectives.SharedMemory;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Sharding;

namespace TpServe.Benchmarks;

/// <summary>Where a CPU step's time goes, operation by operation, in this process: one rank of all threads, then two ranks of one thread over shared memory.</summary>
/// <remarks>
/// Usage     ops [threads] [isa] [smollm2|1b|3b|moe] [format] [long] [--json FILE]. `long` adds contexts of 8,000 tokens.
/// A step's time is the median of its repetitions; its operations are those of the middle third of them, so that they add up. GB/s are the weights of a product,
/// the keys and values that attention cannot avoid to read, or the rows that another operation reads and writes; GFLOP/s are products of matrices and attention.
/// "between" is what no operation takes: the model's and the step's own code, and the clocks. A fourth of the steps runs with the clocks off.
/// </remarks>
internal static class OpsBench
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(120);
    private static readonly Operation[] s_products = [Operation.Qkv, Operation.Output, Operation.GateUp, Operation.Down, Operation.Mlp, Operation.Head];

    public static void Run(string repository, string workFolder, string[] words)
    {
        (Setup setup, string? json) = Read(words);
        string smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        string file = BenchModel.Write(setup.Shape, setup.Format, workFolder, smol);
        List<StepKind> kinds =
        [
            new("prefill 128", 1, 128, 0), new("prefill 512", 1, 512, 0),
            new("decode, batch 1, context 128", 1, 1, 128), new("decode, batch 8, context 128", 8, 1, 128), new("decode, batch 32, context 128", 32, 1, 128),
            new("decode, batch 1, context 2000", 1, 1, 2000),
        ];
        if (setup.Long)
            kinds.AddRange([new("prefill 512 after 7488", 1, 512, 7488), new("decode, batch 1, context 8000", 1, 1, 8000)]);

        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(file);
        List<object> groups = [];
        foreach ((int degree, int threads) in new[] { (1, setup.Threads), (2, 1) })
        {
            (string limits, double read) = Limits(degree * threads, setup);
            Console.Error.WriteLine($"{setup.Shape.Name} {setup.Format}, degree {degree}, {threads} threads a rank: loading and {kinds.Count} kinds of step");
            StepProfile[][] ranks = Measure(checkpoint, degree, threads, setup.Isa, kinds, out string description, out long weightBytes);
            Console.WriteLine($"\n## {setup.Shape.Name} {setup.Format}, {degree} {(degree == 1 ? "rank" : "ranks over shared memory")}, each {description}");
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{limits}; all weights once: {weightBytes / read / 1e6:F2} ms"));
            for (int kind = 0; kind < kinds.Count; kind++)
                Console.WriteLine(Table([.. ranks.Select(rank => rank[kind])]));
            groups.Add(new { degree, threads, description, limits, ranks = ranks.Select(rank => rank.Select(Facts)) });
        }
        if (json is not null)
            File.WriteAllText(json, JsonSerializer.Serialize(new { model = setup.Shape.Name, format = setup.Format.ToString(), groups }, s_json));
    }

    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    private static (Setup Setup, string? Json) Read(string[] words)
    {
        Setup setup = new(Environment.ProcessorCount, Isa.Detect(), RandomLlama.Shape.SmolLM2, TensorType.Q4_1, false);
        string? json = null;
        bool formatGiven = false;
        for (int i = 0; i < words.Length; i++)
            if (words[i] == "--json" && i + 1 < words.Length)
                json = words[++i];
            else if (int.TryParse(words[i], CultureInfo.InvariantCulture, out int threads))
                setup = setup with { Threads = threads };
            else if (Isa.TryParse(words[i], out IsaPath isa))
                setup = setup with { Isa = isa };
            else if (BenchModel.ShapeOf(words[i]) is { } shape)
                setup = setup with { Shape = shape, Format = formatGiven || shape == RandomLlama.Shape.SmolLM2 ? setup.Format : TensorType.Q8_0 };
            else if (Enum.TryParse(words[i], ignoreCase: true, out TensorType format))
                (setup, formatGiven) = (setup with { Format = format }, true);
            else if (words[i] == "long")
                setup = setup with { Long = true };
            else
                throw new ArgumentException($"'{words[i]}' is no thread count, instruction path, model, format or known word.");
        return (setup, json);
    }

    private static (string Text, double Read) Limits(int threads, Setup setup)
    {
        using CpuThreads all = new(threads);
        using MachineLimits limits = new(all, InstructionFamily.Of(setup.Isa) ?? throw new PlatformNotSupportedException("The limits of the machine are measured by emitted code."));
        double read = limits.ReadGigabytes();
        return (string.Create(CultureInfo.InvariantCulture,
            $"limits of {threads} threads: read {read:F1} GB/s, products of {setup.Format} {limits.GigaOperations((WeightFormat)setup.Format):F0} GOP/s, float32 {limits.GigaOperations(WeightFormat.F32):F0} GFLOP/s"), read);
    }

    /// <summary>Every kind on every rank; ranks are threads of this process.</summary>
    private static StepProfile[][] Measure(ModelCheckpoint checkpoint, int degree, int threads, IsaPath isa, List<StepKind> kinds, out string description, out long weightBytes)
    {
        StepProfile[][] profiles = new StepProfile[degree][];
        string[] descriptions = new string[degree];
        long[] bytes = new long[degree];
        Exception? fault = null;
        using ProfiledRank.Meeting meeting = new(degree);
        Partition partition = Partition.Even(checkpoint.Config, degree);
        string prefix = $"tpserve-ops-{Environment.ProcessId}-{degree}";
        Thread[] runners = [.. Enumerable.Range(0, degree).Select(rank => new Thread(() =>
        {
            try
            {
                using CpuBackend backend = new(threads, isa);
                using ICommunicator group = degree == 1 ? new SingleRank(1, backend) : SharedMemoryCommunicator.Join(prefix, rank, degree, s_timeout, epoch: 1);
                using ProfiledRank profiled = new(checkpoint, new ShardPlan(checkpoint.Config, partition, rank), backend, group, kinds, meeting);
                bytes[rank] = profiled.WeightBytes;
                descriptions[rank] = string.Create(CultureInfo.InvariantCulture, $"{backend.Description}, {profiled.WeightBytes / 1e6:F0} MB of weights");
                profiles[rank] = [.. kinds.Select(kind =>
                {
                    if (rank == 0)
                        Console.Error.WriteLine($"  {kind.Name}");
                    return profiled.Measure(kind);
                })];
            }
            catch (Exception exception)
            {
                Interlocked.CompareExchange(ref fault, exception, null);
            }
        }))];
        foreach (Thread runner in runners)
            runner.Start();
        foreach (Thread runner in runners)
            runner.Join();
        if (fault is not null)
            ExceptionDispatchInfo.Throw(fault);
        (description, weightBytes) = (descriptions[0], bytes.Sum());
        return profiles;
    }

    private static string Table(StepProfile[] ranks)
    {
        StepProfile first = ranks[0];
        StepTimes typical = first.Typical;
        double products = s_products.Sum(product => typical.Operations[(int)product].Milliseconds);
        StringBuilder text = new();
        text.AppendLine(CultureInfo.InvariantCulture,
            $"\n{first.Kind.Name}: {first.Milliseconds.Text(2)} ms a step of {first.Milliseconds.Count}, {first.Kind.Sequences * first.Kind.Tokens * 1e3 / first.Milliseconds.Median:F1} tokens/s; clocks off {first.Unclocked.Text(2)} ms; matrix products {100 * products / typical.Milliseconds:F1} %");
        text.AppendLine(CultureInfo.InvariantCulture, $"  {"operation",-16} {"calls",6} {"ms",9} {"share",7} {"GB/s",7} {"GFLOP/s",8}{(ranks.Length > 1 ? "   rank 1 ms" : "")}");
        for (int i = 0; i < typical.Operations.Length; i++)
        {
            OperationTimes entry = typical.Operations[i];
            if (entry.Calls == 0)
                continue;
            string bytes = entry.Bytes > 0 ? $"{entry.Bytes / entry.Milliseconds / 1e6:F1}" : "", flops = entry.Flops > 0 ? $"{entry.Flops / entry.Milliseconds / 1e6:F1}" : "";
            text.AppendLine(CultureInfo.InvariantCulture, $"  {Name((Operation)i),-16} {entry.Calls,6} {Row(entry.Milliseconds)} {bytes,7} {flops,8}{Others(rank => rank.Operations[i].Milliseconds)}");
        }
        text.Append(CultureInfo.InvariantCulture, $"  {"between",-16} {"",6} {Row(typical.BetweenMilliseconds)} {"",7} {"",8}{Others(rank => rank.BetweenMilliseconds)}");
        return text.ToString();

        string Row(double milliseconds) => string.Create(CultureInfo.InvariantCulture, $"{milliseconds,9:F3} {100 * milliseconds / typical.Milliseconds,5:F1} %");

        string Others(Func<StepTimes, double> value) => string.Concat(ranks.Skip(1).Select(rank => string.Create(CultureInfo.InvariantCulture, $"{value(rank.Typical),12:F3}")));
    }

    private static object Facts(StepProfile profile) => new
    {
        kind = profile.Kind.Name,
        milliseconds = profile.Milliseconds,
        unclocked = profile.Unclocked,
        typical = profile.Typical.Milliseconds,
        between = profile.Typical.BetweenMilliseconds,
        operations = profile.Typical.Operations.Select((entry, i) => new { name = Name((Operation)i), calls = entry.Calls, milliseconds = entry.Milliseconds, bytes = entry.Bytes, flops = entry.Flops })
            .Where(entry => entry.calls > 0),
    };

    private static string Name(Operation operation) => operation switch
    {
        Operation.Qkv => "linear qkv",
        Operation.Output => "linear o",
        Operation.GateUp => "linear gate-up",
        Operation.Down => "linear down",
        Operation.Mlp => "gated mlp",
        Operation.Head => "linear head",
        Operation.RopeStoreKv => "rope + store kv",
        Operation.GatedActivation => "gated act.",
        Operation.AddNorm => "add + norm",
        Operation.RmsNorm => "rms norm",
        Operation.CopyRows => "copy rows",
        Operation.TopK => "top-k",
        Operation.Attention => "attention",
        _ => operation.ToString().ToLowerInvariant(),
    };

    /// <summary>What is measured.</summary>
    private sealed record Setup(int Threads, IsaPath Isa, RandomLlama.Shape Shape, TensorType Format, bool Long);
}
