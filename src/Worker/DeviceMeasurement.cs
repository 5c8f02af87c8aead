using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>Times what a device takes for the operations that a plan is made of, at the model's own shapes and formats.</summary>
/// <remarks>
/// Weights are zeros: a product's time does not depend on them. Few rows go over more weights than any cache holds, as a step does; many rows over few.
/// The format that most of the model's weights have is timed with all numbers of rows, others with fewer, so that it takes less than a second.
/// Each figure is a mean over tens of milliseconds, so that a processor shared with somebody else counts for what it gives.
/// The ranks of a host compute at once and share its memory, so they time the same thing at the same time: the n-th figure begins n slots after the moment that all
/// were told. Who is late begins at once.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class DeviceMeasurement
{
    private const long StreamBytes = 64 << 20, BatchBytes = 8 << 20, TileBytes = 4 << 20, KvBytes = 32 << 20;
    private const int MostWeights = 512, AttentionContext = 1024, AttentionRows = 256, FewRows = 8, SomeRows = 32, ElementwiseRows = 256;
    private static readonly int[] s_rows = [1, 8, 32, 256], s_sparse = [1, 32, 256], s_few = [1, 8];
    private static readonly TimeSpan s_long = TimeSpan.FromMilliseconds(30), s_warm = TimeSpan.FromMilliseconds(4), s_slot = TimeSpan.FromMilliseconds(75);

    private readonly ITensorBackend _ops;
    private readonly MeasureRequest _request;
    private readonly Tensor _probe;
    private int _slot;

    private DeviceMeasurement(ITensorBackend ops, MeasureRequest request)
    {
        (_ops, _request) = (ops, request);
        _probe = ops.Rent(1, 1, ElementType.Int32);
    }

    /// <summary>Takes about three quarters of a second; a check some hundredths.</summary>
    /// <exception cref="ArgumentException">The request has no shape, or one that its format cannot have.</exception>
    public static MeasureReply Run(ITensorBackend ops, MeasureRequest request)
    {
        long start = Stopwatch.GetTimestamp();
        MeasureReply reply = new DeviceMeasurement(ops, request).Measure();
        reply.Device = ops.Description;
        reply.Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return reply;
    }

    private MeasureReply Measure()
    {
        if (_request.Products.Count == 0)
            throw new ArgumentException("A measurement of no product.");
        IGrouping<int, ProductShape>[] formats = [.. _request.Products.GroupBy(shape => shape.Format)];
        if (_request.CheckRows.Count > 0)
            return new MeasureReply { Products = { Product(formats[0], [.. _request.CheckRows], 0) } };
        double operation = OperationSeconds();
        MeasureReply reply = new() { OperationSeconds = operation, ElementwiseSecondsPerFloat = ElementwiseSeconds(operation) };
        foreach (IGrouping<int, ProductShape> format in formats)
            reply.Products.Add(Product(format, format == formats[0] ? s_rows : format.All(shape => shape.FewRows) ? s_few : s_sparse, operation));
        if (_request.KvHeads > 0)
            (reply.DecodeAttentionSecondsPerByte, reply.PrefillAttentionSecondsPerElement) = (DecodeAttention(operation), PrefillAttention(operation));
        // What decodes hang on is taken twice, as far apart as it goes: a shared host's memory is not the same half a second later.
        ProductTimes.Types.Point stream = reply.Products[0].Points[0];
        stream.SecondsPerByte = (stream.SecondsPerByte + Product(formats[0], [stream.Rows], operation).Points[0].SecondsPerByte) / 2;
        return reply;
    }

    /// <summary>Times a format's products; rows ascend, so that few packs of weights do.</summary>
    private ProductTimes Product(IGrouping<int, ProductShape> shapes, IReadOnlyList<int> rows, double operation)
    {
        ProductTimes times = new() { Format = shapes.Key };
        List<PackedWeight> weights = [];
        long packed = 0, bytes = 0;
        try
        {
            foreach (int count in rows)
            {
                long wanted = count <= FewRows ? StreamBytes : count <= SomeRows ? BatchBytes : TileBytes;
                if (packed != wanted)
                {
                    weights.ForEach(weight => weight.Dispose());
                    weights.Clear();
                    (packed, bytes) = (wanted, Pack((WeightFormat)shapes.Key, [.. shapes], wanted, weights));
                }
                times.Points.Add(new ProductTimes.Types.Point { Rows = count, SecondsPerByte = ProductSeconds(weights, count, operation) / bytes });
            }
            return times;
        }
        finally
        {
            weights.ForEach(weight => weight.Dispose());
        }
    }

    private long Pack(WeightFormat format, ProductShape[] shapes, long wanted, List<PackedWeight> weights)
    {
        long bytes = 0;
        for (int i = 0; bytes < wanted && weights.Count < MostWeights; i++)
        {
            ProductShape shape = shapes[i % shapes.Length];
            // Of a long matrix only the beginning: the outputs of a head are more than a figure needs.
            int outputs = (int)Math.Clamp(wanted / format.RowBytes(shape.Inputs), 1, shape.Outputs);
            weights.Add(_ops.PackWeight(new Zeros(format, outputs, shape.Inputs), InputLeaves.Whole(shape.Inputs)));
            bytes += format.RowBytes(shape.Inputs) * outputs;
        }
        return bytes;
    }

    /// <summary>Seconds of all of them, beside what operations take anyway.</summary>
    private double ProductSeconds(List<PackedWeight> weights, int rows, double operation)
    {
        long mark = _ops.Mark();
        Tensor x = Ones(rows, weights.Max(weight => weight.Leaves.Columns)), y = _ops.Rent(rows, weights.Max(weight => weight.Outputs));
        double seconds = Time(() =>
        {
            foreach (PackedWeight weight in weights)
                _ops.Linear(x.ColumnSlice(0, weight.Leaves.Columns), [weight], y.ColumnSlice(0, weight.Outputs));
        });
        _ops.Release(mark);
        return Positive(seconds - weights.Count * operation, seconds);
    }

    /// <summary>What the smallest product takes: dispatch, and the meeting of threads.</summary>
    private double OperationSeconds()
    {
        const int Small = 256, Times = 32;
        using PackedWeight weight = _ops.PackWeight(new Zeros(WeightFormat.F32, Small, Small), InputLeaves.Whole(Small));
        long mark = _ops.Mark();
        Tensor x = Ones(1, Small), y = _ops.Rent(1, Small);
        double seconds = Time(() =>
        {
            for (int i = 0; i < Times; i++)
                _ops.Linear(x, [weight], y);
        }) / Times;
        _ops.Release(mark);
        return seconds;
    }

    /// <summary>By the norm after a sum, which reads three rows' worth and writes two.</summary>
    private double ElementwiseSeconds(double operation)
    {
        using DeviceBuffer memory = _ops.Allocate(_request.Hidden * sizeof(float));
        Tensor weight = new(memory, 0, 1, _request.Hidden, _request.Hidden, ElementType.Float32);
        long mark = _ops.Mark();
        Tensor x = Ones(ElementwiseRows, _request.Hidden), y = Ones(ElementwiseRows, _request.Hidden), normed = _ops.Rent(ElementwiseRows, _request.Hidden);
        double seconds = Time(() => _ops.AddNorm(x, y, 0, weight, 1e-5f, normed));
        _ops.Release(mark);
        return Positive(seconds - operation, seconds) / (4.0 * ElementwiseRows * _request.Hidden);
    }

    /// <summary>Sequences of one row each, together more keys and values than a cache holds.</summary>
    private double DecodeAttention(double operation)
    {
        ElementType type = DeviceBackends.Element(_request.KvDtype);
        long tokenBytes = 2L * _request.KvHeads * type.KvColumns(_request.HeadDim) * type.SizeBytes();
        int sequences = (int)Math.Clamp(KvBytes / (tokenBytes * AttentionContext), 1, 32);
        double seconds = Attention(sequences, rowsEach: 1, AttentionContext, type);
        return Positive(seconds - operation, seconds) / (sequences * AttentionContext * (double)tokenBytes);
    }

    /// <summary>One sequence's first rows.</summary>
    private double PrefillAttention(double operation)
    {
        double seconds = Attention(1, AttentionRows, AttentionRows, DeviceBackends.Element(_request.KvDtype));
        return Positive(seconds - operation, seconds) / (AttentionRows * (AttentionRows + 1) / 2.0 * _request.Heads * _request.HeadDim);
    }

    /// <summary>Seconds of attention for the last rows of sequences of so many tokens.</summary>
    private double Attention(int sequences, int rowsEach, int context, ElementType type)
    {
        int block = _request.BlockTokens, blocksEach = (context + block - 1) / block, kvRows = sequences * blocksEach * block * _request.KvHeads, columns = type.KvColumns(_request.HeadDim);
        using DeviceBuffer keys = _ops.Allocate((long)kvRows * columns * type.SizeBytes()), values = _ops.Allocate((long)kvRows * columns * type.SizeBytes());
        KvLayer cache = new(new Tensor(keys, 0, kvRows, columns, columns, type), new Tensor(values, 0, kvRows, columns, columns, type), _request.KvHeads, block);
        int rows = sequences * rowsEach, group = _request.Heads / _request.KvHeads;
        long mark = _ops.Mark();
        StepTensors step = new(
            Integers(rows, 1, _ => 0), Integers(rows, 1, row => context - rowsEach + row % rowsEach),
            Integers(rows, 1, row => row / rowsEach * blocksEach * block + context - rowsEach + row % rowsEach), Integers(rows, 1, row => row / rowsEach),
            Integers(sequences, blocksEach, i => i));
        Tensor q = Ones(rows, _request.Heads * _request.HeadDim), y = _ops.Rent(rows, _request.Heads * _request.HeadDim);
        AttentionShape shape = new(_request.HeadDim, [.. Enumerable.Range(0, _request.Heads).Select(head => head / group)], 1f / MathF.Sqrt(_request.HeadDim), 0, 0);
        double seconds = Time(() => _ops.Attention(q, cache, step, shape, y));
        _ops.Release(mark);
        return seconds;
    }

    /// <summary>Mean seconds of some work, until it has run long enough.</summary>
    private double Time(Action work)
    {
        long start = Stopwatch.GetTimestamp();
        do
        {
            work(); // compiled, and its memory touched
            Wait();
        }
        while (Stopwatch.GetElapsedTime(start) < s_warm);
        WaitForSlot();
        int times = 0;
        start = Stopwatch.GetTimestamp();
        do
        {
            work();
            Wait();
            times++;
        }
        while (Stopwatch.GetElapsedTime(start) < s_long);
        return Stopwatch.GetElapsedTime(start).TotalSeconds / times;
    }

    private void WaitForSlot()
    {
        TimeSpan wait = DateTimeOffset.FromUnixTimeMilliseconds(_request.BeginUnixMilliseconds) + s_slot * ++_slot - DateTimeOffset.UtcNow;
        if (wait > TimeSpan.Zero && wait <= 2 * s_slot) // longer only where clocks of hosts differ
            Thread.Sleep(wait);
    }

    private void Wait() => _ops.Download<int>(_probe, stackalloc int[1]);

    private Tensor Ones(int rows, int columns)
    {
        Tensor ones = _ops.Rent(rows, columns);
        float[] values = new float[rows * columns];
        Array.Fill(values, 1);
        _ops.Upload<float>(values, ones);
        return ones;
    }

    private Tensor Integers(int rows, int columns, Func<int, int> value)
    {
        Tensor integers = _ops.Rent(rows, columns, ElementType.Int32);
        _ops.Upload<int>([.. Enumerable.Range(0, rows * columns).Select(value)], integers);
        return integers;
    }

    /// <summary>Where the operation's own share is lost in the noise, the whole stands for it.</summary>
    private static double Positive(double seconds, double whole) => seconds > 0.1 * whole ? seconds : 0.1 * whole;

    private sealed class Zeros(WeightFormat format, int outputs, int inputs) : WeightRows
    {
        private readonly byte[] _row = new byte[format.RowBytes(inputs)];

        public override WeightFormat Format => format;

        public override int Outputs => outputs;

        public override int FileColumns => inputs;

        public override ReadOnlySpan<byte> Row(int output) => _row;
    }
}
