using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>Which split follows from what workers took: none but the even one from noise.</summary>
public sealed class GroupProfileTests
{
    private const long Plenty = 8L << 30;
    private static readonly GatewayOptions s_options = new();

    private ModelCheckpoint _model = null!;

    [OneTimeSetUp]
    public void Open() => _model = ModelCheckpoints.Open(TestData.SmolLm2);

    [OneTimeTearDown]
    public void Close() => _model.Dispose();

    /// <summary>A processor that takes so many times as long as one of about 10 GB/s.</summary>
    internal static MeasureReply Device(double times, string name = "cpu avx2, 1 thread")
    {
        MeasureReply reply = new()
        {
            Device = name,
            Seconds = 0.5,
            DecodeAttentionSecondsPerByte = times * 1e-10,
            PrefillAttentionSecondsPerElement = times * 1e-11,
            ElementwiseSecondsPerFloat = times * 1e-9,
            OperationSeconds = times * 1e-6,
        };
        foreach (TensorType format in new[] { TensorType.Q4_1, TensorType.Q8_0 })
        {
            ProductTimes product = new() { Format = (int)format };
            foreach (int rows in new[] { 1, 8, 32, 128, 512 })
                product.Points.Add(new ProductTimes.Types.Point { Rows = rows, SecondsPerByte = times * (1e-10 + (rows * 3e-11)) });
            reply.Products.Add(product);
        }
        return reply;
    }

    private static GroupMeasurement Measurement(double latencySeconds, params MeasureReply[] devices) => new(
        devices, [.. Enumerable.Repeat(new MeasureLinkReply { LatencySeconds = latencySeconds, SmallBytesPerSecond = 1e9, LargeBytesPerSecond = 4e9 }, GroupMeasurer.Epochs(devices.Length))], 1e-4, DateTimeOffset.UnixEpoch);

    private static GroupProfile Profile(GroupMeasurement measured, params long[] memory) => GroupProfile.Of(
        measured, [.. measured.Devices.Select((reply, rank) => new RankPlace(new HelloReply { Device = "one kind", Cores = 8 }, memory.Length > 0 ? memory[rank] : Plenty, reply.Device.Contains("2 threads") ? 2 : 1, IsLocal: true))], (_, _) => Transport.Shm, "measured in 0.5 s");

    private static GroupProfile OnCores(int cores, bool isLocal, int ranks) => GroupProfile.Of(
        Measurement(1e-6, [.. Enumerable.Repeat(Device(1), ranks)]), [.. Enumerable.Repeat(new RankPlace(new HelloReply { Cores = cores }, Plenty, 1, isLocal), ranks)], (_, _) => Transport.Shm, "now");

    [TestCase(2, true, 2, 1.0, true)]
    [TestCase(3, true, 2, 1.0, false)] // a core is left for the gateway
    [TestCase(2, false, 2, 1.0, false)] // the gateway is elsewhere
    [TestCase(2, true, 3, 2.0, true)] // two turns
    [TestCase(2, true, 4, 2.0, true)]
    [TestCase(1, true, 3, 3.0, true)]
    public void Of_RanksAndCores_CountsTheGatewayAndTurns(int cores, bool isLocal, int ranks, double slower, bool sharesWithGateway)
    {
        GroupProfile profile = OnCores(cores, isLocal, ranks);
        Assert.That(profile.Devices[0].OperationSeconds, Is.EqualTo(slower * 1e-6).Within(1e-12));
        Assert.That(profile.Devices[0].StepSeconds, sharesWithGateway ? Is.EqualTo(3e-4).Within(1e-9) : Is.Zero);
    }

    private SplitChoice Plan(GroupProfile profile, bool mayLeaveOut = true, long kvTokens = 8192) =>
        profile.PlanFor(_model, s_options, [.. Enumerable.Range(0, profile.Devices.Count)], kvTokens, mayLeaveOut);

    [TestCase(2, new[] { 1, 1 }, "0,1")]
    [TestCase(2, new[] { 1, 1, 1 }, "0,1 2,0")]
    [TestCase(2, new[] { 1, 2 }, "0 1")]
    [TestCase(4, new[] { 1, 2, 2 }, "0,1 2,0")]
    [TestCase(1, new[] { 2, 1 }, "0 1")]
    public void TurnsOf_RanksOfAHost_HaveACoreForEachThreadAndCompany(int cores, int[] threads, string turns) =>
        Assert.That(string.Join(' ', GroupMeasurer.TurnsOf([.. Enumerable.Range(0, threads.Length)], threads, cores).Select(turn => string.Join(',', turn))), Is.EqualTo(turns));

    [TestCase(1.0, 1.0)]
    [TestCase(1.0, 1.09)]
    [TestCase(1.09, 1.0)]
    [TestCase(1.0, 1.05, 1.09)]
    [TestCase(1.09, 1.0, 1.02, 1.05)]
    public void PlanFor_WorkersAlikeWithinNoise_SplitsEvenly(params double[] times)
    {
        SplitChoice choice = Plan(Profile(Measurement(1e-6, [.. times.Select(time => Device(time))])));
        Partition even = Partition.Even(_model.Config, times.Length);
        Assert.That(choice.Partition.HeadBoundaries, Is.EqualTo(even.HeadBoundaries));
        Assert.That(choice.Partition.LeafBoundaries, Is.EqualTo(even.LeafBoundaries));
        Assert.That(choice.Partition.VocabBoundaries, Is.EqualTo(even.VocabBoundaries));
    }

    [Test]
    public void PlanFor_OneWorkerHalfAsFast_GetsLess()
    {
        SplitChoice choice = Plan(Profile(Measurement(1e-6, Device(2, "slow"), Device(1))));
        Assert.That(choice.Partition.LeafBoundaries[1], Is.InRange(5, 10), "of 24 leaves");
        Assert.That(choice.Seats, Is.EqualTo(new[] { 0, 1 }));
        Assert.That(choice.Reason, Does.StartWith("even shares would take "));
    }

    [Test]
    public void PlanFor_DifferentKindsWithinThreePercentOfTheBest_SplitsEvenly()
    {
        SplitChoice choice = Plan(Profile(Measurement(1e-6, Device(1), Device(1.02, "another"))));
        Assert.That(choice.Partition.LeafBoundaries, Is.EqualTo(Partition.Even(_model.Config, 2).LeafBoundaries));
    }

    [Test]
    public void PlanFor_SlowPath_LeavesAWorkerOutOnlyWhereItMay()
    {
        GroupProfile far = Profile(Measurement(1e-3, Device(1), Device(1)));
        SplitChoice alone = Plan(far);
        Assert.That((alone.Seats.Count, alone.Partition.Degree), Is.EqualTo((1, 1)));
        Assert.That(alone.Reason, Does.StartWith("1 of 2 workers"));
        Assert.That(Plan(far, mayLeaveOut: false).Seats, Is.EqualTo(new[] { 0, 1 }));
    }

    [Test]
    public void PlanFor_OneWorkerHeldToItsMemory_HoldsNoMore()
    {
        GroupProfile held = Profile(Measurement(1e-6, Device(1), Device(1)), 60L << 20, Plenty);
        SplitChoice choice = Plan(held, mayLeaveOut: false, kvTokens: 2048);
        Assert.That(choice.Prediction.Memory[0].TotalBytes, Is.LessThanOrEqualTo(60L << 20));
        Assert.That(choice.Reason, Is.EqualTo("even shares have no room"));
        Assert.That(() => Plan(Profile(Measurement(1e-6, Device(1), Device(1)), 30L << 20, 30L << 20)), Throws.InstanceOf<ShardingException>().With.Message.Contains("no room"));
    }

    [Test]
    public void Settled_DifferenceThatDoesNotShowAgain_IsTakenOut()
    {
        GroupMeasurement measured = Measurement(1e-6, Device(1), Device(1.8));
        GroupProfile profile = Profile(measured);
        Assert.That(profile.HasUnlikeTwins(_model, s_options), Is.True);
        GroupMeasurement settled = profile.Settled(_model, s_options, measured, [Check(1, 1.7), Check(1, 1.02), Check(1, 1.5)]);
        Assert.That(Plan(Profile(settled)).Partition.LeafBoundaries, Is.EqualTo(Partition.Even(_model.Config, 2).LeafBoundaries));
    }

    [Test]
    public void Settled_DifferenceThatShowsEachTime_StaysAsLargeAsItWasAtLeast()
    {
        GroupMeasurement measured = Measurement(1e-6, Device(2.5), Device(1));
        GroupMeasurement settled = Profile(measured).Settled(_model, s_options, measured, [Check(2, 1), Check(2.2, 1), Check(1.9, 1)]);
        Assert.That(settled.Devices[0].OperationSeconds / settled.Devices[1].OperationSeconds, Is.EqualTo(1.9).Within(1e-9));
        Assert.That(Plan(Profile(settled)).Partition.LeafBoundaries[1], Is.InRange(6, 10), "of 24 leaves");
    }

    [Test]
    public void Settled_DifferenceOfOneNumberOfRowsAlone_IsTakenOut()
    {
        GroupMeasurement measured = Measurement(1e-6, Device(1), Device(1.8));
        ProductTimes[] memoryWasShort = Check(1, 2.5);
        memoryWasShort[1].Points[1].SecondsPerByte = 1.05 * memoryWasShort[0].Points[1].SecondsPerByte;
        GroupMeasurement settled = Profile(measured).Settled(_model, s_options, measured, [memoryWasShort, memoryWasShort, Check(1, 2)]);
        Assert.That(Plan(Profile(settled)).Partition.LeafBoundaries, Is.EqualTo(Partition.Even(_model.Config, 2).LeafBoundaries));
    }

    [Test]
    public void HasUnlikeTwins_EachOnItsOwnCpu_AreTwins() =>
        Assert.That(Profile(Measurement(1e-6, Device(1, "cpu avx2, 1 thread on CPU 0"), Device(2, "cpu avx2, 1 thread on CPU 1"))).HasUnlikeTwins(_model, s_options), Is.True);

    [Test]
    public void HasUnlikeTwins_DifferentKinds_AreNoTwins() =>
        Assert.That(Profile(Measurement(1e-6, Device(1), Device(2, "cpu avx2, 2 threads"))).HasUnlikeTwins(_model, s_options), Is.False);

    [Test]
    public void Of_ImpossibleNumbers_AreAShardingException()
    {
        Assert.That(() => Profile(Measurement(double.NaN, Device(1), Device(1))), Throws.InstanceOf<ShardingException>());
        Assert.That(() => Profile(Measurement(1e-6, Device(1), new MeasureReply())), Throws.InstanceOf<ShardingException>());
    }

    [Test]
    public void Products_SmolLm2_AreTheLayersShapesFirstAndTheHeadsOwnFormatWithFewRows()
    {
        IReadOnlyList<ProductShape> products = GroupMeasurer.Products(_model);
        Assert.That(products.Select(product => product.FewRows), Is.EqualTo(products.Select(product => product.Format != (int)TensorType.Q4_1)));
        Assert.That(products[0].Format, Is.EqualTo((int)TensorType.Q4_1));
        Assert.That(products[^1].FewRows, Is.True);
    }

    private static ProductTimes[] Check(params double[] times) =>
        [.. times.Select(time => new ProductTimes { Points = { new ProductTimes.Types.Point { Rows = 1, SecondsPerByte = time * 1e-10 }, new ProductTimes.Types.Point { Rows = 32, SecondsPerByte = time * 1e-9 } } })];
}
