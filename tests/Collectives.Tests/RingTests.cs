using System.Diagnostics;
using Grpc.Core;
using TpServe.Collectives.Ring;

namespace TpServe.Collectives.Tests;

public sealed class RingTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(10);

    [Test]
    public void Join_Done_ReportsTransportAndTime()
    {
        using TestGroup group = TestGroup.Create("ring", 2);
        Assert.Multiple(() =>
        {
            Assert.That(group.Ends[0].Report.Transport, Is.EqualTo("ring"));
            Assert.That(group.Ends[0].Report.AllReduceMicroseconds, Is.GreaterThan(0));
        });
    }

    [Test]
    public void Join_WrongSecret_IsRefused()
    {
        RingHosts hosts = RingHosts.Shared;
        long epoch = RingHosts.NextEpoch();
        Exception?[] faults = TestGroup.OnThreads(2, rank =>
            RingCommunicator.Join(hosts.Mailboxes[rank], hosts.Addresses[..2], rank, "a guess", s_timeout, epoch).Dispose());
        Assert.That(faults, Is.All.InstanceOf<TransportFailedException>());
        Assert.That(faults[0]!.Message, Does.Contain(nameof(StatusCode.PermissionDenied)));
    }

    [Test]
    public void Join_PeerNeverOpensTheEpoch_TimesOut()
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(300);
        long start = Stopwatch.GetTimestamp();
        Assert.That(
            () => RingHosts.Shared.Join(0, 2, timeout, RingHosts.NextEpoch()),
            Throws.InstanceOf<CollectiveTimeoutException>().With.Property(nameof(CollectiveTimeoutException.MissingRank)).EqualTo(1));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.InRange(timeout - TimeSpan.FromMilliseconds(50), timeout + s_atOnce));
    }

    [Test]
    public void Join_NobodyListensThere_TimesOut()
    {
        string[] addresses = [RingHosts.Shared.Addresses[0], "unix:/nowhere/at/all.sock"];
        Assert.That(
            () => RingCommunicator.Join(RingHosts.Shared.Mailboxes[0], addresses, 0, RingHosts.Secret, TimeSpan.FromMilliseconds(300), RingHosts.NextEpoch()),
            Throws.InstanceOf<CollectiveTimeoutException>());
    }

    [Test]
    public void Join_Cancelled_EndsAtOnce()
    {
        using CancellationTokenSource source = new(TimeSpan.FromMilliseconds(100));
        RingHosts hosts = RingHosts.Shared;
        Assert.That(
            () => RingCommunicator.Join(hosts.Mailboxes[0], hosts.Addresses[..2], 0, RingHosts.Secret, s_timeout, RingHosts.NextEpoch(), cancellation: source.Token),
            Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Join_OlderEpochThanThePeers_IsRefused()
    {
        long older = RingHosts.NextEpoch(), newer = RingHosts.NextEpoch();
        using RingHosts hosts = new(2);
        using TestGroup group = TestGroup.Join(2, rank => hosts.Join(rank, 2, s_timeout, newer));

        // A third worker that comes late, from a life of the group that the others have left behind.
        RingMailboxes late = new();
        Assert.That(
            () => RingCommunicator.Join(late, hosts.Addresses, 0, RingHosts.Secret, s_timeout, older),
            Throws.InstanceOf<TransportFailedException>().With.Message.Contains($"epoch {older} is over"));
        Assert.That(() => hosts.Join(0, 2, s_timeout, older), Throws.InstanceOf<TransportFailedException>());
        group.Run(end => end.Barrier());
    }

    [Test]
    public void Join_SecondStreamOfTheSameRank_IsRefused()
    {
        long epoch = RingHosts.NextEpoch();
        using RingHosts hosts = new(2);
        using TestGroup group = TestGroup.Join(2, rank => hosts.Join(rank, 2, s_timeout, epoch));
        Assert.That(
            () => RingCommunicator.Join(new RingMailboxes(), hosts.Addresses, 0, RingHosts.Secret, s_timeout, epoch),
            Throws.InstanceOf<TransportFailedException>().With.Message.Contains("has a stream already"));
        group.Run(end => end.Barrier());
    }

    [Test]
    public void Join_NextEpoch_RevokesThePreviousOne()
    {
        long older = RingHosts.NextEpoch(), newer = RingHosts.NextEpoch();
        using RingHosts hosts = new(2);
        using TestGroup first = TestGroup.Join(2, rank => hosts.Join(rank, 2, s_timeout, older));
        using TestGroup second = TestGroup.Join(2, rank => hosts.Join(rank, 2, s_timeout, newer));
        Exception?[] faults = first.RunAll(end => end.Barrier());
        Assert.That(faults, Is.All.InstanceOf<RevokedException>());
        second.Run(end => end.Barrier());
    }

    [Test]
    public void Gather_RankZeroNeverReads_SendersStopAtTheirDeadline()
    {
        // The mailbox and the connection hold so much and no more: a sender that runs ahead is held, not the receiver's memory filled.
        using TestGroup group = TestGroup.Create("ring", 2, TimeSpan.FromSeconds(1));
        int[] firsts = [0, 0, 250_000];
        int sent = 0;
        Exception?[] faults = group.RunAll(end =>
        {
            if (end.Rank == 0)
                return;
            using Matrix x = new(1, 250_000), y = new(0, 0);
            for (; sent < 1000; sent++)
                end.Gather(x.View, firsts, default);
        });
        Assert.That(faults[1], Is.InstanceOf<CollectiveTimeoutException>());
        Assert.That(sent, Is.InRange(2, 100));
    }
}
