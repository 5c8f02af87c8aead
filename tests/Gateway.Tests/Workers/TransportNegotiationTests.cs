using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

public sealed class TransportNegotiationTests
{
    private static readonly DevicePlan Gpus = new([Gpu(0), Gpu(1)], "test");

    private static RankDevice Gpu(int number) => RankDevice.OnGpu(new GpuFacts { Ordinal = number, Uuid = $"GPU-{number}" });

    private static Transport Wanted(string word) => Words.Transports.TryParse(word, out Transport transport) ? transport : throw new FormatException(word);

    private static HelloReply[] Hosts(params string[] ids) => [.. ids.Select(id => new HelloReply { HostId = id, ShmSegments = 2 })];

    private static Task<TransportChoice> ChooseAsync(string wanted, DevicePlan devices, HelloReply[] hosts, params FakePeer[] peers) =>
        TransportNegotiation.ChooseAsync(Wanted(wanted), devices, hosts, epoch: 7, peers, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(10));

    [Test]
    public async Task Choose_AllPathsProved_TakesCudaIpcWithTheirCosts()
    {
        FakePeer[] peers = [new(), new()];
        TransportChoice choice = await ChooseAsync("auto", Gpus, Hosts("a/i/s", "a/i/s"), peers);
        Assert.That(choice.Transport, Is.EqualTo("cuda-ipc"));
        Assert.That(choice.Paths.Select(paths => paths.Single().Peer), Is.EqualTo(new[] { 1, 0 }));
        Assert.That(peers.Select(peer => (peer.Opened!.Epoch, peer.Opened.Rank, peer.Opened.Degree, peer.Opened.Device.Kind, peer.Opened.Device.Ordinal)), Is.EqualTo(new[] { (7L, 0, 2, DeviceKind.Cuda, 0), (7L, 1, 2, DeviceKind.Cuda, 1) }));
        // Each rank got the segments of all, in rank order.
        foreach (FakePeer peer in peers)
            Assert.That(peer.Proved!.Segments.Select(segment => segment.Handle.ToStringUtf8()), Is.EqualTo(new[] { "segment 0", "segment 1" }));
    }

    [Test]
    public async Task Choose_ARankHasNoSegment_FallsBackWithTheReasonAndProvesNothing()
    {
        FakePeer[] peers = [new(), new() { OpenReason = "no segment here" }];
        TransportChoice choice = await ChooseAsync("auto", Gpus, Hosts("a/i/s", "a/i/s"), peers);
        Assert.That(choice.Transport, Is.EqualTo("shm"));
        Assert.That(choice.Reason, Does.Contain("rank 1").And.Contain("no segment here"));
        Assert.That(choice.Paths, Is.EqualTo(new[] { Array.Empty<PathInfo>(), [] }));
        Assert.That(peers[0].Proved, Is.Null);
    }

    [Test]
    public async Task Choose_APathFails_FallsBackWithTheReason()
    {
        TransportChoice choice = await ChooseAsync("auto", Gpus, Hosts("a/i/s", "a/i/s"), new FakePeer { ProofReason = "rank 1: wrong pattern" }, new FakePeer());
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("shm", "cuda-ipc is not to be had: rank 0: rank 1: wrong pattern")));
    }

    [TestCase(StatusCode.Unimplemented)]
    [TestCase(StatusCode.DeadlineExceeded)]
    [TestCase(StatusCode.Internal)]
    public async Task Choose_ACallFails_IsAReasonToo(StatusCode status)
    {
        TransportChoice choice = await ChooseAsync("auto", Gpus, Hosts("a/i/s", "a/i/s"), new FakePeer(), new FakePeer { OpenFault = new RpcException(new Status(status, "why")) });
        Assert.That(choice.Transport, Is.EqualTo("shm"));
        Assert.That(choice.Reason, Does.Contain("rank 1").And.Contain(status.ToString()).And.Contain("why"));
    }

    [Test]
    public async Task Choose_CudaIpcByNameButRefused_DoesNotStart()
    {
        WorkerStartException? fault = await Assert.ThrowsAsync<WorkerStartException>(() =>
            ChooseAsync("cuda-ipc", Gpus, Hosts("a/i/s", "a/i/s"), new FakePeer { ProofReason = "no peer access" }, new FakePeer()));
        Assert.That(fault!.Message, Does.Contain("no peer access"));
    }

    [Test]
    public async Task Choose_CudaIpcByNameOnEmulatedRanks_AsksThemAndSaysWhatTheySay()
    {
        DevicePlan emulated = DevicePlan.Same(DeviceKind.CudaEmulated, 2, "test");
        WorkerStartException? fault = await Assert.ThrowsAsync<WorkerStartException>(() =>
            ChooseAsync("cuda-ipc", emulated, Hosts("a/i/s", "a/i/s"), new FakePeer { OpenReason = "emulated" }, new FakePeer { OpenReason = "emulated" }));
        Assert.That(fault!.Message, Does.Contain("rank 0: emulated"));
    }

    [TestCase("a/i/s", "b/i/s", "different hosts")]
    [TestCase("a/i/s", "a/j/s", "IPC namespace")]
    public async Task Choose_RanksApart_SaysHowAndTakesTheRing(string first, string second, string reason)
    {
        FakePeer[] peers = [new(), new()];
        TransportChoice choice = await ChooseAsync("auto", Gpus, Hosts(first, second), peers);
        Assert.That(choice.Transport, Is.EqualTo("ring"));
        Assert.That(choice.Reason, Does.Contain(reason));
        Assert.That(peers.Select(peer => peer.Opened), Is.All.Null);
        Assert.That((await Assert.ThrowsAsync<WorkerStartException>(() => ChooseAsync("cuda-ipc", Gpus, Hosts(first, second), peers)))!.Message, Does.Contain(reason));
        await Assert.ThrowsAsync<WorkerStartException>(() => ChooseAsync("shm", Gpus, Hosts(first, second), peers));
    }

    [TestCase("no space left on device", 0, "rank 1: no space left on device")]
    [TestCase("", 1, "rank 1: /dev/shm has room for 1 of 2 segments")]
    public async Task Choose_NoRoomForSegments_SaysSoAndTakesTheRing(string fault, int segments, string reason)
    {
        HelloReply[] hosts = Hosts("a/i/s", "a/i/s");
        (hosts[1].ShmFault, hosts[1].ShmSegments) = (fault, segments);
        TransportChoice choice = await ChooseAsync("auto", DevicePlan.Cpu(2, "test"), hosts);
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("ring", "shm is not to be had: " + reason)));
        choice = await ChooseAsync("auto", Gpus, hosts, new FakePeer { OpenReason = "old driver" }, new FakePeer());
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("ring", "cuda-ipc is not to be had: rank 0: old driver; shm is not to be had: " + reason)));
        Assert.That((await Assert.ThrowsAsync<WorkerStartException>(() => ChooseAsync("shm", DevicePlan.Cpu(2, "test"), hosts)))!.Message, Does.Contain(reason));
        Assert.That((await ChooseAsync("auto", Gpus, hosts, new FakePeer(), new FakePeer())).Transport, Is.EqualTo("cuda-ipc"), "which needs none");
        await ChooseAsync("shm", DevicePlan.Cpu(1, "test"), hosts[1..]); // nor does one rank
    }

    [TestCase("auto", "a/i/s", "shm")]
    [TestCase("auto", "b/i/s", "ring")]
    [TestCase("shm", "a/i/s", "shm")]
    [TestCase("ring", "a/i/s", "ring")]
    public async Task Choose_OnTheCpu_AsksNobodyAndLeavesTheReasonToTheTransport(string wanted, string second, string expected)
    {
        FakePeer[] peers = [new(), new()];
        TransportChoice choice = await ChooseAsync(wanted, DevicePlan.Cpu(2, "test"), Hosts("a/i/s", second), peers);
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo((expected, "")));
        Assert.That(peers.Select(peer => peer.Opened), Is.All.Null);
    }

    [TestCase("auto")]
    [TestCase("hosted")]
    public async Task Choose_SeveralHostsOneWithNeighbours_FinishesInsideAHostWhatItCan(string wanted)
    {
        TransportChoice choice = await ChooseAsync(wanted, DevicePlan.Cpu(5, "test"), Hosts("a/i/s", "a/i/s", "b/i/s", "c/i/s", "c/i/s"));
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("hosted", "5 ranks on 3 hosts: shared memory inside a host, one rank of each over sockets")));
        Assert.That(choice.Hosts, Is.EqualTo(new[] { 0, 0, 1, 2, 2 }));
        Assert.That((choice.Between(0, 1), choice.Between(1, 2), choice.Between(0, 4)), Is.EqualTo((Transport.Shm, Transport.Ring, Transport.Ring)));
    }

    [Test]
    public async Task Choose_AHostWithoutRoom_ItsRanksStandAloneAndItSaysWhy()
    {
        HelloReply[] hosts = Hosts("a/i/s", "a/i/s", "b/i/s", "b/i/s");
        hosts[3].ShmSegments = 1;
        TransportChoice choice = await ChooseAsync("auto", DevicePlan.Cpu(4, "test"), hosts);
        Assert.That((choice.Transport, choice.Hosts), Is.EqualTo(("hosted", new[] { 0, 0, 1, 2 })));
        Assert.That(choice.Reason, Does.EndWith("some share no memory: rank 3: /dev/shm has room for 1 of 2 segments"));
        hosts[0].ShmFault = "no space left on device";
        choice = await ChooseAsync("auto", DevicePlan.Cpu(4, "test"), hosts);
        Assert.That((choice.Transport, choice.Hosts, choice.Reason), Is.EqualTo(("ring", new[] { 0, 0, 1, 1 }, "hosted is not to be had: rank 0: no space left on device")));
        Assert.That((await Assert.ThrowsAsync<WorkerStartException>(() => ChooseAsync("hosted", DevicePlan.Cpu(4, "test"), hosts)))!.Message, Does.Contain("rank 0: no space left on device"));
    }

    [Test]
    public async Task Choose_RanksOfAHostScattered_TakesTheRingAndSaysSo()
    {
        HelloReply[] hosts = Hosts("a/i/s", "b/i/s", "a/i/s");
        TransportChoice choice = await ChooseAsync("auto", DevicePlan.Cpu(3, "test"), hosts);
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("ring", "hosted is not to be had: the workers of rank 0's host are not given one after the other")));
    }

    [TestCase("a/i/s", "they report one")]
    [TestCase("b/i/s", "no host has two workers")]
    public async Task Choose_HostedByNameWithNothingToShare_DoesNotStart(string second, string reason)
    {
        WorkerStartException? fault = await Assert.ThrowsAsync<WorkerStartException>(() => ChooseAsync("hosted", DevicePlan.Cpu(2, "test"), Hosts("a/i/s", second)));
        Assert.That(fault!.Message, Does.Contain(reason));
    }

    [Test]
    public async Task Choose_RoundedSumsOnGpus_AsksNobodyForCudaIpc()
    {
        FakePeer[] peers = [new(), new()];
        TransportChoice choice = await TransportNegotiation.ChooseAsync(Transport.Unspecified, Gpus, Hosts("a/i/s", "a/i/s"), epoch: 7, peers, CancellationToken.None, Wire.Bf16);
        Assert.That((choice.Transport, choice.Reason), Is.EqualTo(("shm", "cuda-ipc is not to be had: --wire bf16 is not sent over it")));
        Assert.That(peers.Select(peer => peer.Opened), Is.All.Null);
    }

    [Test]
    public async Task Choose_CudaIpcByNameOnTheCpu_DoesNotStart()
    {
        WorkerStartException? fault = await Assert.ThrowsAsync<WorkerStartException>(() =>
            ChooseAsync("cuda-ipc", DevicePlan.Cpu(2, "auto: no GPU (why)"), Hosts("a/i/s", "a/i/s"), new FakePeer(), new FakePeer()));
        Assert.That(fault!.Message, Does.Contain("auto: no GPU (why)"));
    }

    [TestCase("shm")]
    [TestCase("ring")]
    public async Task Choose_AnotherTransportByNameOnGpus_IsTaken(string wanted) =>
        Assert.That((await ChooseAsync(wanted, Gpus, Hosts("a/i/s", "a/i/s"), new FakePeer(), new FakePeer())).Transport, Is.EqualTo(wanted));

    [Test]
    public async Task Choose_OneRank_AsksNobody()
    {
        FakePeer peer = new();
        await ChooseAsync("auto", new DevicePlan([Gpu(0)], "test"), Hosts("a/i/s"), peer);
        await ChooseAsync("cuda-ipc", new DevicePlan([Gpu(0)], "test"), Hosts("a/i/s"), peer);
        Assert.That(peer.Opened, Is.Null);
    }

    [Test]
    public void Choose_Stopped_IsCancelledAndNotAReason()
    {
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        FakePeer[] peers = [new() { OpenFault = new RpcException(Status.DefaultCancelled) }, new()];
        Assert.ThrowsAsync<OperationCanceledException>(() => TransportNegotiation.ChooseAsync(Transport.Unspecified, Gpus, Hosts("a/i/s", "a/i/s"), 7, peers, stopped.Token));
    }

    /// <summary>A rank that says what it is told to.</summary>
    private sealed class FakePeer : IIpcPeer
    {
        public string OpenReason { get; init; } = "";

        public string ProofReason { get; init; } = "";

        public RpcException? OpenFault { get; init; }

        public OpenIpcRequest? Opened { get; private set; }

        public ProveIpcRequest? Proved { get; private set; }

        public Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request, TimeSpan timeout, CancellationToken cancellation)
        {
            Opened = request;
            if (OpenFault is not null)
                return Task.FromException<OpenIpcReply>(OpenFault);
            return Task.FromResult(OpenReason.Length > 0
                ? new OpenIpcReply { Reason = OpenReason }
                : new OpenIpcReply { Handle = Google.Protobuf.ByteString.CopyFromUtf8($"segment {request.Rank}"), SegmentBytes = 1 << 20 });
        }

        public Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request, TimeSpan timeout, CancellationToken cancellation)
        {
            Proved = request;
            ProveIpcReply reply = new() { Reason = ProofReason };
            for (int peer = 0; peer < request.Segments.Count; peer++)
                reply.Pairs.Add(peer == request.Rank ? new PathInfo { Peer = peer } : new PathInfo { Peer = peer, RoundTripMicroseconds = 5, BytesPerSecond = 1e11 });
            return Task.FromResult(reply);
        }
    }
}
