using System.Diagnostics;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;
using TpServe.Testing.Hub;

namespace TpServe.EndToEnd.Tests;

/// <summary>Models by name with real processes, against a hub on loopback.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class HubTests
{
    private const string Quant = "m-Q8_0.gguf";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private string _home = "";
    private FakeHub _hub = null!;

    private Dictionary<string, string> Variables => new()
    {
        ["HF_HOME"] = _home,
        ["HF_ENDPOINT"] = _hub.Address,
        ["HF_HUB_CACHE"] = "",
        ["HF_TOKEN"] = "",
        ["HF_HUB_OFFLINE"] = "",
    };

    [SetUp]
    public async Task StartHub()
    {
        _home = Directory.CreateTempSubdirectory("e2e-hub-").FullName;
        _hub = await FakeHub.StartAsync();
    }

    [TearDown]
    public async Task StopHub()
    {
        await _hub.DisposeAsync();
        Directory.Delete(_home, recursive: true);
    }

    [Test]
    public async Task Serve_ModelByName_FetchesItOnceAndServesItUnderItsName()
    {
        _hub.AddFolder(TestData.FindOrIgnore("models/llama-mha"));
        await using (ServerProcess server = await ServerProcess.StartAsync(Variables, ["--model", "org/model", "--tp", "2"]))
        {
            JsonElement answer = await server.PostAsync("/v1/completions", new { model = "org/model", prompt = new[] { 1, 2, 3 }, max_tokens = 4, temperature = 0 });
            Assert.That(answer.GetProperty("model").GetString(), Is.EqualTo("org/model"));
            Assert.That(answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.GreaterThan(0));
            Assert.That(server.Output, Does.Contain($"org/model at {_hub.Commit[..8]} in {_home}/hub"));
        }
        int asked = _hub.Asked.Count;
        (int code, string output, string errors) = await RunAsync("plan", "--model", "org/model", "--tp", "2");
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.StartWith("org/model: llama"));
        Assert.That(_hub.Asked, Has.Count.EqualTo(asked), "a plan looks into the cache alone");
    }

    [Test]
    public async Task Commands_PullTwiceAtOnce_ListAndRemove()
    {
        _hub.Add(Quant, File.ReadAllBytes(TestData.FindOrIgnore("gguf-models/llama-q8_0.gguf")), isLarge: true).Add("m-Q2_K.gguf", [1, 2, 3]);
        (int Code, string Output, string Errors)[] pulls = await Task.WhenAll(RunAsync("models", "pull", "org/model:Q8_0"), RunAsync("models", "pull", "org/model:Q8_0"));
        Assert.That(pulls.Select(pull => pull.Code), Has.All.Zero, pulls[0].Errors + pulls[1].Errors);
        Assert.That(pulls.Select(pull => pull.Output.Trim()), Has.All.EqualTo($"{_home}/hub/models--org--model/snapshots/{_hub.Commit}/{Quant}"));
        Assert.That(_hub.CountOf("GET /storage/"), Is.EqualTo(1));

        Assert.That((await RunAsync("models", "pull", "org/model:Q2_K")).Code, Is.Zero);
        string list = (await RunAsync("models", "list")).Output;
        Assert.That(list, Does.Match(@"org/model:Q8_0 +main +aaaaaaaa +Q8_0 +[0-9.]+ MiB +yes: llama").And.Match(@"org/model:Q2_K +main .*no: "));

        Assert.That((await RunAsync("models", "rm", "org/model:Q2_K", "--yes")).Code, Is.Zero);
        (int code, _, string errors) = await RunAsync("models", "pull", "org/other");
        Assert.That((code, errors), Is.EqualTo((1, $"tpserve: there is no repository org/other at {_hub.Address}/.\n")));
        Assert.That((await RunAsync("models", "rm", "org/model", "--yes")).Code, Is.Zero);
        Assert.That((await RunAsync("models", "list")).Output, Is.Empty);
        Assert.That(Directory.GetFiles(_home, "*", SearchOption.AllDirectories), Is.Empty);
    }

    [TestCase("INT", 130)]
    [TestCase("KILL", 137)]
    public async Task Pull_Ended_IsGoneOnWithByTheNext(string signal, int expected)
    {
        byte[] content = new byte[3 << 20];
        new Random(1).NextBytes(content);
        TaskCompletionSource release = new();
        _hub.Add(Quant, content, isLarge: true);
        (_hub.CutAfter, _hub.Cuts, _hub.Stall) = (1 << 20, 1, release.Task);
        string incomplete = $"{_home}/hub/models--org--model/blobs/{_hub.HashOf(Quant)}.incomplete";

        using (Process pull = Start("models", "pull", "org/model:Q8_0"))
        {
            await ServerProcess.UntilAsync(() => File.Exists(incomplete) && new FileInfo(incomplete).Length == 1 << 20, s_patience, "nothing came");
            Processes.Signal(pull.Id, signal);
            using CancellationTokenSource deadline = new(s_patience);
            await pull.WaitForExitAsync(deadline.Token);
            Assert.That(pull.ExitCode, Is.EqualTo(expected));
        }
        release.SetResult();
        (int code, string output, string errors) = await RunAsync("models", "pull", "org/model:Q8_0");
        Assert.That(code, Is.Zero, errors);
        Assert.That(_hub.Asked, Does.Contain($"GET /storage/{Quant} bytes={1 << 20}-"));
        Assert.That(File.ReadAllBytes(output.Trim()), Is.EqualTo(content));
    }

    [Test]
    public async Task Serve_NameThatNobodyHas_EndsWithOneLine()
    {
        (int code, _, string errors) = await RunAsync("serve", "--model", "org/other", "--offline");
        Assert.That(code, Is.EqualTo(1));
        Assert.That(errors, Does.StartWith("tpserve: --model org/other: there is no such file or folder").And.Contain($"{_home}/hub").And.Contain("tpserve models pull org/other"));
        Assert.That(errors.Trim().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(_hub.Asked, Is.Empty);
    }

    private Process Start(params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [Processes.Program("Gateway"), .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in Variables)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private async Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments)
    {
        using Process process = Start(arguments);
        using CancellationTokenSource deadline = new(s_patience);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(deadline.Token), errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
