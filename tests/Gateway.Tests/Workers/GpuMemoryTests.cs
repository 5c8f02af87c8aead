using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Workers;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>What the gateway reckons a weight takes on a GPU is what the CUDA backend makes of it.</summary>
public sealed class GpuMemoryTests
{
    private const int Outputs = 32, Columns = 512;

    private CudaBackend _backend = null!;

    [OneTimeSetUp]
    public void OpenEmulatedDevice() => _backend = new CudaBackend(CudaContext.Emulated());

    [OneTimeTearDown]
    public void CloseDevice() => _backend.Dispose();

    [Test]
    public void BitsPerWeight_EveryFormat_IsWhatTheBackendPacks([Values] WeightFormat format)
    {
        using PackedWeight packed = _backend.PackWeight(new ZeroRows(format), InputLeaves.Whole(Columns));
        Assert.That(GpuMemory.BitsPerWeight((TensorType)format), Is.EqualTo(8.0 * packed.Bytes / (Outputs * Columns)).Within(1e-9));
    }

    private sealed class ZeroRows(WeightFormat format) : WeightRows
    {
        private readonly byte[] _row = new byte[format.RowBytes(Columns)];

        public override WeightFormat Format => format;

        public override int Outputs => GpuMemoryTests.Outputs;

        public override int FileColumns => Columns;

        public override ReadOnlySpan<byte> Row(int output) => _row;
    }
}
