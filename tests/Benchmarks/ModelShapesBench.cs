using System.Diagnostics;
using System.Globalization;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;

namespace TpServe.Benchmarks;

/// <summary>All matrix products of a model's forward pass with random weights: tokens a second that attention, norms and sampling cannot exceed.</summary>
/// <remarks>Usage     shapes [threads] [smollm2|llama1b] [format]; one row is a decode step, 128 rows a prefill chunk (the head on one row).</remarks>
internal static class ModelShapesBench
{
    private sealed record Shape(int Layers, int Hidden, int Heads, int KvHeads, int HeadDim, int Intermediate, int Vocab);

    public static void Run(ReadOnlySpan<string> arguments)
    {
        int threads = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 1;
        Shape shape = arguments.Length > 1 && arguments[1] == "llama1b"
            ? new Shape(16, 2048, 32, 8, 64, 8192, 128256) : new Shape(30, 576, 9, 3, 64, 1536, 49152);
        WeightFormat format = arguments.Length > 2 ? Enum.Parse<WeightFormat>(arguments[2]) : WeightFormat.Q4_1;
        using CpuBackend backend = new(threads);
        using Products products = new(backend, shape, format);
        Console.WriteLine($"{backend.Description}, {format}, {products.Bytes / 1e6:F0} MB of weights");
        foreach (int rows in new[] { 1, 128 })
        {
            List<double> seconds = [];
            TimeSpan busy = Environment.CpuUsage.TotalTime;
            for (long start = Stopwatch.GetTimestamp(); seconds.Count < 5 || Stopwatch.GetElapsedTime(start).TotalSeconds < 2;)
            {
                long from = Stopwatch.GetTimestamp();
                products.Step(rows);
                seconds.Add(Stopwatch.GetElapsedTime(from).TotalSeconds);
            }
            double cpu = (Environment.CpuUsage.TotalTime - busy).TotalSeconds / seconds.Count;
            seconds.Sort();
            double best = seconds[0], median = seconds[seconds.Count / 2];
            Console.WriteLine($"{rows,4} rows: best {best * 1e3:F2} ms ({rows / best:F0} tok/s), median {median * 1e3:F2} ms ({rows / median:F0} tok/s), {products.Bytes / best / 1e9:F1} GB/s, {cpu * 1e3:F2} ms of processor time a step");
        }
    }

    private sealed class Products : IDisposable
    {
        private readonly CpuBackend _backend;
        private readonly List<(PackedWeight[] Qkv, PackedWeight O, PackedWeight[] GateUp, PackedWeight Down)> _layers = [];
        private readonly PackedWeight[] _head;
        private readonly DeviceBuffer _memory;
        private readonly Shape _shape;

        public Products(CpuBackend backend, Shape shape, WeightFormat format)
        {
            (_backend, _shape) = (backend, shape);
            int q = shape.Heads * shape.HeadDim, kv = shape.KvHeads * shape.HeadDim;
            for (int layer = 0; layer < shape.Layers; layer++)
            {
                _layers.Add((
                    [Whole(format, q, shape.Hidden), Whole(format, kv, shape.Hidden), Whole(format, kv, shape.Hidden)],
                    Tree(format, shape.Hidden, q, shape.HeadDim),
                    [Whole(format, shape.Intermediate, shape.Hidden), Whole(format, shape.Intermediate, shape.Hidden)],
                    Tree(format, shape.Hidden, shape.Intermediate, Math.Clamp(shape.Intermediate / 32 / 32 * 32, 64, 256))));
            }
            _head = [Whole(format, shape.Vocab, shape.Hidden)];
            int widest = Math.Max(shape.Vocab, 128 * Math.Max(2 * shape.Intermediate, q + (2 * kv)));
            _memory = backend.Allocate(2L * 4 * Math.Max(widest, 128 * shape.Intermediate));
            Random random = new(1);
            for (int i = 0; i < 128 * shape.Intermediate; i++)
                Input(128, shape.Intermediate).HostSpan<float>(i / shape.Intermediate)[i % shape.Intermediate] = random.NextSingle() - 0.5f;
        }

        public long Bytes { get; private set; }

        public void Step(int rows)
        {
            int q = _shape.Heads * _shape.HeadDim, kv = _shape.KvHeads * _shape.HeadDim;
            foreach ((PackedWeight[] qkv, PackedWeight o, PackedWeight[] gateUp, PackedWeight down) in _layers)
            {
                _backend.Linear(Input(rows, _shape.Hidden), qkv, Output(rows, q + (2 * kv)));
                _backend.LinearPieces(Input(rows, q), o, Output(rows, _shape.Hidden));
                _backend.Linear(Input(rows, _shape.Hidden), gateUp, Output(rows, 2 * _shape.Intermediate));
                _backend.LinearPieces(Input(rows, _shape.Intermediate), down, Output(rows, _shape.Hidden));
            }
            _backend.Linear(Input(1, _shape.Hidden), _head, Output(1, _shape.Vocab));
        }

        public void Dispose()
        {
            foreach ((PackedWeight[] qkv, PackedWeight o, PackedWeight[] gateUp, PackedWeight down) in _layers)
                foreach (PackedWeight weight in (PackedWeight[])[.. qkv, o, .. gateUp, down])
                    weight.Dispose();
            _head[0].Dispose();
            _memory.Dispose();
        }

        private Tensor Input(int rows, int columns) => new(_memory, 0, rows, columns, columns, ElementType.Float32);

        private Tensor Output(int rows, int columns) => new(_memory, _memory.Bytes / 2, rows, columns, columns, ElementType.Float32);

        private PackedWeight Whole(WeightFormat format, int outputs, int columns) => Pack(format, outputs, InputLeaves.Whole(columns));

        private PackedWeight Tree(WeightFormat format, int outputs, int columns, int leafColumns) => Pack(format, outputs, KernelBench.Leaves(columns, leafColumns));

        private PackedWeight Pack(WeightFormat format, int outputs, InputLeaves leaves)
        {
            PackedWeight weight = _backend.PackWeight(new RandomRows(format, outputs, leaves.Columns), leaves);
            Bytes += weight.Bytes;
            return weight;
        }
    }
}
