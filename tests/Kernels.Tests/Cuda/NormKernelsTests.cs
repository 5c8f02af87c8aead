using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Norms on the device against the oracle.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class NormKernelsTests(string device) : CudaFixture(device)
{
    [TestCase(1, 1)]
    [TestCase(3, 127)]
    [TestCase(2, 576)]
    public void RmsNorm_AnyRowLength_MatchesTheOracle(int rows, int dim)
    {
        float[] x = Numbers.Uniform(rows * dim, seed: 1), w = Numbers.Uniform(dim, seed: 2);
        Tensor actual = Device.Empty(rows, dim, gap: 3), expected = Host.Empty(rows, dim);
        Backend.RmsNorm(Device.Of(x, rows, dim, gap: 5), Device.Of(w, 1, dim), 1e-5f, actual);
        Oracle.RmsNorm(Host.Of(x, rows, dim), Host.Of(w, 1, dim), 1e-5f, expected);
        Assert.That(Numbers.Nmse(Device.Values(actual), HostTensors.Values(expected)), Is.LessThan(1e-12));
    }
}
