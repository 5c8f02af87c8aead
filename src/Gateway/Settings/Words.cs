using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Settings;

/// <summary>What people call the values of an enum: on the command line, in reports and in JSON. Inside, the enum alone is compared.</summary>
public sealed class Words<T>(params (T Value, string Word)[] entries) where T : struct, Enum
{
    /// <summary>Every word, in the order in which help names them.</summary>
    public IEnumerable<string> All => entries.Select(entry => entry.Word);

    /// <summary>The word of a value.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It has none: a peer sent what this release does not know.</exception>
    public string Of(T value)
    {
        foreach ((T known, string word) in entries)
            if (EqualityComparer<T>.Default.Equals(known, value))
                return word;
        throw new ArgumentOutOfRangeException(nameof(value), value, "has no word");
    }

    /// <summary>The value of a word, in any case.</summary>
    public bool TryParse(string text, out T value)
    {
        foreach ((T known, string word) in entries)
            if (word.Equals(text, StringComparison.OrdinalIgnoreCase))
            {
                value = known;
                return true;
            }
        value = default;
        return false;
    }
}

/// <summary>The words of every enum that a setting has. "auto" is unspecified: nobody has chosen yet.</summary>
public static class Words
{
    /// <summary>Devices without an ordinal.</summary>
    public static Words<DeviceKind> Devices { get; } = new(
        (DeviceKind.Unspecified, "auto"), (DeviceKind.Cpu, "cpu"), (DeviceKind.Cuda, "cuda"), (DeviceKind.CudaEmulated, "cuda-emulated"));

    /// <summary>Transports of collectives.</summary>
    public static Words<Transport> Transports { get; } = new(
        (Transport.Unspecified, "auto"), (Transport.CudaIpc, "cuda-ipc"), (Transport.Shm, "shm"), (Transport.Ring, "ring"), (Transport.Hosted, "hosted"));

    /// <summary>What partial sums are sent as.</summary>
    public static Words<Wire> Wires { get; } = new((Wire.F32, "f32"), (Wire.Bf16, "bf16"), (Wire.Q8, "q8"));

    /// <summary>Types of the KV cache.</summary>
    public static Words<KvDtype> KvDtypes { get; } = new((KvDtype.F16, "f16"), (KvDtype.F32, "f32"), (KvDtype.Bf16, "bf16"), (KvDtype.Q8, "q8"));

    /// <summary>Types of activations.</summary>
    public static Words<ActivationDtype> Activations { get; } = new((ActivationDtype.Auto, "auto"), (ActivationDtype.F32, "f32"));

    /// <summary>Instruction set paths, narrowest first within an architecture.</summary>
    public static Words<InstructionSet> InstructionSets { get; } = new(
        (InstructionSet.Unspecified, "auto"), (InstructionSet.Scalar, "scalar"), (InstructionSet.Avx2, "avx2"), (InstructionSet.AvxVnni, "avx-vnni"),
        (InstructionSet.Avx512, "avx512"), (InstructionSet.Avx512Vnni, "avx512-vnni"), (InstructionSet.Neon, "neon"));

    /// <summary>What to do about a lost rank.</summary>
    public static Words<OnRankLoss> RankLosses { get; } = new((OnRankLoss.Restart, "restart"), (OnRankLoss.Fail, "fail"), (OnRankLoss.Shrink, "shrink"));

    /// <summary>What to do about ranks that have become uneven.</summary>
    public static Words<Rebalance> Rebalances { get; } = new((Rebalance.Off, "off"), (Rebalance.Advise, "advise"), (Rebalance.On, "on"));

    /// <summary>Whether sums are computed beside the next rows.</summary>
    public static Words<OverlapWish> Overlaps { get; } = new((OverlapWish.Auto, "auto"), (OverlapWish.On, "on"), (OverlapWish.Off, "off"));

    /// <summary>What a plan is to be good at.</summary>
    public static Words<PlanObjective> Objectives { get; } = new((PlanObjective.Latency, "latency"), (PlanObjective.Throughput, "throughput"));

    /// <summary>What the links of a plan go over.</summary>
    public static Words<LinkTransport> LinkTransports { get; } = new(
        (LinkTransport.SharedMemory, "shm"), (LinkTransport.CudaIpc, "cuda-ipc"), (LinkTransport.Ring, "ring"));

    /// <summary>Ways to pool hidden states.</summary>
    public static Words<Checkpoint.Config.Pooling> Poolings { get; } = new(
        (Checkpoint.Config.Pooling.Last, "last"), (Checkpoint.Config.Pooling.Mean, "mean"), (Checkpoint.Config.Pooling.First, "first"));

    /// <summary>Ways to guess tokens ahead.</summary>
    public static Words<Speculation> Speculations { get; } = new((Speculation.Off, "off"), (Speculation.Ngram, "ngram"));
}
