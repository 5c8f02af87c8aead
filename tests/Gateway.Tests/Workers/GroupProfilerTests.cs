using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>When workers are timed, and when a kept profile stands for that: fake workers that are as fast as a test says.</summary>
public sealed class GroupProfilerTests
{
    private readonly FakeWorkers _workers = new();
    private readonly List<string> _asked = [];
    private ModelCheckpoint _model = null!;
    private string _folder = "";
    private double[] _times = [];
    private Queue<double[]> _checks = [];

    [SetUp]
    public void Prepare()
    {
        _folder = Directory.CreateTempSubdirectory("tpserve-profiles-").FullName;
        _model = ModelCheckpoints.Open(TestData.SmolLm2);
        (_times, _checks) = ([1, 1], []);
        _workers.OnMeasure = (worker, request) =>
        {
            lock (_asked)
                _asked.Add(request.CheckRows.Count > 0 ? "check" : "all");
            double time = (request.CheckRows.Count > 0 && _checks.Count > 0 ? _checks.Peek() : _times)[worker.Seat];
            MeasureReply reply = GroupProfileTests.Device(time);
            if (request.CheckRows.Count == 0)
                return reply;
            lock (_asked)
                if (_asked.Count(what => what == "check") % 2 == 0 && _checks.Count > 0)
                    _checks.Dequeue();
            ProductTimes first = reply.Products[0];
            return new MeasureReply { Products = { new ProductTimes { Format = first.Format, Points = { first.Points.Where(point => request.CheckRows.Contains(point.Rows)) } } } };
        };
    }

    [TearDown]
    public void CleanUp()
    {
        _model.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task<GroupProfile> ProfileAsync(bool isFresh = false, int threads = 0, string? folder = null)
    {
        _asked.Clear();
        GatewayOptions options = new() { Threads = new([threads]) };
        DevicePlan devices = DevicePlan.Cpu(2, "test");
        GroupPlan plan = GroupPlan.Create(_model.Config, options, devices, 8L << 30, cores: 2, _ => 1);
        HeldWorker[] workers = [_workers.Open(0), _workers.Open(1)];
        HelloReply[] facts = [.. workers.Select(_ => new HelloReply { HostId = "a/b/c", Version = "1", Device = "cpu", Cores = 4, FreeBytes = 8L << 30, Isa = InstructionSet.Avx2 })];
        return await new GroupProfiler(_model, options, folder ?? _folder, isFresh, NullLogger.Instance)
            .ProfileAsync(plan, workers, facts, TransportChoice.Unproven(Transport.Shm, [0, 0]), firstEpoch: 1, CancellationToken.None);
    }

    [Test]
    public async Task ProfileAsync_SecondTime_OnlyChecks()
    {
        Assert.That((await ProfileAsync()).Origin, Is.EqualTo("measured in 0.5 s"));
        Assert.That(_asked, Is.EqualTo(new[] { "all", "all" }));
        Assert.That((await ProfileAsync()).Origin, Does.StartWith("kept since "));
        Assert.That(_asked, Is.EqualTo(new[] { "check", "check" }));
    }

    [Test]
    public async Task ProfileAsync_FreshOrOtherThreadsOrNowhereToKeep_TimesAll()
    {
        await ProfileAsync();
        Assert.That((await ProfileAsync(isFresh: true)).Origin, Does.StartWith("measured"));
        Assert.That((await ProfileAsync(threads: 2)).Origin, Does.StartWith("measured"));
        Assert.That((await ProfileAsync(folder: Path.Combine(TestData.SmolLm2, "no folder"))).Origin, Does.StartWith("measured"));
    }

    [Test]
    public async Task ProfileAsync_BothSlowerThanKept_TimesAllAgainAndKeepsThat()
    {
        await ProfileAsync();
        _times = [1.3, 1.3];
        Assert.That((await ProfileAsync()).Origin, Does.StartWith("measured"));
        Assert.That(_asked, Is.EqualTo(new[] { "check", "check", "check", "check", "all", "all" }));
        Assert.That((await ProfileAsync()).Origin, Does.StartWith("kept"));
    }

    [Test]
    public async Task ProfileAsync_SlowerForAMoment_KeepsTheProfile()
    {
        await ProfileAsync();
        _checks = new([[1, 1.5], [1, 1.1]]);
        Assert.That((await ProfileAsync()).Origin, Does.StartWith("kept"));
    }

    [Test]
    public async Task ProfileAsync_TwinSlowerEachTime_StaysSlower()
    {
        _times = [1, 2];
        GroupProfile profile = await ProfileAsync();
        Assert.That(_asked, Has.Count.EqualTo(2 + (3 * 2)));
        Assert.That(profile.Devices[1].OperationSeconds, Is.EqualTo(2e-6).Within(1e-12));
    }

    [Test]
    public async Task ProfileAsync_TwinSlowerOnce_IsAsFast()
    {
        _times = [1, 2];
        _checks = new([[1, 2], [1, 1], [1, 2]]);
        GroupProfile profile = await ProfileAsync();
        Assert.That(profile.Devices[1].OperationSeconds, Is.EqualTo(1e-6).Within(1e-12));
    }
}
