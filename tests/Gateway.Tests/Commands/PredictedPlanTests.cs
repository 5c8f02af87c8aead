using System.Globalization;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Planning;
using TpServe.Sharding;
using TpServe.Sharding.Planning;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>tpserve plan --devices, from the file to what is printed.</summary>
public sealed class PredictedPlanTests
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"tpserve-devices-{Environment.ProcessId}.json");

    [TearDown]
    public void Delete() => File.Delete(_file);

    private T With<T>(string json, Func<PredictedPlan, T> use, GatewayOptions? options = null, Workload? workload = null)
    {
        File.WriteAllText(_file, json);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        return use(PredictedPlan.Create(checkpoint, options ?? new GatewayOptions(), _file, workload ?? Workload.Latency));
    }

    private static string Report(PredictedPlan predicted)
    {
        StringWriter text = new(CultureInfo.InvariantCulture);
        PlanReport.Print(predicted, explains: true, text);
        return text.ToString();
    }

    [Test]
    public void Print_ThreeDevices_SaysWhoOwnsWhatWhatItTakesAndWhatWasAssumed()
    {
        string text = With("""{ "devices": [ { "name": "L4", "count": 2 }, { "name": "RTX-4090" } ] }""", Report, new GatewayOptions { Tp = 2 });
        Assert.That(text, Does.Contain("degree 2 of 3 devices; left out: ").And.Contain("predicted: time to first token ").And.Contain(" tokens of KV cache")
            .And.Contain("other plans:").And.Contain("decode, ").And.Contain("bounds it and ").And.Contain("assumed, where nothing was measured:").And.Contain("https://www.nvidia.com/en-us/data-center/l4/"));
    }

    [Test]
    public void Print_TinyModelOverASlowNetwork_TakesOneDevice()
    {
        string text = With("""
            { "devices": [ { "name": "CPU-2ch-DDR4-3200", "host": "a" }, { "name": "CPU-2ch-DDR4-3200", "host": "b" } ], "network": { "latencyMicroseconds": 1000, "gBs": 0.125 } }
            """, Report);
        Assert.That(text, Does.Contain("degree 1 of 2 devices; left out: CPU-2ch-DDR4-3200 #1").And.Contain("degree 2 costs"));
    }

    [Test]
    public void Json_APlan_HoldsPlanAlternativesReasonsAndSources()
    {
        using JsonDocument document = JsonDocument.Parse(With("""{ "devices": [ { "name": "CPU-8ch-DDR5-4800", "count": 3 } ] }""", PlanJson.Of));
        JsonElement plan = document.RootElement.GetProperty("plan");
        int degree = plan.GetProperty("degree").GetInt32();
        Assert.That(plan.GetProperty("ranks").GetArrayLength(), Is.EqualTo(degree));
        Assert.That(plan.GetProperty("ranks").EnumerateArray().Sum(rank => rank.GetProperty("heads").GetInt32()), Is.EqualTo(9));
        Assert.That(plan.GetProperty("phases")[1].GetProperty("segments").EnumerateArray().Sum(segment => segment.GetProperty("seconds").GetDouble()),
            Is.EqualTo(plan.GetProperty("timePerOutputTokenSeconds").GetDouble()).Within(1e-12));
        Assert.That(document.RootElement.GetProperty("alternatives").GetArrayLength(), Is.InRange(1, 5));
        Assert.That(document.RootElement.GetProperty("assumptions").GetArrayLength(), Is.GreaterThan(0));
    }

    [Test]
    public void Compose_UnlikeGpusOfOneHost_NamesTheirNumbersAndWeights()
    {
        string text = With("""{ "devices": [ { "name": "L4" }, { "name": "H100-PCIe" } ] }""", PlanCompose.Of, new GatewayOptions { Tp = 2 });
        Assert.That(text, Does.Contain("  tpserve:\n").And.Contain("Gateway__Tp: \"2\"").And.Contain("Gateway__Device: \"cuda:0,cuda:1\"").And.Match("Gateway__Partition: \"[0-9.]+,[0-9.]+\""));
    }

    [Test]
    public void Compose_TwoHosts_NamesEveryWorker()
    {
        string text = With("""
            { "devices": [ { "name": "A10", "count": 2, "host": "left" }, { "name": "A10", "host": "right\" evil" } ], "network": { "latencyMicroseconds": 20, "gBs": 12 } }
            """, PlanCompose.Of, new GatewayOptions { Tp = 3 });
        Assert.That(text, Does.Contain("- \"http://left:9001\"").And.Contain("- \"http://left:9002\"").And.Contain("- \"http://right--evil:9001\"").And.Contain("TPSERVE_WORKER_GPU=1").And.Not.Contain("evil:9002"));
    }

    [Test]
    public void NearestWeights_OfAPlan_GiveItsPartitionOrSayWhatTheyCost() => With("""{ "devices": [ { "name": "L4" }, { "name": "A10" }, { "name": "L40S" } ] }""", predicted =>
    {
        RankedPlan plan = predicted.Result.Best;
        (IReadOnlyList<double> weights, Partition partition, double excess) = predicted.NearestWeights(plan);
        Assert.That(weights.Count, Is.EqualTo(plan.Degree).Or.EqualTo(0));
        Assert.That(partition.HeadBoundaries, Is.EqualTo((weights.Count == 0 ? Partition.Even(predicted.Checkpoint.Config, plan.Degree) : Partition.Weighted(predicted.Checkpoint.Config, weights)).HeadBoundaries));
        Assert.That(excess, Is.InRange(-0.006, 0.2));
        return 0;
    }, new GatewayOptions { Tp = 3 });

    [Test]
    public void Create_MoreRanksThanDevices_IsRefused() =>
        Assert.That(Assert.Throws<ShardingException>(() => With("""{ "devices": [ { "name": "L4" } ] }""", Report, new GatewayOptions { Tp = 2 }))!.Message, Does.Contain("--tp 2").And.Contain("has 1 devices"));

    [Test]
    public void Create_ContextBeyondTheModel_IsRefused() =>
        Assert.That(
            Assert.Throws<ShardingException>(() => With("""{ "devices": [ { "name": "L4" } ] }""", Report, workload: Workload.Latency with { ContextTokens = 9000 }))!.Message,
            Does.Contain("9000").And.Contain("8192"));

    [Test]
    public void Create_NoRoom_SaysWhatIsShort() =>
        Assert.That(
            Assert.Throws<ShardingException>(() => With("""{ "devices": [ { "name": "L4", "memoryGiB": 0.1 } ] }""", Report))!.Message, Does.Contain("L4 #0 is short of").And.Contain("usable 92.2 MiB"));
}
