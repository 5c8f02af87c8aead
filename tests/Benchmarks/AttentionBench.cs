using System.Diagnostics;
using System.Globalization;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Benchmarks;

/// <summary>Attention of one layer beside the machine's limits: streaming read of keys and values where one row decodes, the multiply pipes where many are computed.</summary>
/// <remarks>
/// Usage     attention [threads] [isa] [cache type]. As many layers take turns as no cache holds; blocks of 16 tokens lie in order, or shuffled as in a server
///           that has run for a while. Times are medians; limits are measured right before.
/// </remarks>
internal static unsafe class AttentionBench
{
    private const int BlockTokens = 16;
    private const long TotalBytes = 192L << 20;

    private static readonly (string Name, int Heads, int KvHeads, int Dim)[] Shapes = [("smollm2", 9, 3, 64), ("1b", 32, 8, 64), ("3b", 24, 8, 128)];

    public static void Run(ReadOnlySpan<string> arguments)
    {
        (int count, IsaPath isa) = KernelBench.TakeThreadsAndIsa(ref arguments);
        ElementType type = arguments.Length > 0 ? Enum.Parse<ElementType>(arguments[0]) : ElementType.Float16;
        using CpuThreads threads = new(count);
        using MachineLimits limits = new(threads, InstructionFamily.Of(isa) ?? throw new PlatformNotSupportedException("The limits of the machine are measured by emitted code."));
        using CpuBackend backend = new(count, isa);
        Console.WriteLine($"{isa.Name()}, {count} threads, {type}; decode: GB/s of keys and values, share of the streaming read; prefill: GFLOP/s, share of fused multiply-adds");
        foreach ((string name, int heads, int kvHeads, int dim) in Shapes)
        {
            foreach (int context in new[] { 128, 2000, 8000 })
                foreach (int rows in new[] { 1, 4 })
                    Decode(name, heads, kvHeads, dim, context, rows, type, backend, limits);
            Decode(name, heads, kvHeads, dim, 128, 32, type, backend, limits);
            foreach (int context in new[] { 512, 8000 })
                Prefill(name, heads, kvHeads, dim, context, type, backend, limits);
        }
    }

    // One row each of some sequences.
    private static void Decode(string name, int heads, int kvHeads, int dim, int context, int sequences, ElementType type, CpuBackend backend, MachineLimits limits)
    {
        foreach (bool shuffled in new[] { false, true })
        {
            using Layers layers = new(kvHeads, dim, context, sequences, shuffled, type, backend);
            using HostBuffer qs = Random(sequences * heads * dim), ys = new(sequences * heads * dim * 4L);
            int[] positions = [.. Enumerable.Repeat(context - 1, sequences)], sequenceOfRow = [.. Enumerable.Range(0, sequences)];
            using Step step = new(positions, sequenceOfRow, layers.Tables);
            double read = limits.ReadGigabytes();
            Spread times = Time(layers, step, Shape(heads, kvHeads, dim), qs, ys, sequences, heads * dim, backend);
            double rate = (double)context * sequences * kvHeads * type.KvColumns(dim) * 2 * type.SizeBytes() / times.Median / 1e9;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-8} decode  {sequences,3} x {context,5} {(shuffled ? "shuffled" : "in order")}  {times.Median * 1e6,8:F0} us  {rate,6:F1} GB/s  {rate / read:F2}"));
        }
    }

    // The last 512 rows of a context.
    private static void Prefill(string name, int heads, int kvHeads, int dim, int context, ElementType type, CpuBackend backend, MachineLimits limits)
    {
        const int rows = 512;
        using Layers layers = new(kvHeads, dim, context, 1, shuffled: false, type, backend);
        using HostBuffer qs = Random(rows * heads * dim), ys = new(rows * heads * dim * 4L);
        int[] positions = [.. Enumerable.Range(context - rows, rows)];
        using Step step = new(positions, new int[rows], layers.Tables);
        double peak = limits.GigaOperations(WeightFormat.F32);
        Spread times = Time(layers, step, Shape(heads, kvHeads, dim), qs, ys, rows, heads * dim, backend);
        double rate = positions.Sum(position => position + 1.0) * heads * dim * 4 / times.Median / 1e9;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-8} prefill {rows,3} x {context,5}           {times.Median * 1e6,8:F0} us  {rate,6:F1} GFLOP/s  {rate / peak:F2}"));
    }

    private static Spread Time(Layers layers, Step step, AttentionShape shape, HostBuffer qs, HostBuffer ys, int rows, int columns, CpuBackend backend)
    {
        Tensor q = new(qs, 0, rows, columns, columns, ElementType.Float32), y = new(ys, 0, rows, columns, columns, ElementType.Float32);
        List<double> times = [];
        double total = 0;
        for (int i = 0; total < 0.3 || i < 3 * layers.All.Count; i++)
        {
            long start = Stopwatch.GetTimestamp();
            backend.Attention(q, layers.All[i % layers.All.Count], step.Tensors, shape, y);
            if (i < layers.All.Count)
                continue;
            times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            total += times[^1];
        }
        return Spread.Of(times);
    }

    private static AttentionShape Shape(int heads, int kvHeads, int dim) =>
        new(dim, [.. Enumerable.Range(0, heads).Select(head => head * kvHeads / heads)], 1 / MathF.Sqrt(dim), 0, 0);

    private static HostBuffer Random(int count)
    {
        HostBuffer buffer = new(count * 4L);
        Random random = new(1);
        for (int i = 0; i < count; i++)
            ((float*)buffer.Pointer)[i] = (random.NextSingle() * 2) - 1;
        return buffer;
    }

    /// <summary>Filled caches of the same sequences, more than the processor's caches hold.</summary>
    private sealed class Layers : IDisposable
    {
        private readonly List<DeviceBuffer> _buffers = [];

        public Layers(int kvHeads, int dim, int context, int sequences, bool shuffled, ElementType type, CpuBackend backend)
        {
            int blocks = (context + BlockTokens - 1) / BlockTokens, all = blocks * sequences, rows = all * kvHeads * BlockTokens;
            int[] order = [.. Enumerable.Range(0, all)];
            if (shuffled)
                new Random(1).Shuffle(order);
            Tables = [.. Enumerable.Range(0, sequences).Select(sequence => order[(sequence * blocks)..((sequence + 1) * blocks)])];
            int columns = type.KvColumns(dim);
            long bytes = (long)rows * columns * type.SizeBytes();
            int layers = (int)Math.Clamp(TotalBytes / (2 * bytes), 1, 64);
            using HostBuffer source = Random(context * kvHeads * dim);
            Tensor kv = new(source, 0, context, kvHeads * dim, kvHeads * dim, ElementType.Float32);
            for (int layer = 0; layer < layers; layer++)
            {
                DeviceBuffer keys = backend.Allocate(bytes), values = backend.Allocate(bytes);
                _buffers.AddRange([keys, values]);
                KvLayer cache = new(new Tensor(keys, 0, rows, columns, columns, type), new Tensor(values, 0, rows, columns, columns, type), kvHeads, BlockTokens);
                foreach (int[] table in Tables)
                {
                    using Step slots = new([.. Enumerable.Range(0, context).Select(p => (table[p / BlockTokens] * BlockTokens) + (p % BlockTokens))], new int[context], [table]);
                    backend.StoreKv(kv, kv, slots.Tensors.Positions, cache);
                }
                All.Add(cache);
            }
        }

        public List<KvLayer> All { get; } = [];

        public int[][] Tables { get; }

        public void Dispose() => _buffers.ForEach(buffer => buffer.Dispose());
    }

    /// <summary>The integers of a step.</summary>
    private sealed class Step : IDisposable
    {
        private readonly List<HostBuffer> _buffers = [];

        public Step(int[] positions, int[] sequenceOfRow, int[][] tables)
        {
            Tensor rows = Of(positions, positions.Length), sequences = Of(sequenceOfRow, positions.Length);
            Tensors = new StepTensors(rows, rows, rows, sequences, Of([.. tables.SelectMany(table => table)], tables.Length));
        }

        public StepTensors Tensors { get; }

        public void Dispose() => _buffers.ForEach(buffer => buffer.Dispose());

        private Tensor Of(int[] values, int rows)
        {
            HostBuffer buffer = new(values.Length * 4L);
            values.CopyTo(new Span<int>(buffer.Pointer, values.Length));
            _buffers.Add(buffer);
            return new Tensor(buffer, 0, rows, values.Length / rows, values.Length / rows, ElementType.Int32);
        }
    }
}
