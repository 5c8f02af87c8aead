using NUnit.Framework;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Whole rows moved on the device.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class RowKernelsTests(string device) : CudaFixture(device)
{
    [Test]
    public void CopyAndGather_AnyTypeWidthAndStride_MoveWholeRows(
        [Values(ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Int32)] ElementType type, // a Q8 cache is a CPU's
        [Values(1, 8, 17, 2056)] int columns, [Values(0, 8, 3)] int gap)
    {
        const int n = 5;
        int width = columns * type.SizeBytes();
        byte[] bytes = new byte[n * width];
        new Random(1).NextBytes(bytes);
        Tensor x = Device.OfBytes(bytes, n, columns, type, gap), copy = Device.Empty(n, columns, type, gap: 8), gathered = Device.Empty(4, columns, type, gap);

        Backend.Copy(x, copy);
        Assert.That(Device.Bytes(copy), Is.EqualTo(bytes));

        int[] rows = [4, 0, 3, 3];
        Backend.GatherRows(x, Device.Of(rows), gathered);
        Assert.That(Device.Bytes(gathered), Is.EqualTo(rows.SelectMany(row => bytes[(row * width)..((row + 1) * width)])));
    }

    [Test]
    public void Copy_ColumnsOfAWiderTensor_MovesThemAlone()
    {
        float[] values = [.. Enumerable.Range(0, 60).Select(i => (float)i)];
        Tensor x = Device.Of(values, 3, 20), y = Device.Empty(3, 7);
        Backend.Copy(x.ColumnSlice(5, 7), y);
        Assert.That(Device.Values(y), Is.EqualTo(Enumerable.Range(0, 3).SelectMany(row => values[(row * 20 + 5)..(row * 20 + 12)])));
    }

    [Test]
    public void CopyAndGather_ShapesDisagree_AreRefused()
    {
        Tensor x = Device.Of(new float[12], 3, 4), y = Device.Empty(2, 4), integers = Device.Empty(3, 4, ElementType.Int32);
        Assert.That(() => Backend.Copy(x, y), Throws.ArgumentException.With.Message.Contains("y is 2 x 4 Float32, expected 3 x 4 Float32"));
        Assert.That(() => Backend.Copy(x, integers), Throws.ArgumentException.With.Message.Contains("Int32"));
        Assert.That(() => Backend.GatherRows(x, Device.Of(1, 2, 0), y), Throws.ArgumentException.With.Message.Contains("rows is 3 x 1"));
        Assert.That(() => Backend.GatherRows(Device.Empty(0, 4), Device.Of(1, 2), y), Throws.ArgumentException.With.Message.Contains("cannot be gathered"));
    }
}
