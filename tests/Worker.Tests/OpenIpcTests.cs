using NUnit.Framework;
using TpServe.Collectives.Ring;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

/// <summary>The two calls that come before a load over CUDA IPC, on a machine or a device that has none.</summary>
public sealed class OpenIpcTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private RankHost _host = null!;

    [SetUp]
    public void NewHost() => _host = new RankHost(new GroupSecret("a secret"), new RingMailboxes());

    [TearDown]
    public void DisposeHost() => _host.Dispose();

    [TestCase(DeviceKind.Cpu, 0, "cpu")]
    [TestCase(DeviceKind.CudaEmulated, 0, "cuda-emulated")]
    [TestCase(DeviceKind.Cuda, 999, "")]
    [TestCase(DeviceKind.Unspecified, 0, "cpu")]
    public async Task OpenIpc_DeviceWithoutSharedMemory_SaysWhyNot(DeviceKind kind, int ordinal, string named)
    {
        OpenIpcReply reply = await _host.OpenIpcAsync(new OpenIpcRequest { Epoch = 3, Rank = 0, Degree = 2, Device = new ComputeDevice { Kind = kind, Ordinal = ordinal } }).WaitAsync(s_patience);
        Assert.Multiple(() =>
        {
            Assert.That(reply.Reason, Is.Not.Empty.And.Contains(named));
            Assert.That(reply.Handle, Is.Empty);
            Assert.That(reply.SegmentBytes, Is.Zero);
        });
    }

    [Test]
    public async Task ProveIpc_NothingOpen_SaysSo()
    {
        ProveIpcReply reply = await _host.ProveIpcAsync(new ProveIpcRequest { Epoch = 3, TimeoutMs = 1000 }).WaitAsync(s_patience);
        Assert.That(reply.Reason, Does.Contain("epoch 3"));
        Assert.That(reply.Pairs, Is.Empty);
    }
}
