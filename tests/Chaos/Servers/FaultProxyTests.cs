using System.Net;
using System.Net.Sockets;
using NUnit.Framework;

namespace TpServe.Chaos.Servers;

/// <summary>A link passes, stalls and breaks as it is told.</summary>
[CancelAfter(30_000)]
public sealed class FaultProxyTests
{
    private TcpListener _server = null!;
    private FaultProxy _link = null!;

    [SetUp]
    public void Open()
    {
        _server = new TcpListener(IPAddress.Loopback, 0);
        _server.Start();
        _link = new FaultProxy(IPAddress.Loopback, (IPEndPoint)_server.LocalEndpoint);
    }

    [TearDown]
    public void Close()
    {
        _link.Dispose();
        _server.Dispose();
    }

    [Test]
    public async Task Stall_HoldsBytesUntilFlow_NoneIsLost(CancellationToken cancellation)
    {
        (Socket near, Socket far) = await ConnectAsync(cancellation);
        using (near)
        using (far)
        {
            byte[] got = new byte[2];
            await near.SendAsync(new byte[] { 1 }, cancellation);
            Assert.That(await far.ReceiveAsync(got, cancellation), Is.EqualTo(1));
            _link.Stall();
            await near.SendAsync(new byte[] { 2 }, cancellation);
            ValueTask<int> held = far.ReceiveAsync(got, cancellation);
            await Task.Delay(100, cancellation); // time in which it would come
            Assert.That(held.IsCompleted, Is.False);
            _link.Flow();
            Assert.That(await held, Is.EqualTo(1));
            Assert.That(got[0], Is.EqualTo(2));
        }
    }

    [Test]
    public async Task Cut_ResetsBothSides_AndTheNextConnectionPasses(CancellationToken cancellation)
    {
        (Socket near, Socket far) = await ConnectAsync(cancellation);
        _link.Cut();
        foreach (Socket side in new[] { near, far })
            Assert.That(
                async () => await side.ReceiveAsync(new byte[1], cancellation),
                Throws.InstanceOf<SocketException>().With.Property(nameof(SocketException.SocketErrorCode)).EqualTo(SocketError.ConnectionReset));
        near.Dispose();
        far.Dispose();

        (near, far) = await ConnectAsync(cancellation);
        using (near)
        using (far)
        {
            await far.SendAsync(new byte[] { 3 }, cancellation);
            Assert.That(await near.ReceiveAsync(new byte[1], cancellation), Is.EqualTo(1));
        }
    }

    private async Task<(Socket Near, Socket Far)> ConnectAsync(CancellationToken cancellation)
    {
        Socket near = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await near.ConnectAsync(IPEndPoint.Parse(_link.Address), cancellation);
        return (near, await _server.AcceptSocketAsync(cancellation));
    }
}
