using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>KV cache sizes: SmolLM2 has 30 layers and 3 KV heads of 64, so a token of one KV head in f16 takes 2 · 30 · 64 · 2 = 7680 bytes on a rank.</summary>
public sealed class GroupPlanTests
{
    private const long HeadBytes = 7680;
    private const long Weights = 1_000_000;

    private static ModelConfig Config()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        return checkpoint.Config;
    }

    private static RankDevice Gpu(int number, long freeBytes) =>
        RankDevice.OnGpu(new GpuFacts { Ordinal = number, Uuid = $"GPU-{number}", Name = "NVIDIA Test", TotalBytes = freeBytes, FreeBytes = freeBytes });

    private static GroupPlan Plan(GatewayOptions options, params RankDevice[] devices) =>
        GroupPlan.Create(Config(), options, new DevicePlan(devices, "test"), freeBytes: 1L << 40, cores: 2, _ => Weights);

    [Test]
    public void Create_OneGpu_FillsTheShareOfItsMemoryThatWeightsLeave()
    {
        GroupPlan plan = Plan(new GatewayOptions { GpuMemoryUtilization = 0.5 }, Gpu(0, 1L << 30));
        long tokens = ((1L << 29) - Weights) / (3 * HeadBytes);
        Assert.That(plan.KvBlocks, Is.EqualTo(tokens / 16));
        Assert.That(plan.MaxModelLen, Is.EqualTo(8192));
    }

    [Test]
    public void Create_RanksOnOneGpu_ShareItsMemory()
    {
        // Degree 2 is 5 + 4 query heads: KV heads 0..1 and 1..2, two on each rank.
        GroupPlan apart = Plan(new GatewayOptions(), Gpu(0, 1L << 30), Gpu(1, 1L << 30));
        GroupPlan shared = Plan(new GatewayOptions(), Gpu(0, 1L << 30), Gpu(0, 1L << 30));
        long usable = (long)((1L << 30) * 0.9);
        Assert.That(apart.KvBlocks, Is.EqualTo((usable - Weights) / (2 * HeadBytes) / 16));
        Assert.That(shared.KvBlocks, Is.EqualTo((usable - 2 * Weights) / (4 * HeadBytes) / 16));
    }

    [Test]
    public void Create_SomeOfTheSeats_KeepTheirWeightsAndTheCacheOfTheWhole()
    {
        GatewayOptions options = new() { Tp = 3, Partition = new PartitionWish(false, [1, 4, 2]) };
        DevicePlan devices = DevicePlan.Cpu(3, "test");
        GroupPlan whole = GroupPlan.Create(Config(), options, devices, freeBytes: 1L << 40, cores: 4, _ => Weights);
        GroupPlan left = GroupPlan.Create(Config(), options, devices.Of([0, 2]), freeBytes: 1L << 40, cores: 4, _ => Weights, seats: [0, 2]);
        Assert.That(left.Partition.HeadBoundaries, Is.EqualTo(Partition.Weighted(Config(), [1, 2]).HeadBoundaries));
        Assert.That((left.Degree, left.MaxModelLen, left.KvBlocks), Is.EqualTo((2, whole.MaxModelLen, whole.KvBlocks)));
    }

    [Test]
    public void Create_UnequalGpus_TheSmallerDecides()
    {
        GroupPlan plan = Plan(new GatewayOptions(), Gpu(0, 8L << 30), Gpu(1, 1L << 30));
        Assert.That(plan.KvBlocks, Is.EqualTo(((long)((1L << 30) * 0.9) - Weights) / (2 * HeadBytes) / 16));
    }

    [Test]
    public void Create_LittleMemory_ShortensTheContextToWhatTheCacheHolds()
    {
        GroupPlan plan = Plan(new GatewayOptions { GpuMemoryUtilization = 1 }, Gpu(0, Weights + 1000 * 3 * HeadBytes));
        Assert.That(plan.MaxModelLen, Is.EqualTo(992)); // 1000 rounded down to whole blocks of 16
        Assert.That(plan.KvBlocks, Is.EqualTo(62));
    }

    [Test]
    public void Create_WeightsThatDoNotFit_NamesGpuNeedAndLimit()
    {
        ShardingException? fault = Assert.Throws<ShardingException>(() => Plan(new GatewayOptions(), Gpu(3, Weights)));
        Assert.That(fault!.Message, Does.Contain("cuda:3").And.Contain("rank 0").And.Contain("--gpu-memory-utilization"));
    }

    [Test]
    public void Create_ContextThatDoesNotFit_IsRefused()
    {
        ShardingException? fault = Assert.Throws<ShardingException>(() =>
            Plan(new GatewayOptions { MaxModelLen = 4096, GpuMemoryUtilization = 1 }, Gpu(0, Weights + 1000 * 3 * HeadBytes)));
        Assert.That(fault!.Message, Does.Contain("4096").And.Contain("992 tokens"));
    }

    [Test]
    public void Create_HugeGpu_KeepsALayerBelow2To31Elements()
    {
        GroupPlan plan = Plan(new GatewayOptions(), Gpu(0, 1L << 40));
        Assert.That((long)plan.KvBlocks * plan.BlockTokens * 3 * 64, Is.LessThan(1L << 31));
        Assert.That((long)(plan.KvBlocks + 1) * plan.BlockTokens * 3 * 64, Is.GreaterThanOrEqualTo((1L << 31) - 3 * 64));
    }

    [Test]
    public void Create_CpuDevices_TakeHalfOfWhatTheWeightsLeaveAndNoMoreThanAllRequestsCanFill()
    {
        GroupPlan plenty = GroupPlan.Create(Config(), new GatewayOptions(), DevicePlan.Cpu(1, "test"), freeBytes: 1L << 40, cores: 2, _ => Weights);
        Assert.That((plenty.KvBlocks * 16, plenty.CacheReason), Is.EqualTo((64 * 8192, "64 requests of 8192 tokens fill no more")));
        GroupPlan scarce = GroupPlan.Create(Config(), new GatewayOptions(), DevicePlan.Cpu(2, "test"), freeBytes: 2 * Weights + 2 * 2 * 2 * HeadBytes * 1600, cores: 2, _ => Weights);
        Assert.That((scarce.KvBlocks * 16, scarce.MaxModelLen, scarce.CacheReason), Is.EqualTo((1600, 1600, "half of the 0.1 GiB free beside the weights")));
    }

    [Test]
    public void Create_WorkersOnHostsOfTheirOwn_TheTightestHostDecides()
    {
        HelloReply Host(string id, long tokens, int ranks) => new() { HostId = id, FreeBytes = ranks * Weights + 2 * ranks * 2 * HeadBytes * tokens };
        GatewayOptions options = new() { Workers = ["http://a:1", "http://b:1", "http://b:2"] };
        GroupPlan apart = GroupPlan.Create(Config(), options, DevicePlan.Cpu(3, "test"), freeBytes: 1, cores: 1, _ => Weights, workers: [Host("a", 3200, 1), Host("b", 1600, 2), Host("b", 1600, 2)]);
        // Degree 3 is one KV head a rank: half of what a rank of degree 2 spends.
        Assert.That(apart.KvBlocks * 16, Is.EqualTo(2 * 1600));
    }

    [Test]
    public void Create_RankMemory_BoundsTheCacheByTheTightestRank()
    {
        // 5 + 4 query heads: two KV heads on each rank. What is left beside weights and activations holds 1600 tokens on rank 1, more on rank 0.
        long scratch = Scratch(1), limit = Weights + scratch + (1600 * 2 * HeadBytes);
        GroupPlan plan = Limited(new([2 * limit, limit]), PartitionWish.Even);
        Assert.That((plan.KvBlocks * 16, plan.MaxModelLen), Is.EqualTo((1600, 1600)));
        Assert.That(plan.CacheReason, Does.EndWith("leaves rank 1 beside weights and activations"));
        Assert.That(Limited(new([limit]), PartitionWish.Even).KvBlocks * 16, Is.LessThanOrEqualTo(1600), "one limit for all");
    }

    [Test]
    public void Create_RankMemoryThatHoldsNoBlock_SaysWhatItWouldHold()
    {
        ShardingException? fault = Assert.Throws<ShardingException>(() => Limited(new([Weights + Scratch(0) + 1000, 1L << 40]), PartitionWish.Even));
        Assert.That(fault!.Message, Does.StartWith("--rank-memory: rank 0 may take ").And.Contain("activations"));
        Assert.That(Assert.Throws<ShardingException>(() => Limited(new([1L << 30, 1L << 30, 1L << 30]), PartitionWish.Even))!.Message, Does.StartWith("--rank-memory has 3 values for 2 workers"));
    }

    [Test]
    public void Create_RankMemoryUnequalAndPartitionAuto_StartsFromTheRoomierShares()
    {
        GroupPlan plan = Limited(new([128L << 20, 512L << 20]), PartitionWish.Auto, shard => 10_000_000L * shard.LocalHeads);
        Assert.That(plan.Shards[0].LocalHeads, Is.LessThan(plan.Shards[1].LocalHeads));
        Assert.That(plan.KvBlocks, Is.GreaterThan(Limited(new([128L << 20, 512L << 20]), PartitionWish.Even, shard => 10_000_000L * shard.LocalHeads).KvBlocks));
    }

    private static GroupPlan Limited(PerRank<long> limits, PartitionWish split, Func<ShardPlan, long>? weights = null) => GroupPlan.Create(
        Config(), new GatewayOptions { RankMemory = limits, Partition = split }, DevicePlan.Cpu(2, "test"), 1L << 40, cores: 2, weights ?? (_ => Weights));

    private static long Scratch(int rank)
    {
        ShardPlan shard = new(Config(), Partition.Even(Config(), 2), rank);
        return (long)Sharding.Planning.ScratchSizes.Of(Config(), shard.LocalHeads, shard.LocalKvHeads, shard.LocalIntermediate, shard.LocalVocab, 512, 64);
    }

    [Test]
    public void Create_KvCacheInTokens_IsTakenAndBoundsTheContext()
    {
        GroupPlan plan = Plan(new GatewayOptions { KvCache = KvCacheSize.OfTokens(1000) }, Gpu(0, 8L << 30));
        Assert.That((plan.KvBlocks, plan.MaxModelLen), Is.EqualTo((63, 1000))); // 1000 rounded up to whole blocks of 16
    }

    [Test]
    public void Create_KvCacheInBytes_IsWhatTheRankThatHoldsMostSpends()
    {
        // 5 + 4 query heads are KV heads 0..1 and 1..2: two on each rank; 9 alone has all three.
        GatewayOptions options = new() { KvCache = KvCacheSize.OfBytes(3200 * HeadBytes) };
        Assert.That(GroupPlan.Create(Config(), options, DevicePlan.Cpu(2, "test"), 1L << 40, cores: 2, _ => Weights).KvBlocks, Is.EqualTo(1600 / 16));
        Assert.That(GroupPlan.Create(Config(), options, DevicePlan.Cpu(1, "test"), 1L << 40, cores: 2, _ => Weights).MaxModelLen, Is.EqualTo(3200 / 3));
    }

    [TestCase(KvDtype.F32, 2 * 30 * 3 * 64 * 4)]
    [TestCase(KvDtype.F16, 2 * 30 * 3 * 64 * 2)]
    [TestCase(KvDtype.Bf16, 2 * 30 * 3 * 64 * 2)]
    [TestCase(KvDtype.Q8, 2 * 30 * 3 * (64 + 2 * 2))]
    public void Create_KvDtype_GivesTheTokensThatItsBytesAllow(KvDtype dtype, int tokenBytes)
    {
        GatewayOptions options = new() { KvDtype = dtype, KvCache = KvCacheSize.OfBytes(1600L * tokenBytes) };
        GroupPlan plan = GroupPlan.Create(Config(), options, DevicePlan.Cpu(1, "test"), 1L << 40, cores: 2, _ => Weights);
        Assert.That((plan.KvBlocks * 16, GroupPlan.KvBytesPerToken(Config(), plan.Shards[0], dtype)), Is.EqualTo((1600, (long)tokenBytes)));
    }

    [Test]
    public void Create_Q8OnAGpu_NamesDeviceAndWhatIsAllowed()
    {
        GatewayOptions options = new() { KvDtype = KvDtype.Q8 };
        string Message(params RankDevice[] devices) => Assert.Throws<ShardingException>(() => Plan(options, devices))!.Message;
        Assert.That(Message(Gpu(1, 8L << 30)), Is.EqualTo("--kv-dtype q8 is served on the CPU only; on cuda:1 it may be f16, f32, bf16."));
        Assert.That(Message(new RankDevice(DeviceKind.CudaEmulated, null)), Does.Contain("on cuda-emulated"));
    }

    [Test]
    public void Create_Q8ForHeadsThatAreNoBlocks_NamesTheirSizeAndWhatIsAllowed()
    {
        GatewayOptions options = new() { KvDtype = KvDtype.Q8 };
        ModelConfig odd = Config() with { HeadDim = 80 };
        ShardingException? fault = Assert.Throws<ShardingException>(() => GroupPlan.Create(odd, options, DevicePlan.Cpu(1, "test"), 1L << 40, cores: 2, _ => Weights));
        Assert.That(fault!.Message, Is.EqualTo("--kv-dtype q8 is for heads of a multiple of 32 elements; this model's have 80: it may be f16, f32, bf16."));
    }

    [Test]
    public void Create_KvCacheBeyondTheHostsMemory_NamesNeedAndWhatIsFree()
    {
        static GroupPlan OnHost(KvCacheSize size, long freeTokens) => GroupPlan.Create(
            Config(), new GatewayOptions { KvCache = size }, DevicePlan.Cpu(2, "test"), freeBytes: 2 * Weights + 2 * 2 * HeadBytes * freeTokens, cores: 2, _ => Weights);
        Assert.That(OnHost(KvCacheSize.OfTokens(1600), 1600).KvBlocks, Is.EqualTo(100), "all that is free may be asked for");
        long need = 2 * 2 * HeadBytes * 100_000L >> 20, free = 2 * 2 * HeadBytes * 1600L >> 20;
        Assert.That(
            Assert.Throws<ShardingException>(() => OnHost(KvCacheSize.OfTokens(100_000), 1600))!.Message,
            Is.EqualTo($"--kv-cache 100000 needs {need} MiB for the 2 workers of this host, where {free} MiB are free beside {2 * Weights >> 20} MiB of weights. Lower it to at most 1600 tokens."));
        Assert.That(Assert.Throws<ShardingException>(() => OnHost(KvCacheSize.OfBytes(1L << 40), 1600))!.Message, Does.StartWith("--kv-cache 1TiB holds "), "more than a kernel can count");
    }

    [Test]
    public void Create_KvCacheBeyondTheGpusMemory_NamesWhatTheyHold()
    {
        GatewayOptions options = new() { KvCache = KvCacheSize.OfTokens(2000) };
        Assert.That(Assert.Throws<ShardingException>(() => Plan(options, Gpu(0, Weights + 1000 * 3 * HeadBytes)))!.Message, Does.Contain("--kv-cache 2000").And.Contain("memory for 1000"));
    }

    [Test]
    public void Create_MoreWorkersThanTheHostTakes_SaysWhatLimitsThem() => Assert.That(
        Assert.Throws<ShardingException>(() => GroupPlan.Create(Config(), new GatewayOptions(), DevicePlan.Cpu(9, "test"), 1L << 40, cores: 3, _ => Weights))!.Message,
        Does.StartWith("--tp 9: at most 8 workers start on this host: twice its 3 cores, or 8 where that is more.").And.Contain("--worker"));

    [Test]
    public void Create_KvCacheThatHoldsNoToken_IsRefused() =>
        Assert.That(
            Assert.Throws<ShardingException>(() => Plan(new GatewayOptions { KvCache = KvCacheSize.OfBytes(1024) }, Gpu(0, 8L << 30)))!.Message,
            Does.Contain("--kv-cache 1KiB").And.Contain("23040 bytes"));

    [Test]
    public void Create_Threads_AreTheCoresSharedOutWhereTheHostIsThisOne()
    {
        static int Threads(GatewayOptions options) => GroupPlan.Create(Config(), options, DevicePlan.Cpu(2, "test"), 1L << 40, cores: 8, _ => Weights).Threads[0];
        Assert.That(Threads(new GatewayOptions()), Is.EqualTo(4));
        Assert.That(Threads(new GatewayOptions { Threads = new([3]) }), Is.EqualTo(3));
        Assert.That(GroupPlan.Create(Config(), new GatewayOptions { Threads = new([1, 2]) }, DevicePlan.Cpu(2, "test"), 1L << 40, cores: 8, _ => Weights).Threads, Is.EqualTo(new[] { 1, 2 }));
        Assert.That(Assert.Throws<ShardingException>(() => Threads(new GatewayOptions { Threads = new([1, 2, 3]) }))!.Message, Does.StartWith("--threads has 3 values for 2 workers"));
        Assert.That(Threads(new GatewayOptions { Workers = ["http://a:1", "http://b:1"] }), Is.Zero, "known when the workers have said what they have");
    }

    [Test]
    public void Create_ManyGpus_AreNotLimitedByTheCores()
    {
        Assert.That(Plan(new GatewayOptions(), [.. Enumerable.Range(0, 9).Select(i => Gpu(i, 1L << 30))]).Degree, Is.EqualTo(9));
        Assert.Throws<ShardingException>(() => GroupPlan.Create(Config(), new GatewayOptions(), DevicePlan.Cpu(9, "test"), 1L << 40, cores: 2, _ => Weights));
    }
}
