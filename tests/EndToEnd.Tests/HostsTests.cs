using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>Workers that share memory with some of their peers only: what they go over, what crosses between them, and that it leaves no trace.</summary>
/// <remarks>A host here is an IPC namespace with a /dev/shm of its own, by which the workers themselves tell hosts apart.</remarks>
[Category("MultiProcess"), NonParallelizable]
public sealed class HostsTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly List<Process> _holders = [];
    private readonly List<Process> _workers = [];
    private string _folder = "";
    private string[] _addresses = [];

    private static readonly object Prompts = new { prompt = "The tensor parallel server splits each matrix into shards, and", max_tokens = 24, temperature = 0, ignore_eos = true, prompt_logprobs = 2, logprobs = 2, return_token_ids = true };

    [OneTimeSetUp]
    public async Task StartTwoHosts()
    {
        _folder = Directory.CreateTempSubdirectory("tpserve-hosts-").FullName;
        string secret = Path.Combine(_folder, "secret");
        await File.WriteAllTextAsync(secret, "a secret of the tests");
        for (int host = 0; host < 2; host++)
        {
            // A process that does nothing keeps the namespaces; it ends when its input does, which is when this one ends.
            Process holder = Start("unshare", ["--ipc", "--mount", "sh", "-c", "mount -t tmpfs none /dev/shm && echo ready; read end"]);
            _holders.Add(holder);
            if (await holder.StandardOutput.ReadLineAsync().WaitAsync(s_patience) != "ready")
                Assert.Ignore("namespaces cannot be made here: " + await holder.StandardError.ReadToEndAsync());
            for (int rank = 0; rank < 2; rank++)
            {
                string address = string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{Processes.FreePort()}");
                string[] inside = ["--target", holder.Id.ToString(CultureInfo.InvariantCulture), "--ipc", "--mount", "dotnet", Processes.Program("Worker")];
                _workers.Add(Start("nsenter", [.. inside, "--listen", address, "--secret-file", secret, "--log-level", "error"]));
                _addresses = [.. _addresses, "http://" + address];
            }
        }
    }

    [OneTimeTearDown]
    public void End()
    {
        foreach (Process process in _workers.Concat(_holders))
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }
        Directory.Delete(_folder, recursive: true);
    }

    private static Process Start(string program, string[] arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;

    private Task<ServerProcess> ServeAsync(params string[] flags) => ServerProcess.StartAsync(
        ["--secret-file", Path.Combine(_folder, "secret"), "--device", "cpu", "--threads", "1", .. _addresses.SelectMany(address => new[] { "--worker", address }), .. flags]);

    private static async Task<string> FingerprintAsync(ServerProcess server)
    {
        JsonElement choice = (await server.PostAsync("/v1/completions", Prompts)).GetProperty("choices")[0];
        return string.Join('\n', new[] { "token_ids", "logprobs", "prompt_logprobs" }.Select(field => choice.GetProperty(field).GetRawText()));
    }

    /// <summary>Bytes for each token over all ranks: all of them, and those that crossed between hosts.</summary>
    private static (double Sent, double Across) PerToken(JsonElement topology, string purpose)
    {
        JsonElement[] all = [.. topology.GetProperty("ranks").EnumerateArray().SelectMany(rank => rank.GetProperty("collectives").EnumerateArray()).Where(traffic => traffic.GetProperty("purpose").GetString() == purpose)];
        return (all.Sum(traffic => traffic.GetProperty("sent_bytes_per_token").GetDouble()), all.Sum(traffic => traffic.GetProperty("across_bytes_per_token").GetDouble()));
    }

    [Test]
    public async Task Group_OnTwoHosts_FinishesInsideEachWhatItCanWithTheSameBits()
    {
        string alone;
        await using (ServerProcess one = await ServerProcess.StartAsync("--tp", "1", "--device", "cpu"))
            alone = await FingerprintAsync(one);
        Dictionary<string, (double Sent, double Across)> sums = [];
        foreach (string transport in new[] { "ring", "auto", "hosted" })
        {
            await using ServerProcess server = await ServeAsync("--transport", transport);
            Assert.That(await FingerprintAsync(server), Is.EqualTo(alone), transport);
            JsonElement topology = await server.TopologyAsync(), rank = topology.GetProperty("ranks")[1];
            Assert.That(rank.GetProperty("transport").GetString(), Is.EqualTo(transport == "ring" ? "ring" : "shm+ring"));
            if (transport != "ring")
                Assert.That(rank.GetProperty("transport_reason").GetString(), Does.Contain("4 ranks on 2 hosts"));
            sums[transport] = PerToken(topology, "mlp");
        }

        // The MLP's 32 leaves fall into one subtree a rank and one a host. Flat, each rank sends its piece to both over there; else each host sends one.
        TestContext.Out.WriteLine($"mlp, bytes a token across: ring {sums["ring"].Across:F0}, hosted {sums["hosted"].Across:F0}");
        Assert.That(sums["auto"].Across, Is.GreaterThan(0).And.EqualTo(sums["hosted"].Across).Within(30).Percent);
        Assert.That(sums["hosted"].Across, Is.LessThan(sums["ring"].Across / 3.5));
    }

    [Test]
    public async Task Group_RoundedSumsBetweenHosts_FewerBytesAndTheSameAnswerTwice([Values("bf16", "q8")] string wire)
    {
        string first, again;
        double across, exact;
        await using (ServerProcess server = await ServeAsync("--wire", wire))
        {
            first = await FingerprintAsync(server);
            JsonElement topology = await server.TopologyAsync();
            Assert.That(topology.GetProperty("ranks")[0].GetProperty("wire").GetString(), Is.EqualTo(wire));
            Assert.That(server.Output, Does.Contain($"wire      {wire}: partial sums are rounded"));
            across = PerToken(topology, "mlp").Across;
        }
        await using (ServerProcess server = await ServeAsync("--wire", wire, "--chunk-tokens", "5"))
            again = await FingerprintAsync(server);
        await using (ServerProcess server = await ServeAsync())
        {
            Assert.That(await FingerprintAsync(server), Is.Not.EqualTo(first), "rounding shows");
            exact = PerToken(await server.TopologyAsync(), "mlp").Across;
        }
        Assert.That(again, Is.EqualTo(first), "chunks leave no trace");
        Assert.That(across, Is.LessThan(exact * (wire == "bf16" ? 0.6 : 0.4)));
    }
}
