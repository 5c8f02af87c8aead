using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Reference;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Rows of NaN and infinity beside others leave those bit-equal, in every operation of every backend.</summary>
[TestFixtureSource(nameof(Backends))]
[NonParallelizable]
public sealed class BadRowsTests(string name)
{
    /// <summary>Rows of a step; every third is bad.</summary>
    private const int Rows = 20;

    private static readonly float[] BadValues = [float.NaN, float.PositiveInfinity, float.NegativeInfinity, 3e38f];

    private ITensorBackend _backend = null!;

    private static IEnumerable<string> Backends =>
        [.. Enum.GetValues<IsaPath>().Where(path => path.IsSupported()).Select(path => path.Name()), "reference", "cuda emulated"];

    private static IEnumerable<WeightFormat> Formats => LinearWeights.Layouts;

    [OneTimeSetUp]
    public void Open() => _backend = name switch
    {
        "reference" => new ReferenceBackend(),
        "cuda emulated" => new CudaBackend(CudaContext.Emulated()),
        _ => new CpuBackend(threads: 2, Isa.TryParse(name, out IsaPath path) ? path : throw new ArgumentException(name)),
    };

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [TestCaseSource(nameof(Formats))]
    public void Linear(WeightFormat format)
    {
        const int columns = 512, outputs = 32;
        LinearWeights matrix = LinearWeights.Random(format, outputs, columns, seed: 1);
        using PackedWeight whole = _backend.PackWeight(matrix, InputLeaves.Whole(columns));
        using PackedWeight leaves = _backend.PackWeight(matrix, new InputLeaves([0, 256, 512], [0, 0]));
        Check(columns, outputs, (x, y) => _backend.Linear(x, [whole], y));
        Check(columns, 2 * outputs, (x, y) =>
        {
            Tensor pieces = _backend.Rent(2 * x.Rows, outputs);
            _backend.LinearPieces(x, leaves, pieces);
            _backend.Copy(pieces.RowSlice(0, x.Rows), y.ColumnSlice(0, outputs));
            _backend.Copy(pieces.RowSlice(x.Rows, x.Rows), y.ColumnSlice(outputs, outputs));
        });
    }

    [Test]
    public void Norms()
    {
        const int columns = 96;
        Tensor weight = Upload(Numbers.Uniform(columns, seed: 2), 1, columns);
        Check(columns, columns, (x, y) => _backend.RmsNorm(x, weight, 1e-5f, y));
        Check(columns, columns, (x, y) => _backend.RmsNorm(x, weight.ColumnSlice(0, 32), 1e-5f, y));
        Check(columns, 2 * columns, (x, y) =>
        {
            Tensor stream = y.ColumnSlice(0, columns);
            _backend.Copy(x, stream);
            _backend.AddNorm(stream, x, 0.5f, weight, 1e-5f, y.ColumnSlice(columns, columns));
        });
        Check(columns, 3, (x, y) => _backend.SumSquares(x, 32, y));
        Check(columns, columns, (x, y) =>
        {
            Tensor sums = _backend.Rent(x.Rows, 3);
            _backend.SumSquares(x, 32, sums);
            _backend.Copy(x, y);
            _backend.NormBySums(y, sums, columns, weight, 1e-5f);
        });
    }

    [Test]
    public void Elementwise()
    {
        const int columns = 90;
        Tensor bias = Upload(Numbers.Uniform(columns, seed: 3), 1, columns);
        foreach (Activation activation in Enum.GetValues<Activation>())
            Check(columns, columns / 2, (x, y) => _backend.GatedActivation(x, activation, y));
        CheckInPlace(columns, x => _backend.AddScaled(x, x, 0.3f));
        CheckInPlace(columns, x => _backend.AddRow(x, bias));
        CheckInPlace(columns, x => _backend.Scale(x, 1.3f));
        CheckInPlace(columns, x => _backend.Softcap(x, 5f));
    }

    [Test]
    public void RowsAndTopK()
    {
        const int columns = 5000; // more than a segment of the GPU's selection
        Check(columns, columns, (x, y) => _backend.GatherRows(x, Upload([.. Enumerable.Range(0, x.Rows)]), y));
        foreach (int k in new[] { 1, 40 })
        {
            Check(columns, 2 * k, (x, y) =>
            {
                Tensor values = _backend.Rent(x.Rows, k), ids = _backend.Rent(x.Rows, k, ElementType.Int32);
                _backend.TopK(x, k, 0, values, ids);
                _backend.Copy(values, y.ColumnSlice(0, k));
                _backend.Copy(new Tensor(ids.Buffer, ids.OffsetBytes, ids.Rows, ids.Columns, ids.RowStride, ElementType.Float32), y.ColumnSlice(k, k));
            });
        }
    }

    [Test]
    public void TopK_OfNaNAlone_IsTheLowestIdsAtMinusInfinity()
    {
        Tensor values = _backend.Rent(1, 3), ids = _backend.Rent(1, 3, ElementType.Int32);
        _backend.TopK(Upload([.. Enumerable.Repeat(float.NaN, 100)], 1, 100), 3, 0, values, ids);
        int[] found = new int[3];
        _backend.Download<int>(ids, found);
        Assert.That(Download(values), Is.All.EqualTo(float.NegativeInfinity));
        Assert.That(found, Is.EqualTo(new[] { 0, 1, 2 }));
    }

    /// <summary>Two good sequences beside a bad one; slots that nobody wrote hold NaN where there is a bad one, else zeros.</summary>
    [Test]
    public void Attention(
        [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Q8)] ElementType type, [Values(0, 20)] int window, [Values(16, 12)] int blockTokens)
    {
        if (type == ElementType.Q8 && name == "cuda emulated")
            Assert.Pass("A Q8 cache is for CPUs.");
        int headDim = type == ElementType.Q8 ? 32 : 16, columns = type.KvColumns(headDim);
        const int kvHeads = 2, heads = 4;
        int[] lengths = [70, 33, 5];
        int blocksOfEach = (70 + blockTokens - 1) / blockTokens, blocks = 3 * blocksOfEach + 1;
        (int Sequence, int Position)[] rows = [.. lengths.SelectMany((length, sequence) => Enumerable.Range(0, length).Select(position => (sequence, position)))];
        bool[] isBad = [.. rows.Select(row => row.Sequence == 1)];
        AttentionShape shape = new(headDim, [0, 0, 1, 1], 0.25f, window == 20 ? 4f : 0f, window);
        Assert.That(GoodBits(bad: true), Is.EqualTo(GoodBits(bad: false)));

        int[] GoodBits(bool bad)
        {
            long mark = _backend.Mark();
            int slots = blocks * kvHeads * blockTokens;
            using DeviceBuffer keys = _backend.Allocate((long)slots * columns * type.SizeBytes()), values = _backend.Allocate((long)slots * columns * type.SizeBytes());
            KvLayer cache = new(new Tensor(keys, 0, slots, columns, columns, type), new Tensor(values, 0, slots, columns, columns, type), kvHeads, blockTokens);
            byte[] stale = new byte[keys.Bytes];
            Array.Fill(stale, bad ? (byte)0xFF : (byte)0);
            _backend.Upload<byte>(stale, cache.Keys);
            _backend.Upload<byte>(stale, cache.Values);

            int[] table = [.. Enumerable.Range(0, 3 * blocksOfEach).Select(block => 1 + block * 7 % (3 * blocksOfEach))];
            int[] placed = [.. rows.Select(row => table[row.Sequence * blocksOfEach + row.Position / blockTokens] * blockTokens + row.Position % blockTokens)];
            StepTensors step = new(
                Upload(new int[rows.Length]), Upload([.. rows.Select(row => row.Position)]), Upload(placed), Upload([.. rows.Select(row => row.Sequence)]),
                Upload(table).Reshape(3, blocksOfEach));
            Tensor q = Input(rows.Length, heads * headDim, bad ? isBad : null, seed: 1), y = _backend.Rent(rows.Length, heads * headDim);
            Tensor k = Input(rows.Length, kvHeads * headDim, bad ? isBad : null, seed: 2), v = Input(rows.Length, kvHeads * headDim, bad ? isBad : null, seed: 3);
            _backend.RopeStoreKv(q, k, v, step.Positions, Upload(Numbers.Uniform(70 * headDim, seed: 4), 70, headDim), headDim, step.Slots, cache);
            _backend.Attention(q, cache, step, shape, y);
            float[] all = Download(y);
            _backend.Release(mark);
            return Bits(all, isBad);
        }
    }

    private void CheckInPlace(int columns, Action<Tensor> operation) => Check(columns, columns, (x, y) =>
    {
        _backend.Copy(x, y);
        operation(y);
    });

    /// <summary>For several numbers of rows, runs the operation with and without bad rows and compares the good ones.</summary>
    private void Check(int columns, int outputs, Action<Tensor, Tensor> operation)
    {
        foreach (int n in new[] { 2, 7, Rows })
        {
            bool[] isBad = [.. Enumerable.Range(0, Rows).Select(row => row % 3 == 1)];
            Assert.That(Run(isBad), Is.EqualTo(Run(null)), $"{n} rows");

            int[] Run(bool[]? bad)
            {
                long mark = _backend.Mark();
                Tensor y = _backend.Rent(n, outputs);
                operation(Input(Rows, columns, bad, seed: 5).RowSlice(0, n), y);
                float[] all = Download(y);
                _backend.Release(mark);
                return Bits(all, isBad[..n]);
            }
        }
    }

    private static int[] Bits(float[] values, bool[] isBad)
    {
        int columns = values.Length / isBad.Length;
        return [.. values.Where((_, i) => !isBad[i / columns]).Select(BitConverter.SingleToInt32Bits)];
    }

    private Tensor Input(int rows, int columns, bool[]? isBad, int seed)
    {
        float[] x = [.. Numbers.Uniform(rows * columns, seed).Select(value => 3 * value)];
        for (int row = 0; row < rows && isBad is not null; row++)
            for (int i = row % 2; i < columns && isBad[row]; i += 1 + row % 3)
                x[row * columns + i] = BadValues[(row + i) % BadValues.Length];
        return Upload(x, rows, columns);
    }

    private Tensor Upload(float[] values, int rows, int columns)
    {
        Tensor tensor = _backend.Rent(rows, columns);
        _backend.Upload<float>(values, tensor);
        return tensor;
    }

    private Tensor Upload(int[] values)
    {
        Tensor tensor = _backend.Rent(values.Length, 1, ElementType.Int32);
        _backend.Upload<int>(values, tensor);
        return tensor;
    }

    private float[] Download(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        _backend.Download(tensor, values.AsSpan());
        return values;
    }
}
