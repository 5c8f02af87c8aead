using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using TpServe.Collectives.Ring;

namespace TpServe.Collectives.Tests;

/// <summary>Rank 0 of two over a real connection, and the other end of it, on which a test writes whatever it likes.</summary>
internal sealed class RingPeer : IDisposable
{
    public const int BlockBytes = 4096;
    private static readonly TimeSpan s_joining = TimeSpan.FromSeconds(20);
    private readonly Socket _socket;
    private readonly RingMailbox _theirs;

    public RingPeer(TimeSpan timeout)
    {
        Epoch = RingHosts.NextEpoch();
        RingHosts hosts = RingHosts.Shared;
        _theirs = hosts.Mailboxes[1].Open(Epoch, rank: 1, degree: 2);
        RingEpoch life = RingEpoch.Open(hosts.Mailboxes[0], hosts.Addresses[..2], 0, RingHosts.Secret, Epoch);
        life.Connect([1], s_joining, default);
        (Socket mine, _socket) = Pair();
        Assert.That(life.Mailbox.TryAttach(life.Mailbox.TryIssue(1, out _)!, new RingWire(mine)), Is.True);
        Assert.That(_socket.Receive(new byte[1]), Is.EqualTo(1));
        End = new GroupCommunicator(new RingExchange(life, [0, 1], BlockBytes, []), 0, 2, timeout, Epoch, new CommunicatorReport("ring", "", 0));
    }

    /// <summary>The rank under test; what it publishes is read by nobody.</summary>
    public GroupCommunicator End { get; }

    public long Epoch { get; }

    /// <summary>What rank 1 sends in its barrier number <paramref name="sequence"/>.</summary>
    public RingFrame BarrierFrame(int sequence) =>
        new(RingFrame.Block, 0, sequence, new OperationHeader(Epoch, 0, sequence, 0, CollectiveOperation.Barrier, 0, 0));

    public static byte[] Bytes(RingFrame frame) => MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in frame, 1)).ToArray();

    /// <summary>Writes to rank 0, which takes it when it waits for rank 1.</summary>
    public void Write(ReadOnlySpan<byte> bytes) => _socket.Send(bytes);

    /// <summary>Nothing more comes.</summary>
    public void Hang() => _socket.Dispose();

    public void Dispose()
    {
        End.Dispose();
        _theirs.Dispose();
        _socket.Dispose();
    }

    /// <summary>The two ends of a connection over TCP.</summary>
    public static (Socket Accepted, Socket Connected) Pair()
    {
        using Socket listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        Socket connected = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        connected.Connect(listener.LocalEndPoint!);
        return (listener.Accept(), connected);
    }
}
