using System.Globalization;
using System.Text.Json;
using NUnit.Framework;

namespace TpServe.EndToEnd.Tests;

/// <summary>The default split, through real processes: measured once, kept for the next start, named at the terminal.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class MeasuredSplitTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-profiles-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Start_Measured_SaysWhichSplitAndKeepsTheProfile()
    {
        await using (ServerProcess first = await ServerProcess.StartAsync("--tp", "2", "--partition", "auto", "--profile-cache", _folder))
            Assert.That(first.Output, Does.Match("(?m)^split +auto: .*; predicted for 512 and 128 tokens: .* \\(measured in [0-9.]+ s\\)"));
        Assert.That(Directory.GetFiles(_folder), Has.Length.EqualTo(1).And.All.EndsWith(".json"));
        await using ServerProcess second = await ServerProcess.StartAsync("--tp", "2", "--partition", "auto", "--profile-cache", _folder);
        Assert.That(second.Output, Does.Match("(?m)^split +auto: .*\\((kept since .* UTC|measured in [0-9.]+ s)\\)"), "kept, unless this machine is another one by now");
    }

    [Test]
    public async Task Start_UnequalThreadsAndMemory_KeepsToBoth()
    {
        await using ServerProcess server = await ServerProcess.StartAsync(
            "--tp", "2", "--partition", "auto", "--profile-cache", "off", "--threads", "1,2", "--rank-memory", "96MiB,2GiB", "--max-model-len", "512", "--max-step-tokens", "128", "--chunk-tokens", "128");
        JsonElement rank = (await server.TopologyAsync()).GetProperty("ranks")[0];
        Assert.That(long.Parse(rank.GetProperty("weight_bytes").GetString()!, CultureInfo.InvariantCulture)
            + long.Parse(rank.GetProperty("kv_bytes").GetString()!, CultureInfo.InvariantCulture), Is.LessThan(96 << 20));
        Assert.That(server.Output, Does.Match("(?m)^group +2 workers of 1, 2 threads"));
    }
}
