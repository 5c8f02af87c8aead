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
    }

    public void Dispose() => _oracle.Dispose();

    private void Products(WeightFormat format)
    {
        int columns = Math.Max(256, hidden / 256 * 256), outputs = hidden / 2 + 7;
        RandomRows matrix = new(format, outputs, columns);
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
        table.Add($"Linear {format}, a row alone", "bits compared", "equal", MemoryMarshal.Cast<float, int>(alone).SequenceEqual(MemoryMarshal.Cast<float, int>(actual.AsSpan(^outputs..))));
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

    private void Check(string name, double bound, Func<ITensorBackend, float[]> run)
    {
        long mark = device.Mark(), oracleMark = _oracle.Mark();
        Report(name, Nmse(run(device), run(_oracle)), bound);
        device.Release(mark);
        _oracle.Release(oracleMark);
    }

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
