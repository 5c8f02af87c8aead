using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>What each rank is told, from what the workers say of themselves.</summary>
public sealed class LoadPlannerTests
{
    private static readonly GatewayOptions External = new() { Workers = ["http://a:1", "http://b:1"], CollectiveTimeout = TimeSpan.FromMilliseconds(1500) };

    private static HelloReply Worker(string hostId, int cores, int hostCores, InstructionSet isa = InstructionSet.Avx2) =>
        new() { HostId = hostId, Cores = cores, HostCores = hostCores, Isa = isa, Isas = { Enum.GetValues<InstructionSet>().Where(path => path != InstructionSet.Unspecified && path <= isa) }, Version = "1", RingAddress = "http://" + hostId };

    private static LoadRequest[] Requests(GatewayOptions options, params HelloReply[] workers)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        GroupPlan plan = GroupPlan.Create(checkpoint.Config, options, DevicePlan.Cpu(workers.Length, "test"), 8L << 30, cores: 4, _ => 1 << 20);
        return LoadPlanner.Requests(plan, options, "/m.gguf", epoch: 7, "prefix", workers, TransportChoice.Unproven(Transport.Ring, [.. workers.Select((_, rank) => rank)], "far"));
    }

    private static int[] Threads(params HelloReply[] workers) => [.. Requests(External, workers).Select(request => request.Threads)];

    [Test]
    public void Requests_EnumsAndTimes_ArriveAsTheyAre()
    {
        LoadRequest request = Requests(External with { KvDtype = KvDtype.Bf16, Activations = ActivationDtype.F32 }, Worker("a", 2, 2), Worker("b", 2, 2))[1];
        Assert.That((request.Rank, request.Degree, request.Epoch), Is.EqualTo((1, 2, 7L)));
        Assert.That((request.KvDtype, request.ActivationDtype, request.Transport, request.Device.Kind), Is.EqualTo((KvDtype.Bf16, ActivationDtype.F32, Transport.Ring, DeviceKind.Cpu)));
        Assert.That((request.CollectiveTimeoutMs, request.TransportReason), Is.EqualTo((1500, "far")));
        Assert.That(request.RingAddresses, Is.EqualTo(new[] { "http://a", "http://b" }));
    }

    [Test]
    public void Requests_Overlap_IsForSeveralRanksAndAsAskedOrMeasured()
    {
        HelloReply[] two = [Worker("a", 2, 2), Worker("b", 2, 2)];
        Assert.That(Requests(External with { Overlap = OverlapWish.On }, two).Select(request => request.OverlapRows), Is.All.EqualTo(128));
        Assert.That(Requests(External, two).Select(request => request.OverlapRows), Is.All.Zero, "auto, and nothing measured");
        Assert.That(Requests(External with { Overlap = OverlapWish.On, Workers = ["http://a:1"] }, two[..1]).Single().OverlapRows, Is.Zero);
    }

    [Test]
    public void Requests_TwoWorkersOfOneHost_ShareItsCores() => Assert.That(Threads(Worker("h/i/s", 2, 2), Worker("h/i/s", 2, 2)), Is.EqualTo(new[] { 1, 1 }));

    [Test]
    public void Requests_WorkersOfTwoHosts_TakeAllOfTheirs() => Assert.That(Threads(Worker("g/i/s", 4, 4), Worker("h/i/s", 8, 8)), Is.EqualTo(new[] { 4, 8 }));

    [Test]
    public void Requests_ContainersOfOneMachine_ShareItsCoresButKeepTheirQuota()
    {
        Assert.That(Threads(Worker("h/i/s", 8, 8), Worker("h/j/s", 8, 8)), Is.EqualTo(new[] { 4, 4 }), "without a quota");
        Assert.That(Threads(Worker("h/i/s", 3, 64), Worker("h/j/s", 2, 64)), Is.EqualTo(new[] { 3, 2 }), "with a quota each");
        Assert.That(Threads(Worker("h/i/s", 2, 64), Worker("h/i/s", 2, 64)), Is.EqualTo(new[] { 1, 1 }), "two workers in one container with a quota");
    }

    [Test]
    public void Requests_MoreWorkersThanCores_GetAThreadEach() => Assert.That(Threads(Worker("h/i/s", 1, 1), Worker("h/i/s", 1, 1)), Is.EqualTo(new[] { 1, 1 }));

    [Test]
    public void Requests_ThreadsGiven_AreTaken() =>
        Assert.That(Requests(External with { Threads = new([5]) }, Worker("h/i/s", 2, 2), Worker("h/i/s", 2, 2)).Select(request => request.Threads), Is.All.EqualTo(5));

    [Test]
    public void Requests_WorkersThatShareCpus_AreBoundToTheirOwn()
    {
        HelloReply[] pair = [Worker("m/i/s", 4, 4), Worker("m/j/s", 4, 4)];
        foreach (HelloReply worker in pair)
            worker.Cpus.Add([3, 1, 4, 6]);
        Assert.That(Requests(External, pair).Select(request => request.Cpus), Is.EqualTo(new[] { new[] { 3, 1 }, [4, 6] }));
        Assert.That(Requests(External with { Pin = false }, pair).Select(request => request.Cpus), Is.All.Empty);
        Assert.That(Requests(External with { Threads = new([3]) }, pair).Select(request => request.Cpus), Is.All.EqualTo(new[] { 3, 1, 4, 6 }), "more threads than CPUs");
        Assert.That(Requests(External with { Threads = new([1, 3]) }, pair).Select(request => request.Cpus), Is.EqualTo(new[] { new[] { 3 }, [1, 4, 6] }), "in proportion to their threads");
        pair[1].Cpus[0] = 7;
        Assert.That(Requests(External, pair).Select(request => request.Cpus), Is.EqualTo(new[] { new[] { 3, 1, 4, 6 }, [7, 1, 4, 6] }), "cpusets of their own");
    }

    [TestCase(InstructionSet.Unspecified, InstructionSet.Avx512Vnni, InstructionSet.Avx2)]
    [TestCase(InstructionSet.Scalar, InstructionSet.Scalar, InstructionSet.Scalar)]
    [TestCase(InstructionSet.Avx2, InstructionSet.Avx2, InstructionSet.Avx2)]
    public void Requests_WorkersOfTwoPaths_EachUseTheirWidestOrTheOneAskedFor(InstructionSet wanted, params InstructionSet[] used)
    {
        LoadRequest[] requests = Requests(External with { Isa = wanted }, Worker("a", 2, 2, InstructionSet.Avx512Vnni), Worker("b", 2, 2, InstructionSet.Avx2));
        Assert.That(requests.Select(request => request.Isa), Is.EqualTo(used));
    }

    [Test]
    public void Requests_PathThatOneWorkerLacks_IsRefused() =>
        Assert.That(
            Assert.Throws<WorkerStartException>(() => Requests(External with { Isa = InstructionSet.Avx512 }, Worker("a", 2, 2, InstructionSet.Avx512Vnni), Worker("b", 2, 2, InstructionSet.Avx2)))!.Message,
            Does.Contain("--isa avx512").And.Contain("rank 1").And.Contain("scalar, avx2"));
}
