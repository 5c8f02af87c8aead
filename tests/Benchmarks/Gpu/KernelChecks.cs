using System.Globalization;
using System.Runtime.InteropServices;
using TpServe.Kernels;
using TpServe.Kernels.Reference;

namespace TpServe.Benchmarks.Gpu;

/// <summary>Every operation of the contract on the device against the plain loops, at sizes a model has.</summary>
/// <remarks>Error measure: NMSE = Σ(a − b)² / Σb². A row alone must have the bits it has among others.</remarks>
internal sealed class KernelChecks(ITensorBackend device, int hidden, int rows, Table table) : IDisposable
{
    private readonly ReferenceBackend _oracle = new();
    private readonly Random _random = new(5);

    /// <summary>Runs them all.</summary>
    public void Run()
    {
        float[] x = Floats(rows * hidden), y = Floats(rows * hidden), weight = Floats(hidden);
        Check("RmsNorm", 1e-11, ops => InPlace(ops, x, hidden, (ops, t) => ops.RmsNorm(t, Place(ops, weight, 1, hidden), 1e-5f, t)));
        Check("AddNorm", 1e-11, ops =>
        {
            Tensor to = ops.Rent(rows, hidden);
            ops.AddNorm(Place(ops, x, rows, hidden), Place(ops, y, rows, hidden), 0.5f, Place(ops, weight, 1, hidden), 1e-5f, to);
            return Values(ops, to);
        });
        Check("AddScaled", 1e-13, ops => InPlace(ops, x, hidden, (ops, t) => ops.AddScaled(t, Place(ops, y, rows, hidden), 0.3f)));
        Check("AddRow", 0, ops => InPlace(ops, x, hidden, (ops, t) => ops.AddRow(t, Place(ops, weight, 1, hidden))));
        Check("Scale", 0, ops => InPlace(ops, x, hidden, (ops, t) => ops.Scale(t, 0.37f)));
        Check("Softcap", 1e-11, ops => InPlace(ops, x, hidden, (ops, t) => ops.Softcap(t, 30f)));
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            Check($"GatedActivation {activation}", 1e-11, ops =>
            {
                Tensor to = ops.Rent(rows, hidden / 2);
                ops.GatedActivation(Place(ops, x, rows, hidden), activation, to);
                return Values(ops, to);
            });
        }
        foreach (WeightFormat format in Enum.GetValues<WeightFormat>())
            Products(format);
        TopK();
        foreach (ElementType cache in new[] { ElementType.Float16, ElementType.BFloat16, ElementType.Float32 })
            Attention(cache);
    }

    public void Dispose() => _oracle.Dispose();

    private void Products(WeightFormat format)
    {
        int columns = Math.Max(256, hidden / 256 * 256), outputs = hidden / 2 + 7;
        RandomRows matrix = new(format, outputs, columns, distinct: true);
        float[] input = Floats(rows * columns);
        // Activations are rounded to the tensor cores' types, or to 8 bits a block for quantised weights; the oracle keeps them in float32.
        double bound = format switch { WeightFormat.F32 => 1e-11, WeightFormat.F16 => 1e-6, WeightFormat.BF16 => 2e-5, _ => 2e-4 };
        float[] Product(ITensorBackend ops, float[] values, int n)
        {
            long mark = ops.Mark();
            using PackedWeight packed = ops.PackWeight(matrix, InputLeaves.Whole(columns));
            Tensor to = ops.Rent(n, outputs);
            ops.Linear(Place(ops, values, n, columns), [packed], to);
            float[] result = Values(ops, to);
            ops.Release(mark);
            return result;
        }
        float[] actual = Product(device, input, rows);
        Report($"Linear {format}", Nmse(actual, Product(_oracle, input, rows)), bound);
        float[] alone = Product(device, input[^columns..], 1);
        SameBits($"Linear {format}, a row alone", alone, actual);
    }

    private void TopK()
    {
        const int vocab = 128256, k = 64;
        float[] logits = Floats(2 * vocab);
        (float[] Values, int[] Ids) Best(ITensorBackend ops)
        {
            long mark = ops.Mark();
            Tensor values = ops.Rent(2, k), ids = ops.Rent(2, k, ElementType.Int32);
            ops.TopK(Place(ops, logits, 2, vocab), k, 0, values, ids);
            int[] found = new int[2 * k];
            ops.Download<int>(ids, found);
            float[] best = Values(ops, values);
            ops.Release(mark);
            return (best, found);
        }
        (float[] values, int[] ids) = Best(device);
        (float[] expected, int[] expectedIds) = Best(_oracle);
        table.Add("TopK 64 of 128256", "values and ids compared", "equal", values.SequenceEqual(expected) && ids.SequenceEqual(expectedIds));
    }

    /// <summary>A prompt's keys and values stored, every token attended from; then the last token alone, as a decode step does.</summary>
    private void Attention(ElementType cacheType)
    {
        int heads = hidden >= 1024 ? 8 : 2, dim = hidden >= 1024 ? 128 : 32, kvHeads = heads / 2, tokens = hidden >= 1024 ? 300 : 20;
        const int blockTokens = 16;
        int blocks = (tokens + blockTokens - 1) / blockTokens, last = tokens - 1;
        float[] q = Floats(tokens * heads * dim), k = Floats(tokens * kvHeads * dim), v = Floats(tokens * kvHeads * dim), rotary = Floats(tokens * dim);
        AttentionShape shape = new(dim, [.. Enumerable.Range(0, heads).Select(head => head / 2)], 1 / MathF.Sqrt(dim), 0, 0);
        (float[] All, float[] Alone) Attend(ITensorBackend ops)
        {
            long mark = ops.Mark();
            int cacheRows = blocks * kvHeads * blockTokens;
            using DeviceBuffer keys = ops.Allocate((long)cacheRows * dim * cacheType.SizeBytes()), values = ops.Allocate((long)cacheRows * dim * cacheType.SizeBytes());
            KvLayer layer = new(new Tensor(keys, 0, cacheRows, dim, dim, cacheType), new Tensor(values, 0, cacheRows, dim, dim, cacheType), kvHeads, blockTokens);
            int[] counting = [.. Enumerable.Range(0, tokens)];
            Tensor positions = PlaceIntegers(ops, counting), sequence = PlaceIntegers(ops, new int[tokens]);
            Tensor slots = PlaceIntegers(ops, [.. counting.Select(position => (blocks - 1 - position / blockTokens) * blockTokens + position % blockTokens)]);
            Tensor tables = PlaceIntegers(ops, [.. Enumerable.Range(0, blocks).Select(block => blocks - 1 - block)]).Reshape(1, blocks);
            StepTensors step = new(positions, positions, slots, sequence, tables);
            Tensor query = Place(ops, q, tokens, heads * dim), all = ops.Rent(tokens, heads * dim), alone = ops.Rent(1, heads * dim);
            ops.RopeStoreKv(query, Place(ops, k, tokens, kvHeads * dim), Place(ops, v, tokens, kvHeads * dim), positions, Place(ops, rotary, tokens, dim), dim, slots, layer);
            ops.Attention(query, layer, step, shape, all);
            StepTensors decode = new(positions.RowSlice(last, 1), positions.RowSlice(last, 1), slots.RowSlice(last, 1), sequence.RowSlice(last, 1), tables);
            ops.Attention(query.RowSlice(last, 1), layer, decode, shape, alone);
            (float[], float[]) result = (Values(ops, all), Values(ops, alone));
            ops.Release(mark);
            return result;
        }
        (float[] actual, float[] row) = Attend(device);
        // Queries and probabilities are rounded to the cache's type.
        Report($"RopeStoreKv, Attention {cacheType}", Nmse(actual, Attend(_oracle).All), cacheType switch { ElementType.Float32 => 1e-10, ElementType.Float16 => 2e-6, _ => 1e-4 });
        SameBits($"Attention {cacheType}, a row alone", row, actual);
    }

    private void Check(string name, double bound, Func<ITensorBackend, float[]> run)
    {
        long mark = device.Mark(), oracleMark = _oracle.Mark();
        Report(name, Nmse(run(device), run(_oracle)), bound);
        device.Release(mark);
        _oracle.Release(oracleMark);
    }

    /// <summary>The last row among others has the bits it has alone.</summary>
    private void SameBits(string name, float[] alone, float[] among) => table.Add(
        name, "bits compared", "equal", MemoryMarshal.Cast<float, int>(alone).SequenceEqual(MemoryMarshal.Cast<float, int>(among.AsSpan(among.Length - alone.Length))));

    private void Report(string name, double error, double bound) =>
        table.Add(name, string.Create(CultureInfo.InvariantCulture, $"NMSE {error:G2}"), string.Create(CultureInfo.InvariantCulture, $"<= {bound:G2}"), error <= bound);

    private float[] InPlace(ITensorBackend ops, float[] values, int columns, Action<ITensorBackend, Tensor> run)
    {
        Tensor tensor = Place(ops, values, rows, columns);
        run(ops, tensor);
        return Values(ops, tensor);
    }

    private float[] Floats(int count) => [.. Enumerable.Range(0, count).Select(_ => 2 * _random.NextSingle() - 1)];

    private static Tensor Place(ITensorBackend ops, float[] values, int rows, int columns)
    {
        Tensor tensor = ops.Rent(rows, columns);
        ops.Upload<float>(values, tensor);
        return tensor;
    }

    private static Tensor PlaceIntegers(ITensorBackend ops, int[] values)
    {
        Tensor tensor = ops.Rent(values.Length, 1, ElementType.Int32);
        ops.Upload<int>(values, tensor);
        return tensor;
    }

    private static float[] Values(ITensorBackend ops, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        ops.Download<float>(tensor, values);
        return values;
    }

    private static double Nmse(float[] actual, float[] expected)
    {
        double error = 0, norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            error += ((double)actual[i] - expected[i]) * ((double)actual[i] - expected[i]);
            norm += (double)expected[i] * expected[i];
        }
        return double.IsNaN(error) ? double.PositiveInfinity : error / Math.Max(norm, 1e-300);
    }
}
