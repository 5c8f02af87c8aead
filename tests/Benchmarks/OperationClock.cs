using System.Diagnostics;

namespace TpServe.Benchmarks;

/// <summary>What a step consists of; matrix products are told apart by their place in a block.</summary>
internal enum Operation
{
    Embed, Qkv, RopeStoreKv, Attention, Output, GateUp, GatedActivation, Down, Mlp, AddNorm, RmsNorm, Head, TopK, Elementwise, CopyRows, Transfer, SumTree, SumDisjoint, Gather, Broadcast,
}

/// <summary>Adds up where one step's time goes.</summary>
/// <remarks>
/// Threads   the rank's thread.
/// Cost      two readings of the clock and a few additions an operation, which fall into what lies between operations.
/// </remarks>
internal sealed class OperationClock
{
    private static readonly int s_operations = Enum.GetValues<Operation>().Length;
    private StepTimes _step = new(s_operations);
    private long _start;

    /// <summary>False = operations pass unmeasured.</summary>
    public bool IsOn { get; private set; }

    /// <summary>Ticks of all operations so far: what one that has others within it leaves to them.</summary>
    public double Added { get; private set; }

    /// <summary>Begins a step.</summary>
    public void BeginStep(bool isOn)
    {
        IsOn = isOn;
        _step = new StepTimes(s_operations);
        _start = Stopwatch.GetTimestamp();
    }

    /// <summary>Ends it: its times, which stay the caller's.</summary>
    public StepTimes EndStep()
    {
        _step.Ticks = Stopwatch.GetTimestamp() - _start;
        return _step;
    }

    /// <summary>Ends an operation that began at <paramref name="start"/>.</summary>
    /// <param name="operation">Which.</param>
    /// <param name="start">Stopwatch's timestamp before it.</param>
    /// <param name="bytes">Memory it cannot avoid to read and write.</param>
    /// <param name="flops">Multiplications and additions of matrix products.</param>
    public void Add(Operation operation, long start, double bytes = 0, double flops = 0)
    {
        ref OperationTimes entry = ref _step.Operations[(int)operation];
        long ticks = Stopwatch.GetTimestamp() - start;
        entry.Ticks += ticks;
        Added += ticks;
        entry.Calls++;
        entry.Bytes += bytes;
        entry.Flops += flops;
    }
}

/// <summary>One step, or the average of some.</summary>
/// <param name="operations">Number of <see cref="Operation"/>s.</param>
internal sealed class StepTimes(int operations)
{
    /// <summary>From the step's begin to its end.</summary>
    public double Ticks { get; set; }

    /// <summary>By operation.</summary>
    public OperationTimes[] Operations { get; } = new OperationTimes[operations];

    /// <summary>From the step's begin to its end.</summary>
    public double Milliseconds => Ticks * 1e3 / Stopwatch.Frequency;

    /// <summary>What no operation took.</summary>
    public double BetweenMilliseconds => Milliseconds - Operations.Sum(entry => entry.Milliseconds);

    /// <summary>The average of the middle third by duration: what is added up adds up, and a disturbed step counts for nothing.</summary>
    public static StepTimes Typical(IReadOnlyList<StepTimes> steps)
    {
        StepTimes[] sorted = [.. steps.OrderBy(step => step.Ticks)];
        StepTimes[] middle = sorted[(sorted.Length / 3)..Math.Max((2 * sorted.Length + 2) / 3, sorted.Length / 3 + 1)];
        StepTimes typical = new(sorted[0].Operations.Length) { Ticks = middle.Average(step => step.Ticks) };
        for (int i = 0; i < typical.Operations.Length; i++)
        {
            typical.Operations[i] = middle[0].Operations[i];
            typical.Operations[i].Ticks = middle.Average(step => step.Operations[i].Ticks);
        }
        return typical;
    }
}

/// <summary>One operation over a step.</summary>
internal struct OperationTimes
{
    /// <summary>Stopwatch's ticks.</summary>
    public double Ticks;

    /// <summary>Calls.</summary>
    public int Calls;

    /// <summary>Memory read and written.</summary>
    public double Bytes;

    /// <summary>Multiplications and additions of matrix products.</summary>
    public double Flops;

    /// <summary>Its time.</summary>
    public readonly double Milliseconds => Ticks * 1e3 / Stopwatch.Frequency;
}
