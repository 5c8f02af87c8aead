using System.Diagnostics;
using System.Globalization;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;

namespace TpServe.Benchmarks;

/// <summary>How fast weights are packed: file bytes a second, from memory that was just read into memory that is fresh, as in a load.</summary>
/// <remarks>Usage     pack [threads] [format…]. Median of the repeats after the first; the first also compiles.</remarks>
internal static class PackBench
{
    private const int Outputs = 8192, Columns = 4096, Repeats = 7;

    private static readonly WeightFormat[] s_formats =
        [WeightFormat.Q8_0, WeightFormat.Q4_0, WeightFormat.Q4_1, WeightFormat.Q5_0, WeightFormat.Q2_K, WeightFormat.Q3_K, WeightFormat.Q4_K, WeightFormat.Q6_K, WeightFormat.BF16, WeightFormat.F16, WeightFormat.F32];

    public static void Run(string[] words)
    {
        int threads = words.Length > 0 && int.TryParse(words[0], CultureInfo.InvariantCulture, out int given) ? given : 1;
        WeightFormat[] formats = [.. words.Where(word => !int.TryParse(word, CultureInfo.InvariantCulture, out _)).Select(Enum.Parse<WeightFormat>)];
        using CpuBackend backend = new(threads);
        foreach (WeightFormat format in formats.Length > 0 ? formats : s_formats)
        {
            RandomRows rows = new(format, Outputs, Columns, distinct: true);
            long bytes = format.RowBytes(Columns) * Outputs;
            double[] speeds = [.. Enumerable.Range(0, Repeats).Select(_ =>
            {
                long start = Stopwatch.GetTimestamp();
                using PackedWeight packed = backend.PackWeight(rows, InputLeaves.Whole(Columns));
                return bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9;
            })];
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {format,-7} {bytes / 1048576.0,5:F0} MiB, {threads} threads: {Spread.Of(speeds.Skip(1)).Text(2)} GB/s, first {speeds[0]:F2}"));
        }
    }
}
