using System.Text.Json;
using NUnit.Framework;

namespace TpServe.EndToEnd.Tests;

/// <summary>What a user sees of devices: the choice, its reason, and the doctor.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class DeviceTests
{
    private static bool HasDriver => Directory.Exists("/proc/driver/nvidia") || File.Exists("/dev/dxg");

    [TestCase("cuda")]
    [TestCase("cuda:0,cuda:0")]
    public async Task Gateway_GpuWantedButNone_ExitsWithTheReasonInOneLine(string device)
    {
        if (HasDriver)
            Assert.Ignore("this machine has an NVIDIA driver");
        await using ServerProcess server = ServerProcess.Launch("--device", device);
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(40)), Is.EqualTo(1));
        Assert.That(server.Errors.Trim().Split('\n'), Has.Length.EqualTo(1), server.Errors);
        Assert.That(server.Errors, Does.Contain("libcuda.so.1 was not found"));
    }

    [Test]
    public async Task Gateway_AutoWithoutGpu_ServesOnTheCpuAndSaysWhy()
    {
        if (HasDriver)
            Assert.Ignore("this machine has an NVIDIA driver");
        await using ServerProcess server = await ServerProcess.StartAsync();
        using JsonDocument topology = JsonDocument.Parse(await server.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        Assert.That(topology.RootElement.GetProperty("device_reason").GetString(), Is.EqualTo("auto: no GPU (libcuda.so.1 was not found)"));
        Assert.That(topology.RootElement.GetProperty("ranks")[1].GetProperty("device").GetString(), Does.StartWith("cpu "));
        Assert.That(server.Output, Does.Contain("auto: no GPU (libcuda.so.1 was not found)"));
    }

    [TestCase("--device", "cpu", "--tp", "1")]
    public async Task Gateway_CpuByName_AsksForNoGpu(params string[] flags)
    {
        await using ServerProcess server = await ServerProcess.StartAsync(flags);
        using JsonDocument topology = JsonDocument.Parse(await server.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        Assert.That(topology.RootElement.GetProperty("device_reason").GetString(), Is.EqualTo("--device cpu"));
        Assert.That(topology.RootElement.GetProperty("ranks").GetArrayLength(), Is.EqualTo(1));
    }

    [Test]
    public async Task Doctor_EmbeddedModel_PrintsJsonAndExitsByItsVerdict()
    {
        await using ServerProcess doctor = ServerProcess.LaunchCommand("doctor", "--json");
        int code = await doctor.WaitForExitAsync(TimeSpan.FromSeconds(60));
        using JsonDocument report = JsonDocument.Parse(doctor.Output);
        Assert.That(code, Is.EqualTo(report.RootElement.GetProperty("ok").GetBoolean() ? 0 : 1));
        Dictionary<string, JsonElement> checks = report.RootElement.GetProperty("checks").EnumerateArray().ToDictionary(check => check.GetProperty("check").GetString()!);
        Assert.That(checks["model"].GetProperty("verdict").GetString(), Is.EqualTo("OK"), doctor.Output);
        Assert.That(checks["worker program"].GetProperty("verdict").GetString(), Is.EqualTo("OK"), doctor.Output);
        Assert.That(checks.Values.Where(check => check.GetProperty("verdict").GetString() != "OK").Select(check => check.GetProperty("fix").GetString()), Is.All.Not.Empty);
    }

    [Test]
    public async Task Doctor_WorkerThatDoesNotAnswer_FailsAndSaysHowToStartIt()
    {
        string secret = Path.GetTempFileName();
        await File.WriteAllTextAsync(secret, "a secret");
        await using ServerProcess doctor = ServerProcess.LaunchCommand("doctor", "--json", "--device", "cpu", "--worker", "http://127.0.0.1:9", "--secret-file", secret);
        Assert.That(await doctor.WaitForExitAsync(TimeSpan.FromSeconds(60)), Is.EqualTo(1));
        using JsonDocument report = JsonDocument.Parse(doctor.Output);
        JsonElement worker = report.RootElement.GetProperty("checks").EnumerateArray().Single(check => check.GetProperty("check").GetString() == "worker 0");
        Assert.That(worker.GetProperty("fix").GetString(), Does.Contain("--listen 0.0.0.0:9"));
        File.Delete(secret);
    }
}
