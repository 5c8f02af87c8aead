using System.Net.Sockets;
using TpServe.Collectives.Ring;
using TpServe.Links;
using TpServe.Testing;

namespace TpServe.Collectives.Tests;

/// <summary>Encrypted links of the ring: bytes arrive as they were, and whoever is not of the group is refused with the reason, in time.</summary>
public sealed class RingTlsTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private static readonly GroupCertificate s_certificate = RingHosts.NewCertificate();

    [Test]
    public void Join_TwoRanks_SaysThatItIsEncrypted()
    {
        using TestGroup group = TestGroup.Create("ring-tls", 2);
        Assert.That(group.Ends.Select(end => end.Report.Reason), Is.All.Contains("TLS"));
    }

    [Test]
    public void Join_PeerOfAnotherGroup_IsRefusedAtOnceWithTheReason()
    {
        using RingHosts hosts = new(2, s_certificate, RingHosts.NewCertificate());
        Exception?[] faults = JoinAll(hosts);
        Assert.That(faults, Is.All.InstanceOf<TransportFailedException>().With.Message.Contains("another certificate"));
    }

    [Test]
    public void Join_CertificateHasExpiredMeanwhile_IsRefusedWithTheReason()
    {
        SetClock clock = new(DateTimeOffset.UtcNow);
        GroupCertificate certificate = RingHosts.NewCertificate(clock);
        using RingHosts hosts = new(2, certificate);
        clock.Now += TimeSpan.FromDays(31);
        Assert.That(JoinAll(hosts), Is.All.InstanceOf<TransportFailedException>().With.Message.Contains("expired on"));
    }

    [Test]
    public void Join_OnePeerTakesBothCertificates_TheOtherOnesRefusalIsNamed()
    {
        // Rank 1 would take rank 0's as well, rank 0 takes only its own.
        using TemporaryFolder folder = new();
        GroupCertificate.Write(folder.Of("a"), "a", 3, TimeProvider.System);
        GroupCertificate.Write(folder.Of("b"), "b", 3, TimeProvider.System);
        File.Copy(folder.Of("a/tls.crt"), folder.Of("b/other.crt"));
        using RingHosts hosts = new(2, GroupCertificate.Read(folder.Of("a")), GroupCertificate.Read(folder.Of("b")));
        Exception?[] faults = JoinAll(hosts);
        Assert.That(faults, Is.All.InstanceOf<TransportFailedException>());
        Assert.That(faults[0]!.Message, Does.Contain("another certificate"));
        Assert.That(faults[1]!.Message, Does.Contain("does not take this end's certificate"));
    }

    [Test]
    public void Join_PeerWithoutTls_IsRefusedWithTheReason()
    {
        using RingHosts plain = new(1), encrypted = new(1, s_certificate);
        using RingMailbox theirs = plain.Mailboxes[0].Open(RingHosts.NextEpoch(), 0, 2);
        string https = plain.Addresses[0].Replace("http://", "https://", StringComparison.Ordinal);
        Assert.That(
            () => RingCommunicator.Join(encrypted.Mailboxes[0], [encrypted.Addresses[0], https], 0, RingHosts.Secret, s_timeout, RingHosts.NextEpoch()),
            Throws.InstanceOf<TransportFailedException>().With.Message.Contains("speaks no TLS"));
        Assert.That(
            () => RingCommunicator.Join(encrypted.Mailboxes[0], [encrypted.Addresses[0], plain.Addresses[0]], 0, RingHosts.Secret, s_timeout, RingHosts.NextEpoch()),
            Throws.InstanceOf<TransportFailedException>().With.Message.Contains("is not encrypted"));
    }

    [Test]
    public void Join_PeerAsksForTls_IsRefusedWithTheReason()
    {
        using RingHosts plain = new(1), encrypted = new(1, s_certificate);
        string http = encrypted.Addresses[0].Replace("https://", "http://", StringComparison.Ordinal);
        Assert.That(
            () => RingCommunicator.Join(plain.Mailboxes[0], [plain.Addresses[0], http], 0, RingHosts.Secret, s_timeout, RingHosts.NextEpoch()),
            Throws.InstanceOf<TransportFailedException>().With.Message.Contains("asks for TLS"));
    }

    [Test]
    public void Address_OfAnotherHostInPlaintext_IsRefused() => Assert.That(
        () => RingCommunicator.Join(new RingMailboxes(), ["http://localhost:1", "http://10.9.9.9:2"], 0, RingHosts.Secret, s_timeout, 1),
        Throws.InstanceOf<TransportFailedException>().With.Message.Contains("--insecure-links"));

    [TestCase(0)] // the mark alone
    [TestCase(32)] // a ticket that is not encrypted
    [TestCase(4000)]
    public async Task Greeting_NotEncrypted_IsClosed(int bytes)
    {
        RingMailboxes mailboxes = new(new LinkSecurity(s_certificate, Insecure: false));
        using RingMailbox mailbox = mailboxes.Open(1, 0, 2);
        byte[] ticket = mailbox.TryIssue(1, out _)!;
        RingDoor door = new(mailboxes, TimeSpan.FromMilliseconds(300));
        (Socket accepted, Socket connected) = RingPeer.Pair();
        using (connected)
        {
            byte[] said = [.. ticket, .. new byte[4000]];
            connected.Send([.. RingDoor.Mark, .. said[..bytes]]);
            Assert.That(await door.TryTakeAsync(accepted).WaitAsync(s_timeout), Is.True);
            Assert.That(EndOf(connected), Is.Zero);
        }
    }

    [TestCase(1, 1)]
    [TestCase(64, 64)]
    [TestCase(16384, 16384)]
    [TestCase(16385, 100)]
    [TestCase(70_000, 1 << 20)]
    [TestCase(3_000_001, 77_777)]
    public async Task Wire_AnySizes_BytesArriveInOrder(int bytes, int room)
    {
        (RingWire sender, RingWire receiver, Socket raw) = await PairAsync();
        using (raw)
        using (sender)
        using (receiver)
        {
            byte[] sent = new byte[bytes], received = new byte[bytes];
            new Random(bytes).NextBytes(sent);
            int there = 0, arrived = 0;
            DateTime deadline = DateTime.UtcNow + s_timeout;
            while (arrived < bytes)
            {
                Assert.That(DateTime.UtcNow, Is.LessThan(deadline));
                int count = there < bytes ? sender.TrySend(sent.AsSpan(there), out _) : 0;
                Assert.That(count, Is.Not.Negative);
                there += count;
                count = receiver.TryReceive(received.AsSpan(arrived, Math.Min(room, bytes - arrived)), out string fault);
                Assert.That(count, Is.Not.Negative, fault);
                arrived += count;
            }
            Assert.That(there, Is.EqualTo(bytes));
            Assert.That(received, Is.EqualTo(sent));
            Assert.That(receiver.TryReceive(received, out _), Is.Zero);
        }
    }

    [Test]
    public async Task Wire_NobodyReads_IsFullAndThenGoesOn()
    {
        (RingWire sender, RingWire receiver, Socket raw) = await PairAsync();
        using (raw)
        using (sender)
        using (receiver)
        {
            byte[] block = new byte[1 << 20], room = new byte[1 << 20];
            new Random(5).NextBytes(block);
            long sent = 0, received = 0;
            int count;
            while ((count = sender.TrySend(block.AsSpan((int)(sent % block.Length)), out _)) > 0)
                sent += count;
            Assert.That(count, Is.Zero);
            DateTime deadline = DateTime.UtcNow + s_timeout;
            while (sent < 32 << 20 || received < sent)
            {
                Assert.That(DateTime.UtcNow, Is.LessThan(deadline));
                if (sent < 32 << 20)
                    sent += sender.TrySend(block.AsSpan((int)(sent % block.Length)), out _);
                count = receiver.TryReceive(room, out string fault);
                Assert.That(count, Is.Not.Negative, fault);
                for (int i = 0; i < count; i++)
                    if (room[i] != block[(received + i) % block.Length])
                        Assert.Fail($"byte {received + i} is another one");
                received += count;
            }
        }
    }

    [TestCase("a record that nobody sealed", true)]
    [TestCase("no record at all", false)]
    public async Task Wire_BytesOfAStranger_BreakIt(string what, bool isRecord)
    {
        (RingWire sender, RingWire receiver, Socket raw) = await PairAsync();
        using (raw)
        using (sender)
        using (receiver)
        {
            byte[] noise = new byte[60];
            new Random(what.Length).NextBytes(noise);
            raw.Send(isRecord ? [23, 3, 3, 0, 55, .. noise[5..]] : noise);
            string fault = "";
            int count = 0;
            for (DateTime deadline = DateTime.UtcNow + s_timeout; count == 0 && DateTime.UtcNow < deadline; receiver.WaitReadable(TimeSpan.FromMilliseconds(10)))
                count = receiver.TryReceive(new byte[100], out fault);
            Assert.That(count, Is.EqualTo(-1));
            Assert.That(fault, Is.Not.Empty);
        }
    }

    [Test]
    public async Task Wire_OtherEndGone_IsFoundAfterWhatCameBefore()
    {
        (RingWire sender, RingWire receiver, Socket raw) = await PairAsync();
        using (receiver)
        {
            Assert.That(sender.TrySend("last words"u8, out _), Is.EqualTo(10));
            sender.Dispose();
            byte[] room = new byte[100];
            int count = 0;
            string fault = "";
            for (DateTime deadline = DateTime.UtcNow + s_timeout; count == 0 && DateTime.UtcNow < deadline; receiver.WaitReadable(TimeSpan.FromMilliseconds(10)))
                count = receiver.TryReceive(room, out _);
            Assert.That(count, Is.EqualTo(10));
            count = 0;
            for (DateTime deadline = DateTime.UtcNow + s_timeout; count == 0 && DateTime.UtcNow < deadline; receiver.WaitReadable(TimeSpan.FromMilliseconds(10)))
                count = receiver.TryReceive(room, out fault);
            Assert.That((count, fault), Is.EqualTo((-1, "it was closed")));
        }
    }

    /// <summary>Two ends of an encrypted connection, and the sender's socket as a stranger would have it.</summary>
    private static async Task<(RingWire Sender, RingWire Receiver, Socket Raw)> PairAsync()
    {
        (Socket accepted, Socket connected) = RingPeer.Pair();
        using CancellationTokenSource deadline = new(s_timeout);
        Task<RingTls> connect = RingTls.ConnectAsync(connected, s_certificate, deadline.Token), accept = RingTls.AcceptAsync(accepted, s_certificate, deadline.Token);
        RingWire sender = new(connected, await connect), receiver = new(accepted, await accept);
        // As the door does: what the handshake has left behind has been read by then, and a connection that is closed with bytes unread is reset.
        Assert.That(receiver.TrySend([RingDoor.Welcome], out _), Is.EqualTo(1));
        byte[] welcome = new byte[1];
        for (DateTime end = DateTime.UtcNow + s_timeout; sender.TryReceive(welcome, out _) == 0 && DateTime.UtcNow < end;)
            sender.WaitReadable(TimeSpan.FromMilliseconds(10));
        Assert.That(welcome, Is.EqualTo(new[] { RingDoor.Welcome }));
        return (sender, receiver, connected);
    }

    private static Exception?[] JoinAll(RingHosts hosts)
    {
        long epoch = RingHosts.NextEpoch();
        Exception?[] faults = TestGroup.OnThreads(hosts.Addresses.Length, rank => hosts.Join(rank, hosts.Addresses.Length, s_timeout, epoch).Dispose());
        Assert.That(faults, Has.None.InstanceOf<CollectiveTimeoutException>());
        return faults;
    }

    private static int EndOf(Socket socket)
    {
        socket.ReceiveTimeout = (int)s_timeout.TotalMilliseconds;
        byte[] answer = new byte[100];
        while (true)
        {
            int count = socket.Receive(answer, 0, answer.Length, SocketFlags.None, out SocketError error);
            Assert.That(error, Is.EqualTo(SocketError.Success).Or.EqualTo(SocketError.ConnectionReset));
            if (count == 0)
                return 0; // an alert of TLS may come before
        }
    }
}
