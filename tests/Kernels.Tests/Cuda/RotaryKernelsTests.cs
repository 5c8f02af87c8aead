using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Rotary embedding on the device against the oracle.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class RotaryKernelsTests(string device) : CudaFixture(device)
{
    [TestCase(64, 64, 3)]
    [TestCase(80, 32, 2)] // only a part of the head is rotated
    [TestCase(6, 2, 1)]
    public void Rope_WholeAndPartialHeads_MatchTheOracle(int headDim, int rotary, int heads)
    {
        int[] positions = [4, 0, 9];
        float[] x = Numbers.Uniform(3 * heads * headDim, seed: 1), table = Numbers.Uniform(10 * rotary, seed: 2);
        Tensor actual = Device.Of(x, 3, heads * headDim, gap: 3), expected = Host.Of(x, 3, heads * headDim);
        Backend.Rope(actual, Device.Of(positions), Device.Of(table, 10, rotary, gap: 1), headDim);
        Oracle.Rope(expected, Host.Of(positions), Host.Of(table, 10, rotary), headDim);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-13));

        Tensor alone = Device.Of(x[(2 * heads * headDim)..], 1, heads * headDim);
        Backend.Rope(alone, Device.Of(positions[2]), Device.Of(table, 10, rotary), headDim);
        Assert.That(Device.Bits(alone), Is.EqualTo(Device.Bits(actual.RowSlice(2, 1))));
    }

    [Test]
    public void Rope_PositionBeyondTheTable_LeavesTheRow()
    {
        float[] x = Numbers.Uniform(16, seed: 1);
        Tensor actual = Device.Of(x, 2, 8);
        Backend.Rope(actual, Device.Of(4, -1), Device.Of(new float[32], 4, 8), 8);
        Assert.That(Device.Values(actual), Is.EqualTo(x));
    }

    [Test]
    public void Rope_WrongShapes_AreRefused()
    {
        Tensor x = Device.Empty(1, 8), table = Device.Empty(4, 8);
        Assert.That(() => Backend.Rope(x, Device.Of(0, 1), table, 8), Throws.ArgumentException.With.Message.Contains("positions"));
        Assert.That(() => Backend.Rope(x, Device.Of(0), table, 4), Throws.ArgumentException.With.Message.Contains("rotary width of 8"));
        Assert.That(() => Backend.Rope(x, Device.Of(0), table, 3), Throws.ArgumentException.With.Message.Contains("groups of 3"));
    }
}
