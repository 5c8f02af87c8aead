using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Collectives.Tests.CudaIpc;

public sealed class DriverMemoryTests
{
    [Test]
    public unsafe void IpcMemoryName_IsAsTheDriverHasIt() => Assert.That(sizeof(IpcMemoryName), Is.EqualTo(64));

    [Test]
    public void IpcMemoryName_ThereAndBack_KeepsItsBytes()
    {
        byte[] bytes = [.. Enumerable.Range(0, 64).Select(i => (byte)(i * 7))];
        Assert.That(new IpcMemoryName(bytes).ToArray(), Is.EqualTo(bytes));
    }

    [TestCase(0)]
    [TestCase(63)]
    [TestCase(65)]
    public void IpcMemoryName_WrongLength_IsRefused(int length) => Assert.That(() => new IpcMemoryName(new byte[length]), Throws.ArgumentException);
}
