using System.Diagnostics;
using System.Globalization;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Benchmarks;

/// <summary>Matrix products of the CPU backend beside the machine's limits: streaming read for few rows, the multiply pipes for many.</summary>
/// <remarks>
/// Usage     kernels [threads] [isa] [format…]; times are the best of repeats, shares the median of ratios to the limit measured
///           right before, because a shared host drifts by the second.
/// </remarks>
internal static unsafe class KernelBench
{
    private const int Repeats = 5;
    private static readonly WeightFormat[] DefaultFormats =
        [WeightFormat.Q8_0, WeightFormat.Q4_0, WeightFormat.Q4_1, WeightFormat.Q4_K, WeightFormat.Q6_K, WeightFormat.BF16, WeightFormat.F16, WeightFormat.F32];

    public static void Run(ReadOnlySpan<string> arguments)
    {
        (int count, IsaPath isa) = TakeThreadsAndIsa(ref arguments);
        WeightFormat[] formats = arguments.Length == 0 ? DefaultFormats : [.. arguments.ToArray().Select(Enum.Parse<WeightFormat>)];
        using CpuThreads threads = new(count);
        using CpuLinear linear = new(threads, isa, CpuActivations.Auto);
        using MachineLimits limits = new(threads, InstructionFamily.Of(isa) ?? throw new PlatformNotSupportedException("The limits of the machine are measured by emitted code."));
        foreach (WeightFormat format in formats)
        {
            long start = Stopwatch.GetTimestamp();
            PanelKernel.For(PanelFormat.Of(format), CpuActivations.Auto, isa);
            Console.Write($"{format} {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F1} ms, ");
        }
        Console.WriteLine("to make a kernel");
        Console.WriteLine($"{isa.Name()}, {count} threads: read {limits.ReadGigabytes():F1} GB/s, integer dots {limits.GigaOperations(WeightFormat.Q8_0):F0} GOP/s, bf16 {limits.GigaOperations(WeightFormat.BF16):F0}, fma {limits.GigaOperations(WeightFormat.F32):F0} GFLOP/s");
        Console.WriteLine("8192 x 2048:     1 row: us   GB/s  of read |   8 rows: us | 1024 x 2048, 128 rows: GOP/s  of peak | leaves of 64: GOP/s  of whole | pack 8192 x 2048");
        foreach (WeightFormat format in formats)
            Measure(format, linear, limits);
    }

    /// <summary>The leading words [threads] [isa], which may be left out: 1, and the widest path of this CPU.</summary>
    public static (int Threads, IsaPath Isa) TakeThreadsAndIsa(ref ReadOnlySpan<string> arguments)
    {
        int count = 1;
        if (arguments.Length > 0 && int.TryParse(arguments[0], CultureInfo.InvariantCulture, out count))
            arguments = arguments[1..];
        IsaPath isa = Isa.Detect();
        if (arguments.Length > 0 && Isa.TryParse(arguments[0], out IsaPath forced))
        {
            isa = forced;
            arguments = arguments[1..];
        }
        return (count, isa);
    }

    private static void Measure(WeightFormat format, CpuLinear linear, MachineLimits limits)
    {
        const int outputs = 8192, columns = 2048;
        RandomRows rows = new(format, outputs, columns);
        long start = Stopwatch.GetTimestamp();
        using CpuPackedWeight weight = linear.Pack(rows, InputLeaves.Whole(columns));
        double pack = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        List<CpuPackedWeight> stream = [weight]; // more than any cache holds: one row reads memory
        while (stream.Count * weight.Bytes < MachineLimits.ReadBytes)
            stream.Add(linear.Pack(rows, InputLeaves.Whole(columns)));
        RandomRows few = new(format, 1024, columns);
        using CpuPackedWeight small = linear.Pack(few, InputLeaves.Whole(columns));
        using CpuPackedWeight tree = linear.Pack(few, Leaves(columns, 64));
        using HostBuffer xs = new(128L * columns * 4), ys = new(128L * outputs * 4);
        Random random = new(1);
        for (int i = 0; i < 128 * columns; i++)
            ((float*)xs.Pointer)[i] = (random.NextSingle() * 2) - 1;

        List<double> one = [], share = [], eight = [], many = [], ofPeak = [], leaves = [];
        for (int i = 0; i < Repeats; i++)
        {
            double read = limits.ReadGigabytes();
            double seconds = Time(linear, stream, xs, ys, 1) / stream.Count;
            one.Add(seconds);
            share.Add(weight.Bytes / seconds / 1e9 / read);
            eight.Add(Time(linear, [weight], xs, ys, 8));
            double peak = limits.GigaOperations(format);
            double operations = 2.0 * 128 * small.Outputs * columns / Time(linear, [small], xs, ys, 128) / 1e9;
            many.Add(operations);
            ofPeak.Add(operations / peak);
            leaves.Add(2.0 * 128 * tree.Outputs * columns / Time(linear, [tree], xs, ys, 128) / 1e9);
        }
        double first = one.Min();
        foreach (CpuPackedWeight copy in stream[1..])
            copy.Dispose();
        Console.WriteLine($"{format,-8}      {first * 1e6,12:F0} {weight.Bytes / first / 1e9,6:F1} {Median(share),8:F2} | {eight.Min() * 1e6,12:F0} | {many.Max(),15:F0} {Median(ofPeak),8:F2} | {leaves.Max(),15:F0} {leaves.Max() / many.Max(),8:F2} | {pack:F0} ms");
    }

    private static double Time(CpuLinear linear, IReadOnlyList<CpuPackedWeight> weights, HostBuffer xs, HostBuffer ys, int rows)
    {
        int columns = weights[0].Leaves.Columns, outputs = weights[0].Outputs;
        Tensor x = new(xs, 0, rows, columns, columns, ElementType.Float32);
        Tensor y = new(ys, 0, rows, outputs, outputs, ElementType.Float32);
        PackedWeight[][] each = [.. weights.Select(weight => new PackedWeight[] { weight })];
        linear.Linear(x, each[0], y);
        List<double> times = [];
        double total = 0;
        while (total < 0.05 || times.Count < 3)
        {
            long start = Stopwatch.GetTimestamp();
            foreach (PackedWeight[] one in each)
                linear.Linear(x, one, y);
            times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            total += times[^1];
        }
        return times.Min();
    }

    private static double Median(List<double> values)
    {
        List<double> sorted = [.. values.Order()];
        return sorted[sorted.Count / 2];
    }

    /// <summary>The canonical tree over leaves of equal size.</summary>
    public static InputLeaves Leaves(int columns, int leafColumns)
    {
        int count = columns / leafColumns;
        int[] merges = new int[count];
        Plan(0, count);
        return new InputLeaves([.. Enumerable.Range(0, count + 1).Select(leaf => leaf * leafColumns)], merges);

        void Plan(int low, int high)
        {
            if (high - low < 2)
                return;
            int middle = low + (high - low + 1) / 2;
            Plan(low, middle);
            Plan(middle, high);
            merges[high - 1]++;
        }
    }
}
