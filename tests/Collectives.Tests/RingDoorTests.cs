using System.Net;
using System.Net.Sockets;
using TpServe.Collectives.Ring;

namespace TpServe.Collectives.Tests;

/// <summary>Who is let in at the port that gRPC and the blocks share.</summary>
public sealed class RingDoorTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [Test]
    public void Ticket_Good_IsWelcomeOnce()
    {
        long epoch = RingHosts.NextEpoch();
        using RingHosts hosts = new(1);
        using RingMailbox mailbox = hosts.Mailboxes[0].Open(epoch, 0, 2);
        byte[] ticket = mailbox.TryIssue(1, out _)!;
        using Socket first = Knock(hosts, [.. RingDoor.Mark, .. ticket]), second = Knock(hosts, [.. RingDoor.Mark, .. ticket]);
        byte[][] answers = [Answer(first), Answer(second)];
        Assert.That(answers, Is.EquivalentTo(new byte[][] { [RingDoor.Welcome], [] }));
        Assert.That(mailbox.TryIssue(1, out string refusal), Is.Null);
        Assert.That(refusal, Does.Contain("has a stream already"));
    }

    [Test]
    public void Ticket_ReplacedByANewerOne_IsVoid()
    {
        using RingHosts hosts = new(1);
        using RingMailbox mailbox = hosts.Mailboxes[0].Open(RingHosts.NextEpoch(), 0, 2);
        byte[] older = mailbox.TryIssue(1, out _)!, newer = mailbox.TryIssue(1, out _)!;
        using Socket first = Knock(hosts, [.. RingDoor.Mark, .. older]);
        Assert.That(Answer(first), Is.Empty);
        using Socket second = Knock(hosts, [.. RingDoor.Mark, .. newer]);
        Assert.That(Answer(second), Is.EqualTo(new[] { RingDoor.Welcome }));
    }

    [Test]
    public void Ticket_OfAnEpochThatIsOver_IsRefused()
    {
        using RingHosts hosts = new(1);
        RingMailbox mailbox = hosts.Mailboxes[0].Open(RingHosts.NextEpoch(), 0, 2);
        byte[] ticket = mailbox.TryIssue(1, out _)!;
        mailbox.Dispose();
        using Socket late = Knock(hosts, [.. RingDoor.Mark, .. ticket]);
        Assert.That(Answer(late), Is.Empty);
    }

    [Test]
    public void Greeting_Noise_IsClosedAndTheHostServesOn([Range(0, 9)] int seed)
    {
        RingHosts hosts = RingHosts.Shared;
        Random random = new(seed);
        byte[] noise = new byte[random.Next(40, 200)];
        random.NextBytes(noise);
        noise[0] = RingDoor.Mark[0];
        using (Socket socket = Knock(hosts, noise))
            Assert.That(Answer(socket), Is.Empty);
        using TestGroup group = TestGroup.Create("ring", 2);
        group.Run(end => end.Barrier());
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(39)]
    public async Task Greeting_NotFinishedInTime_IsClosed(int bytes)
    {
        RingDoor door = new(new RingMailboxes(), TimeSpan.FromMilliseconds(50));
        (Socket accepted, Socket connected) = RingPeer.Pair();
        using (connected)
        {
            byte[] greeting = [.. RingDoor.Mark, .. new byte[RingMailbox.TicketBytes]];
            connected.Send(greeting.AsSpan(0, bytes));
            Assert.That(await door.TryTakeAsync(accepted).WaitAsync(s_timeout), Is.True);
            Assert.That(Answer(connected), Is.Empty);
        }
    }

    [Test]
    public async Task Greeting_OfAnotherProtocol_IsLeftUnread()
    {
        RingDoor door = new(new RingMailboxes());
        (Socket accepted, Socket connected) = RingPeer.Pair();
        using (accepted)
        using (connected)
        {
            byte[] preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), read = new byte[preface.Length];
            connected.Send(preface);
            Assert.That(await door.TryTakeAsync(accepted).WaitAsync(s_timeout), Is.False);
            Assert.That(accepted.Receive(read), Is.EqualTo(preface.Length));
            Assert.That(read, Is.EqualTo(preface));
        }
    }

    [Test]
    public void Address_HttpsWithoutCertificate_IsRefused() => Assert.That(
        () => RingCommunicator.Join(new RingMailboxes(), ["http://localhost:1", "https://localhost:2"], 0, RingHosts.Secret, s_timeout, 1),
        Throws.InstanceOf<TransportFailedException>().With.Message.Contains("needs the group's certificate"));

    private static Socket Knock(RingHosts hosts, byte[] greeting)
    {
        Uri address = new(hosts.Addresses[0]); // even hosts are on TCP
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = (int)s_timeout.TotalMilliseconds };
        socket.Connect(new IPEndPoint(IPAddress.Loopback, address.Port));
        socket.Send(greeting);
        return socket;
    }

    /// <summary>One byte, or none where the connection was closed, with or without a reset.</summary>
    private static byte[] Answer(Socket socket)
    {
        byte[] answer = new byte[1];
        int count = socket.Receive(answer, 0, 1, SocketFlags.None, out SocketError error);
        Assert.That(error, Is.EqualTo(SocketError.Success).Or.EqualTo(SocketError.ConnectionReset));
        return answer[..count];
    }
}
