using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Elementwise operations on the device against the oracle.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class ElementwiseKernelsTests(string device) : CudaFixture(device)
{
    private const int Seed = 11;

    /// <summary>Operations in place, with the NMSE they may differ from the oracle by; 0 = equal.</summary>
    private static readonly (string Name, double Bound, Action<ITensorBackend, Tensor, Tensor> Run)[] Operations =
    [
        ("AddScaled", 0, (ops, x, y) => ops.AddScaled(x, y, 0.37f)),
        ("AddScaledByOne", 0, (ops, x, y) => ops.AddScaled(x, y, 1f)),
        ("AddRow", 0, (ops, x, y) => ops.AddRow(x, y.RowSlice(0, 1))),
        ("Scale", 0, (ops, x, _) => ops.Scale(x, -1.7f)),
        ("Softcap", 1e-13, (ops, x, _) => ops.Softcap(x, 0.7f)),
    ];

    private static readonly string[] Names = [.. Operations.Select(operation => operation.Name)];

    [Test]
    public void InPlace_AnyWidthAndStride_MatchesTheOracle(
        [ValueSource(nameof(Names))] string name, [Values(1, 3, 64, 127, 516, 1030)] int columns, [Values(0, 4, 3)] int gap)
    {
        (_, double bound, var run) = Operations.Single(operation => operation.Name == name);
        float[] values = Numbers.Uniform(3 * columns, Seed), other = Numbers.Uniform(3 * columns, Seed + 1);
        Tensor actual = Device.Of(values, 3, columns, gap), expected = Host.Of(values, 3, columns);
        run(Backend, actual, Device.Of(other, 3, columns));
        run(Oracle, expected, Host.Of(other, 3, columns));
        if (bound == 0)
            Assert.That(Device.Bits(actual), Is.EqualTo(Bits(HostTensors.Values(expected))));
        else
            Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(bound));
    }

    [Test]
    public void InPlace_RowAloneOrUnaligned_HasTheSameBits([ValueSource(nameof(Names))] string name)
    {
        (_, _, var run) = Operations.Single(operation => operation.Name == name);
        const int n = 4, columns = 520;
        float[] values = Numbers.Uniform(n * columns, Seed), other = name == "AddRow" ? Repeat(Numbers.Uniform(columns, Seed + 1), n) : Numbers.Uniform(n * columns, Seed + 1);
        Tensor whole = Device.Of(values, n, columns);
        run(Backend, whole, Device.Of(other, n, columns));
        for (int row = 0; row < n; row++)
        {
            // One element off the alignment: the same values by single accesses.
            Tensor alone = Device.Of([0, .. values[(row * columns)..((row + 1) * columns)]], 1, columns + 1).ColumnSlice(1, columns);
            run(Backend, alone, Device.Of(other[(row * columns)..((row + 1) * columns)], 1, columns));
            Assert.That(Device.Bits(alone), Is.EqualTo(Device.Bits(whole.RowSlice(row, 1))), $"row {row}");
        }
    }

    // sigmoid by one exponential (a few units in the last place) and one division.
    [Test]
    public void GatedActivation_AnyWidth_MatchesTheOracle([Values] Activation activation, [Values(1, 16, 45, 1028)] int columns)
    {
        float[] values = [.. Numbers.Uniform(3 * 2 * columns, Seed).Select(v => 9 * v)];
        Tensor actual = Device.Empty(3, columns, gap: 1), expected = Host.Empty(3, columns);
        Backend.GatedActivation(Device.Of(values, 3, 2 * columns, gap: 6), activation, actual);
        Oracle.GatedActivation(Host.Of(values, 3, 2 * columns), activation, expected);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));
    }

    [Test]
    public void GatedActivation_RowAlone_HasTheSameBits([Values] Activation activation)
    {
        const int n = 3, columns = 260;
        float[] values = [.. Numbers.Uniform(n * 2 * columns, Seed).Select(v => 9 * v)];
        Tensor x = Device.Of(values, n, 2 * columns), whole = Device.Empty(n, columns);
        Backend.GatedActivation(x, activation, whole);
        for (int row = 0; row < n; row++)
        {
            Tensor alone = Device.Empty(1, columns, gap: 3);
            Backend.GatedActivation(x.RowSlice(row, 1), activation, alone);
            Assert.That(Device.Bits(alone), Is.EqualTo(Device.Bits(whole.RowSlice(row, 1))), $"row {row}");
        }
    }

    [Test]
    public void GatedActivation_LargeValues_SaturateCleanly([Values] Activation activation)
    {
        float[] gate = [200, -200, 1e4f, -1e4f, 1e25f, -1e25f, 88.5f, -88.5f, -100, 0];
        Tensor x = Device.Of([.. gate, .. Enumerable.Repeat(1f, gate.Length)], 1, 2 * gate.Length), y = Device.Empty(1, gate.Length);
        Backend.GatedActivation(x, activation, y);
        Assert.That(Device.Values(y), Is.EqualTo(gate.Select(v => Math.Max(v, 0))).Within(1e-30));
    }

    [Test]
    public void GatedActivation_NaN_StaysNaN([Values] Activation activation)
    {
        Tensor y = Device.Empty(1, 1);
        Backend.GatedActivation(Device.Of([float.NaN, 1], 1, 2), activation, y);
        Assert.That(Device.Values(y)[0], Is.NaN);
    }

    [Test]
    public void Softcap_ExtremeValues_SaturateAtTheCap()
    {
        Tensor x = Device.Of([1e30f, -1e30f, float.PositiveInfinity, -0f, 1e-20f, 300], 1, 6);
        Backend.Softcap(x, 30f);
        Assert.That(Device.Values(x), Is.EqualTo(new[] { 30f, -30f, 30f, 0f, 1e-20f, 30f }).Within(1e-6).Percent);
    }

    [Test]
    public void Operation_ShapesDisagree_IsRefusedNamingTheOperand()
    {
        Tensor x = Device.Of(new float[12], 3, 4), wrong = Device.Of(new float[15], 3, 5), integers = Device.Of(1, 2, 3);
        Assert.That(() => Backend.AddScaled(x, wrong, 1f), Throws.ArgumentException.With.Message.Contains("y is 3 x 5 Float32, expected 3 x 4 Float32"));
        Assert.That(() => Backend.AddRow(x, wrong), Throws.ArgumentException.With.Message.Contains("bias is 3 x 5"));
        Assert.That(() => Backend.GatedActivation(x, Activation.Silu, wrong), Throws.ArgumentException.With.Message.Contains("x is 3 x 4"));
        Assert.That(() => Backend.Scale(integers, 2f), Throws.ArgumentException.With.Message.Contains("elements of Float32"));
        Assert.That(() => Backend.Softcap(x, 0f), Throws.ArgumentException.With.Message.Contains("A soft cap of 0"));
        Assert.That(() => Backend.AddScaled(x, Host.Of(new float[12], 3, 4), 1f), Throws.ArgumentException.With.Message.Contains("not on this device"));
    }

    [Test]
    public void Operation_NoRows_LaunchesNothing()
    {
        long launches = Backend.Launches;
        Tensor none = Device.Empty(0, 8);
        Backend.AddScaled(none, none, 1f);
        Backend.GatedActivation(none, Activation.Silu, Device.Empty(0, 4));
        Assert.That(Backend.Launches, Is.EqualTo(launches));
    }

    private static float[] Repeat(float[] row, int times) => [.. Enumerable.Repeat(row, times).SelectMany(values => values)];

    private static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];
}
