using System.Diagnostics;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Sharding.Planning;

namespace TpServe.Sharding.Tests.Planning;

public sealed class PlannerTests
{
    // One KV head a query head, and as many leaves: SmolLM2's shape by 3.
    private static ModelCosts Model => PlannerCases.Costs(PlannerCases.Config(12, 12, 1536, 3072));

    [Test]
    public void Predict_OneDeviceAndRoundNumbers_AddsUpByHand()
    {
        // 1 layer, 2 heads of 8 over a stream of 16, 64 MLP columns, 10 rows; 1 s a weight byte, whatever the rows; all other rates are 0 but for attention.
        ModelConfig config = PlannerCases.Config(2, 1, 64, 10, layers: 1);
        ModelCosts model = PlannerCases.Costs(config, bytesPerWeight: 1);
        DeviceProfile device = PlannerCases.Device(1) with
        {
            Products = new Dictionary<TensorType, ProductCurve> { [TensorType.BF16] = new([new ProductPoint(1, 1)]) },
            DecodeAttentionSecondsPerByte = 1000,
            PrefillAttentionSecondsPerElement = 100,
            ElementwiseSecondsPerFloat = double.Epsilon,
            OperationSeconds = 0,
        };
        Workload work = new(PlanObjective.Latency, PromptTokens: 3, OutputTokens: 5, Batch: 1, ContextTokens: 8, ChunkTokens: 2);
        Prediction prediction = Planner.Predict(model, [device], PlannerCases.FreeLinks(1), work, [0], Partition.Even(config, 1));

        double attention = (2 + 2 + 1 + 1) * 8 * 16, mlp = 3 * 64 * 16, head = 10 * 16;
        // Two chunks, 2 rows then 1: keys 1 + 2, then 3; 2 heads of 8 elements. The head runs once.
        Assert.That(prediction.PromptSeconds, Is.EqualTo((2 * (attention + mlp)) + head + ((1 + 2 + 3) * 2 * 8 * 100)));
        // In the middle of 5 outputs a row sees 3 + 3 keys, of 4 · 8 bytes.
        Assert.That(prediction.StepSeconds, Is.EqualTo(attention + mlp + head + (6 * 32 * 1000)));
        Assert.That(prediction.CostSeconds, Is.EqualTo(prediction.PromptSeconds + (5 * prediction.StepSeconds)));
    }

    [Test]
    public void Predict_TwoRanks_CountsPiecesLatencyAndBytes()
    {
        // 4 heads split 3 + 1: the first rank has the pieces [0,2) and [2,3), so three pieces travel; the leaf of the MLP is on rank 0.
        ModelConfig config = PlannerCases.Config(4, 4, 64, 10, layers: 1);
        DeviceProfile device = PlannerCases.Device(1e30);
        LinkTable links = LinkTable.Uniform(2, new LinkProfile(LinkTransport.SharedMemory, 7, 1, 1));
        Workload work = new(PlanObjective.Latency, 1, 1, 1, 2, 8);
        Prediction prediction = Planner.Predict(PlannerCases.Costs(config), [device, device], links, work, [0, 1], new Partition([0, 3, 4], [0, 1, 1], [0, 5, 10]));
        IReadOnlyList<SegmentPrediction> decode = prediction.Phases[1].Segments;
        double row = 4 * 32;
        // One piece a rank costs 7 + row in one round, 14 + row / 2 + row / 2 in two: one round. A reader reads half of all pieces.
        Assert.That(decode.Select(segment => segment.CollectiveBytes), Is.EqualTo(new[] { 2 * row, 3 * row, row, 512 + 4 }));
        Assert.That(decode[1].CollectiveSeconds, Is.EqualTo(7 + (3 * row / 2)).Within(1e-9));
        Assert.That(decode[2].CollectiveSeconds, Is.EqualTo(7 + (row / 2)).Within(1e-9));
    }

    [Test]
    public void Predict_AnyPartition_CountsThePiecesOfItsShards([Range(1, 12)] int seed)
    {
        Random random = new(seed);
        ModelConfig config = PlannerCases.Config(12, 4, 1500, 50);
        int degree = random.Next(2, 6);
        Partition partition = new(Boundaries(12), Boundaries(Leaves.OfMlp(config).Count), Boundaries(50));
        DeviceProfile device = PlannerCases.Device(1e9);
        LinkTable slow = LinkTable.Uniform(degree, new LinkProfile(LinkTransport.SharedMemory, 1, 1e30, 1e30)); // two rounds never pay
        Prediction prediction = Planner.Predict(
            PlannerCases.Costs(config), [.. Enumerable.Repeat(device, degree)], slow, Workload.Latency, [.. Enumerable.Range(0, degree)], partition);
        ShardPlan[] shards = [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(config, partition, rank))];
        double row = 4.0 * config.Hidden * config.Layers * (degree - 1);
        IReadOnlyList<SegmentPrediction> decode = prediction.Phases[1].Segments;
        Assert.That(decode[1].CollectiveBytes, Is.EqualTo(shards.Sum(shard => shard.HeadShare.Pieces) * row));
        Assert.That(decode[2].CollectiveBytes, Is.EqualTo(shards.Sum(shard => shard.MlpShare.Pieces) * row));

        int[] Boundaries(int units) => [0, .. Enumerable.Range(1, degree - 1).Select(_ => random.Next(units + 1)).Order(), units];
    }

    [Test]
    public void Plan_LikeDevices_AreSplitEvenly([Values(2, 3, 4, 8)] int count)
    {
        DeviceProfile[] devices = [.. Enumerable.Range(0, count).Select(index => PlannerCases.Device(1e11 * (1 + (index % 2 * 0.003)), name: $"device {index}"))];
        PlanResult result = Planner.Plan(PlannerCases.Llama70B, devices, LinkTable.Uniform(count, PlannerCases.Link(3e-6, 5e10)), Workload.Latency);
        Partition even = Partition.Even(PlannerCases.Llama70B.Config, count);
        Assert.That(result.Best.Degree, Is.EqualTo(count));
        Assert.That(result.Best.Partition.HeadBoundaries, Is.EqualTo(even.HeadBoundaries));
        Assert.That(result.Best.Partition.LeafBoundaries, Is.EqualTo(even.LeafBoundaries));
        Assert.That(result.Best.Partition.VocabBoundaries, Is.EqualTo(even.VocabBoundaries));
    }

    [Test]
    public void Plan_OneDeviceTwiceAsFast_GetsTwoThirds()
    {
        PlanResult result = Planner.Plan(Model, [PlannerCases.Device(2e9), PlannerCases.Device(1e9)], PlannerCases.FreeLinks(2), Workload.Latency);
        Assert.That(result.Best.Partition.HeadBoundaries, Is.EqualTo(new[] { 0, 8, 12 }));
        Assert.That(result.Best.Partition.LeafBoundaries, Is.EqualTo(new[] { 0, 16, 24 }));
        Assert.That(result.Best.Partition.VocabBoundaries, Is.EqualTo(new[] { 0, 2048, 3072 }));
    }

    [Test]
    public void Plan_FasterRank_NeverGetsLess([Values(1.05, 1.3, 2.2, 5)] double faster, [Values(0, 1, 2)] int rank)
    {
        DeviceProfile[] devices = [.. Enumerable.Range(0, 3).Select(index => PlannerCases.Device(index == rank ? faster * 1e9 : 1e9))];
        Partition partition = Planner.Plan(Model, devices, PlannerCases.FreeLinks(3), Workload.Throughput).Best.Partition;
        foreach (IReadOnlyList<int> boundaries in new[] { partition.HeadBoundaries, partition.LeafBoundaries, partition.VocabBoundaries })
            for (int other = 0; other < 3; other++)
                Assert.That(boundaries[rank + 1] - boundaries[rank], Is.GreaterThanOrEqualTo(boundaries[other + 1] - boundaries[other]));
    }

    [Test]
    public void Plan_SlowLink_TakesOneDevice()
    {
        PlanResult result = Planner.Plan(
            Model, [PlannerCases.Device(1e10), PlannerCases.Device(2e10)], LinkTable.Uniform(2, PlannerCases.Link(1e-3, 1e6, LinkTransport.Ring)), Workload.Latency);
        Assert.That(result.Best.Devices, Is.EqualTo(new[] { 1 }), "the faster one");
        Assert.That(result.Alternatives.Select(plan => plan.Degree), Does.Contain(2));
    }

    [Test]
    public void Plan_SlowDeviceAmongFast_IsLeftOut()
    {
        DeviceProfile[] devices = [PlannerCases.Device(1e11), PlannerCases.Device(1e8, operationSeconds: 1e-3), PlannerCases.Device(1e11)];
        PlanResult result = Planner.Plan(PlannerCases.Llama70B, devices, LinkTable.Uniform(3, PlannerCases.Link(5e-6, 5e10)), Workload.Latency);
        Assert.That(result.Best.Devices, Is.EqualTo(new[] { 0, 2 }));
    }

    [Test]
    public void Plan_MoreRanksThanHeads_LeavesSomeWithoutHeads()
    {
        ModelCosts model = PlannerCases.Costs(PlannerCases.Config(2, 1, 1536, 3072));
        PlanResult result = Planner.Plan(model, [.. Enumerable.Repeat(PlannerCases.Device(1e9), 4)], PlannerCases.FreeLinks(4), Workload.Latency, new PlanLimits { MinDegree = 4 });
        Partition partition = result.Best.Partition;
        Assert.That(Enumerable.Range(0, 4).Count(rank => partition.HeadBoundaries[rank] == partition.HeadBoundaries[rank + 1]), Is.EqualTo(2));
        partition.CheckAgainst(model.Config);
    }

    [Test]
    public void Plan_EqualCosts_PreferBoundariesAtKvGroups()
    {
        // 10 heads over 4 ranks are two shares of 3 and two of 2, whoever has them; groups of 5 ask for a boundary at 5.
        ModelCosts model = PlannerCases.Costs(PlannerCases.Config(10, 2, 1024, 1000));
        DeviceProfile device = PlannerCases.Device(1e9);
        PlanResult result = Planner.Plan(model, [device, device, device, device], PlannerCases.FreeLinks(4), Workload.Latency, new PlanLimits { MinDegree = 4, EvenWithin = 0 });
        Assert.That(result.Best.Partition.HeadBoundaries[2], Is.EqualTo(5));
    }

    [Test]
    public void Plan_MemoryBinds_GivesTheSmallDeviceWhatItHolds()
    {
        // The first device is fast enough for two thirds of the model, and has room for a quarter.
        ModelCosts model = Model;
        long whole = Planner.Predict(model, [PlannerCases.Device(1)], PlannerCases.FreeLinks(1), Workload.Latency, [0], Partition.Even(model.Config, 1)).Memory[0].TotalBytes;
        PlanResult result = Planner.Plan(model, [PlannerCases.Device(2e9, whole / 4), PlannerCases.Device(1e9)], PlannerCases.FreeLinks(2), Workload.Latency);
        Assert.That(result.Best.Degree, Is.EqualTo(2));
        Assert.That(result.IsProven, Is.True);
        Assert.That(result.Best.Prediction.Memory[0].TotalBytes, Is.LessThanOrEqualTo(whole / 4).And.GreaterThan(whole / 5));
    }

    [Test]
    public void Plan_NoRoom_NamesDeviceAndWhatIsMissing()
    {
        ShardingException? fault = Assert.Throws<ShardingException>(() => Planner.Plan(
            PlannerCases.Llama70B, [PlannerCases.Device(1e12, 24L << 30, "left"), PlannerCases.Device(1e12, 80L << 30, "right")], PlannerCases.FreeLinks(2), Workload.Latency));
        Assert.That(fault!.Message, Does.Contain("left is short of").And.Contain("right is short of").And.Contain("usable 24.0 GiB").And.Contain("640 tokens"));
    }

    [TestCase(0, 1e9, 1e-9, "memory 0 bytes")]
    [TestCase(1, double.NaN, 1e-9, "read bytes/s NaN")]
    [TestCase(1, 1e9, -1, "element-wise s/float -1")]
    public void Plan_ImpossibleProfile_NamesDeviceFieldAndValue(long memory, double read, double elementwise, string expected)
    {
        DeviceProfile device = PlannerCases.Device(1e9, name: "odd") with { MemoryBytes = memory, ReadBytesPerSecond = read, ElementwiseSecondsPerFloat = elementwise };
        ShardingException? fault = Assert.Throws<ShardingException>(() => Planner.Plan(Model, [device], PlannerCases.FreeLinks(1), Workload.Latency));
        Assert.That(fault!.Message, Does.Contain("odd").And.Contain(expected));
    }

    [Test]
    public void Plan_FormatWithoutCurve_IsNamed()
    {
        ModelCosts model = PlannerCases.Costs(PlannerCases.Config(4, 4, 64, 10), TensorType.Q4_K);
        ShardingException? fault = Assert.Throws<ShardingException>(() => Planner.Plan(model, [PlannerCases.Device(1e9, name: "old")], PlannerCases.FreeLinks(1), Workload.Latency));
        Assert.That(fault!.Message, Does.Contain("old").And.Contain("Q4_K").And.Contain("BF16"));
    }

    [TestCase(1, 3.0)]
    [TestCase(2, 3.0)]
    [TestCase(6, 5.0)]
    [TestCase(10, 7.0)]
    [TestCase(20, 12.0)]
    public void ProductCurve_BetweenAndBeyondPoints_IsLinear(int rows, double expected) =>
        Assert.That(new ProductCurve([new(2, 3), new(10, 7)]).At(rows), Is.EqualTo(expected).Within(1e-12));

    [Test]
    public void ModelCosts_OfACheckpoint_WeighAsMuchAsItsShards([Values(1, 2, 3, 5)] int degree)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(Testing.TestData.SmolLm2);
        ModelConfig config = checkpoint.Config;
        ModelCosts model = ModelCosts.Of(config, checkpoint.Tensors.Values, kvHeadBytes: 256);
        DeviceProfile device = PlannerCases.Device(1e9) with { Products = model.Column.Products.Concat(model.VocabRow.Products).Concat(model.QueryHead.Products).Concat(model.KvHead.Products).Select(product => product.Format).Distinct().ToDictionary(format => format, _ => new ProductCurve([new(1, 1e-9)])) };
        Partition partition = Partition.Even(config, degree);
        Prediction prediction = Planner.Predict(
            model, [.. Enumerable.Repeat(device, degree)], PlannerCases.FreeLinks(degree), Workload.Latency, [.. Enumerable.Range(0, degree)], partition);
        for (int rank = 0; rank < degree; rank++)
            Assert.That(prediction.Memory[rank].WeightBytes, Is.EqualTo(ShardSizes.WeightBytes(checkpoint, new ShardPlan(config, partition, rank))).Within(checkpoint.Tensors.Count + 1));
    }

    // Searches are bounded by counts, so that they end on every machine alike; what they take is printed.
    [TestCase("like", 8)]
    [TestCase("unlike", 8)]
    [TestCase("scarce", 8)]
    [TestCase("unlike", 12)]
    [TestCase("scarce", 12)]
    [TestCase("like", 64)]
    public void Plan_ManyDevicesAnd70B_IsNearTheLowerBound(string kind, int count)
    {
        DeviceProfile[] devices = [.. Enumerable.Range(0, count).Select(index => kind switch
        {
            "like" => PlannerCases.Device(2e12, 80L << 30),
            "unlike" => PlannerCases.Device(1e12 * (1 + (0.17 * index)), 80L << 30),
            _ => PlannerCases.Device(1e12 * (1 + (0.17 * index)), (30L - (index * 24 / count)) * (8L << 30) / count),
        })];
        LinkTable links = LinkTable.Uniform(count, PlannerCases.Link(4e-6, 1e11));
        Workload work = Workload.Throughput with { ContextTokens = 1024, Batch = 4 };
        long start = Stopwatch.GetTimestamp();
        PlanResult result = Planner.Plan(PlannerCases.Llama70B, devices, links, work);
        TestContext.Out.WriteLine(FormattableString.Invariant(
            $"{count} {kind}: {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms, degree {result.Best.Degree}, gap {result.Gap:P3}, proven {result.IsProven}, {string.Join(",", result.Best.Partition.HeadBoundaries)} / {string.Join(",", result.Best.Partition.LeafBoundaries)}"));
        Assert.That(result.Gap, Is.LessThan(0.15));
    }

    [Test]
    public void Plan_TheSameQuestion_HasTheSameAnswer()
    {
        DeviceProfile[] devices = [.. Enumerable.Range(0, 5).Select(index => PlannerCases.Device(1e12 * (1 + (0.3 * index)), (50L - (6 * index)) << 30))];
        LinkTable links = LinkTable.Uniform(5, PlannerCases.Link(4e-6, 1e11));
        PlanResult first = Planner.Plan(PlannerCases.Llama70B, devices, links, Workload.Latency), second = Planner.Plan(PlannerCases.Llama70B, devices, links, Workload.Latency);
        Assert.That(second.Best.Partition.LeafBoundaries, Is.EqualTo(first.Best.Partition.LeafBoundaries));
        Assert.That(second.Best.Partition.HeadBoundaries, Is.EqualTo(first.Best.Partition.HeadBoundaries));
        Assert.That(second.Alternatives.Select(plan => plan.Prediction.CostSeconds), Is.EqualTo(first.Alternatives.Select(plan => plan.Prediction.CostSeconds)));
    }
}
