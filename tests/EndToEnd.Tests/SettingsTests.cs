using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>Settings as the real programs find them: environment, files, folders, proxies, workers started by hand.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class SettingsTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    // Nothing listens there: whoever asks the proxy is refused.
    private static readonly Dictionary<string, string> s_deadProxy = new() { ["http_proxy"] = "http://127.0.0.1:9", ["https_proxy"] = "http://127.0.0.1:9", ["all_proxy"] = "http://127.0.0.1:9", ["no_proxy"] = "" };

    private readonly List<Process> _started = [];
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("e2e-settings-").FullName;

    [TearDown]
    public async Task EndAll()
    {
        foreach (Process process in _started)
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync().WaitAsync(s_patience);
            process.Dispose();
        }
        _started.Clear();
        Directory.Delete(_folder, recursive: true);
    }

    private Process Start(string room, Dictionary<string, string> environment, params string[] arguments)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        ProcessStartInfo start = new("dotnet", [Path.Combine(TestData.Repository, "src", room, "bin", configuration, "net10.0", $"TpServe.{room}.dll"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _folder,
        };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        Process process = Process.Start(start)!;
        _started.Add(process);
        return process;
    }

    private async Task<(int Code, string Output, string Errors)> RunAsync(string room, Dictionary<string, string> environment, params string[] arguments)
    {
        Process process = Start(room, environment, arguments);
        using CancellationTokenSource deadline = new(s_patience);
        Task<string> output = process.StandardOutput.ReadToEndAsync(deadline.Token), errors = process.StandardError.ReadToEndAsync(deadline.Token);
        await process.WaitForExitAsync(deadline.Token);
        return (process.ExitCode, await output, await errors);
    }

    private async Task<string> FailAsync(string room, Dictionary<string, string> environment, params string[] arguments)
    {
        (int code, string output, string errors) = await RunAsync(room, environment, arguments);
        Assert.That(code, Is.EqualTo(1), output + errors);
        Assert.That(errors.TrimEnd('\n').Split('\n'), Has.Length.EqualTo(1), "one line says why");
        return errors;
    }

    private string WriteFile(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    private static string FreeAddress()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
    }

    [Test]
    public async Task PlanMeasure_WorkersOfThisHost_PlansForThemAndLeavesNothing()
    {
        (int code, string output, string errors) = await RunAsync("Gateway", [], "plan", "--measure", "--json", "--threads", "1");
        Assert.That(code, Is.Zero, errors);
        using JsonDocument plan = JsonDocument.Parse(output);
        Assert.That(plan.RootElement.GetProperty("devices").EnumerateArray().Select(device => device.GetProperty("kind").GetString()), Is.EqualTo(new[] { "cpu", "cpu" }));
        Assert.That(plan.RootElement.GetProperty("plan").GetProperty("timePerOutputTokenSeconds").GetDouble(), Is.InRange(1e-5, 10));
        Assert.That(plan.RootElement.GetProperty("sources").GetArrayLength(), Is.EqualTo(4), "two devices, a step of the gateway, and the way between them");
        Assert.That(Processes.Children(Environment.ProcessId).Where(child => File.ReadAllText($"/proc/{child}/cmdline").Contains("TpServe.Worker", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public async Task PlanMeasure_AskedToStop_EndsItsWorkersAndSaysNothing()
    {
        Process plan = Start("Gateway", [], "plan", "--measure");
        await ServerProcess.UntilAsync(() => Processes.Children(plan.Id).Length == 2, s_patience, "no worker was started");
        Processes.Signal(plan.Id, "TERM");
        await plan.WaitForExitAsync().WaitAsync(s_patience);
        Assert.That((plan.ExitCode, await plan.StandardOutput.ReadToEndAsync(), await plan.StandardError.ReadToEndAsync()), Is.EqualTo((130, "", "")));
    }

    [Test]
    public async Task Plan_ThreadsWithoutMeasuring_IsRefusedByName()
    {
        (int code, string _, string errors) = await RunAsync("Gateway", [], "plan", "--threads", "1");
        Assert.That((code, errors.Trim()), Is.EqualTo((1, "tpserve: wrong settings: --threads: only --measure has a use for it.")));
    }

    [Test]
    public async Task Gateway_UnknownNamesEverywhere_AreReportedInOneLine()
    {
        WriteFile("appsettings.json", """{"Gateway": {"MaxRuning": 3}}""");
        string errors = await FailAsync("Gateway", new() { ["Gateway__Tpp"] = "3", ["TPSERVE_DEVISE"] = "cpu" }, "--queue-limit", "0");
        Assert.That(errors, Does.Contain("Gateway:MaxRunning.").And.Contain("Gateway__Tpp=3").And.Contain("TPSERVE_DEVICE.").And.Contain("--queue-limit: '0'"));
    }

    [Test]
    public async Task Doctor_TempFolderThatCannotHoldSockets_SaysSoAndWhereTheyGo()
    {
        string deep = Directory.CreateDirectory(Path.Combine(_folder, new string('d', 90))).FullName;
        foreach (string folder in new[] { deep, "/proc" })
        {
            using JsonDocument report = JsonDocument.Parse((await RunAsync("Gateway", new() { ["TMPDIR"] = folder }, "doctor", "--json", "--device", "cpu")).Output);
            JsonElement check = report.RootElement.GetProperty("checks").EnumerateArray().Single(check => check.GetProperty("check").GetString() == "temporary folder");
            Assert.That(check.GetProperty("verdict").GetString(), Is.EqualTo("WARN"));
            Assert.That(check.GetProperty("text").GetString(), Does.Contain(folder).And.Contain("go to /tmp."));
        }
        Assert.That(Directory.GetFileSystemEntries(deep), Is.Empty);
    }

    [Test]
    public async Task Gateway_WorkerThatIsAway_IsGivenUpAfterOneConnectTimeout()
    {
        string secret = WriteFile("secret", "a secret");
        long start = Stopwatch.GetTimestamp();
        string errors = await FailAsync("Gateway", [], "--worker", "http://127.0.0.1:9", "--secret-file", secret, "--connect-timeout", "1", "--http", FreeAddress(), "--grpc", FreeAddress());
        Assert.That(errors, Does.Contain("did not answer within 1 s"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(20)), "looking for its GPUs has no patience of its own");
    }

    [Test]
    public async Task Worker_AddressThatCannotBeListenedOn_IsOneLineThatNamesIt()
    {
        string secret = WriteFile("secret", "a secret"), socket = WriteFile("socket", "");
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        string used = taken.LocalEndpoint.ToString()!;
        foreach ((string address, string why) in new[] { (used, "another process listens there"), ("192.0.2.1:9001", "this host has no such address"), ("unix:" + socket, "there is such a file already") })
            Assert.That(await FailAsync("Worker", [], "--listen", address, "--secret-file", secret, "--insecure-links"), Does.Contain($"--listen {address} cannot be listened on: {why}"));
        foreach ((string address, string why) in new[] { (used, "another process listens there"), ("192.0.2.1:8080", "this host has no such address") })
        {
            Assert.That(await FailAsync("Gateway", [], "--tp", "1", "--device", "cpu", "--http", address, "--grpc", FreeAddress()), Does.Contain($"--http {address} cannot be listened on: {why}."));
            Assert.That(await FailAsync("Gateway", [], "--tp", "1", "--device", "cpu", "--grpc", address, "--http", FreeAddress()), Does.Contain($"--grpc {address} cannot be listened on: {why}."));
        }
    }

    /// <summary>Standard streams that are closed or full: what was asked fails with a code, and with a line where there is one to write to.</summary>
    [TestCase("Worker", "devices --json >&-", "standard output cannot be written")]
    [TestCase("Worker", "--help >/dev/full", "standard output cannot be written")]
    [TestCase("Gateway", "settings >/dev/full", "standard output cannot be written")]
    [TestCase("Worker", "--listen 192.0.2.1:9001 --insecure-links --secret-file secret >&- 2>&- <&-", "")]
    [TestCase("Gateway", "--tp 0 >&- 2>&- <&-", "")]
    [Platform("Linux")]
    public async Task Program_StreamClosedOrFull_FailsWithItsCode(string room, string line, string says)
    {
        WriteFile("secret", "a secret");
        ProcessStartInfo start = new("sh", ["-c", $"dotnet {Processes.Program(room)} {line}"]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = _folder };
        Process process = Process.Start(start)!;
        _started.Add(process);
        string errors = await process.StandardError.ReadToEndAsync().WaitAsync(s_patience);
        await process.WaitForExitAsync().WaitAsync(s_patience);
        Assert.That((process.ExitCode, errors.Contains(" at ", StringComparison.Ordinal)), Is.EqualTo((1, false)), errors);
        Assert.That(errors, Does.Contain(says));
    }

    [Test]
    public async Task Worker_NameThatNobodyKnows_IsFoundAtStart() =>
        Assert.That(
            await FailAsync("Worker", [], "--listen", "no.such.host.invalid:9001", "--secret-file", WriteFile("secret", "a secret")),
            Does.Contain("--listen: 'no.such.host.invalid:9001' cannot be resolved"));

    [Test]
    public async Task Gateway_OneWorkerUnderTwoSpellings_IsRefusedByBoth()
    {
        string secret = WriteFile("secret", "a secret"), address = FreeAddress(), name = address.Replace("127.0.0.1", "localhost", StringComparison.Ordinal);
        string[] flags = ["--secret-file", secret, "--http", FreeAddress(), "--grpc", FreeAddress()];
        Assert.That(await FailAsync("Gateway", [], ["--worker", "http://" + address, "--worker", $"http://{address}/", .. flags]), Does.Contain($"--worker: http://{address} is given 2 times"));
        Start("Worker", [], "--listen", address, "--secret-file", secret, "--log-level", "error");
        Assert.That(
            await FailAsync("Gateway", [], ["--worker", "http://" + address, "--worker", "http://" + name, .. flags]),
            Does.Contain($"--worker http://{address} and --worker http://{name} are the same worker"));
    }

    [Test]
    public async Task Worker_OfALivingGateway_IsRefusedToAnotherAndFreeOnceThatOneIsKilled()
    {
        string secret = WriteFile("secret", "a secret"), worker = FreeAddress(), http = FreeAddress();
        Start("Worker", [], "--listen", worker, "--secret-file", secret, "--log-level", "error");
        string[] flags = ["--worker", "http://" + worker, "--secret-file", secret, "--device", "cpu", "--log-level", "error"];
        Process first = Start("Gateway", [], [.. flags, "--http", http, "--grpc", FreeAddress()]);
        await UntilHealthyAsync(http);
        string refused = await FailAsync("Gateway", [], [.. flags, "--connect-timeout", "1", "--http", FreeAddress(), "--grpc", FreeAddress()]);
        Assert.That(refused, Does.Contain($"worker http://{worker} serves another gateway").And.Contain(string.Create(CultureInfo.InvariantCulture, $"process {first.Id}")));
        Assert.That((await RunAsync("Gateway", [], "health", "--server", "http://" + http)).Code, Is.Zero, "the first was not touched");

        http = FreeAddress();
        Start("Gateway", [], [.. flags, "--connect-timeout", "60", "--http", http, "--grpc", FreeAddress()]); // waits for its turn
        first.Kill();
        await UntilHealthyAsync(http);
    }

    private async Task UntilHealthyAsync(string http)
    {
        using CancellationTokenSource deadline = new(s_patience);
        while ((await RunAsync("Gateway", [], "health", "--server", "http://" + http)).Code != 0)
            deadline.Token.ThrowIfCancellationRequested();
    }

    [Test]
    public async Task Serve_WithoutTablesOfUnicode_RefusesATokenizerThatNormalizes()
    {
        string plain = TestData.Local("models/llama-mha"), folder = Path.Combine(_folder, "normalizes");
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.EnumerateFiles(plain))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        JsonNode tokenizer = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "tokenizer.json")))!;
        tokenizer["normalizer"] = new JsonObject { ["type"] = "NFC" };
        await File.WriteAllTextAsync(Path.Combine(folder, "tokenizer.json"), tokenizer.ToJsonString());

        Dictionary<string, string> invariant = new() { ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1" };
        (int code, string _, string errors) = await RunAsync("Gateway", invariant, "serve", "--model", folder, "--http", FreeAddress(), "--grpc", FreeAddress());
        Assert.That((code, errors.TrimEnd().Split('\n')), Is.EqualTo((1, new[] { errors.TrimEnd() })));
        Assert.That(errors, Does.StartWith("tpserve: ").And.Contains("Unset DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"));
    }

    [Test]
    public async Task Group_BehindADeadProxyAndByNames_ServesOverTheRingAndSharesTheCores()
    {
        string secret = WriteFile("secret", "a secret"), http = FreeAddress(), grpc = FreeAddress();
        string[] workers = [FreeAddress().Replace("127.0.0.1", "localhost", StringComparison.Ordinal), FreeAddress().Replace("127.0.0.1", "localhost", StringComparison.Ordinal)];
        foreach (string worker in workers)
            Start("Worker", s_deadProxy, "--listen", worker, "--secret-file", secret, "--log-level", "error");
        Start("Gateway", s_deadProxy, "--worker", "http://" + workers[0], "--worker", "http://" + workers[1], "--secret-file", secret, "--transport", "ring", "--device", "cpu", "--http", http, "--grpc", grpc, "--log-level", "error");

        using CancellationTokenSource deadline = new(s_patience);
        while ((await RunAsync("Gateway", s_deadProxy, "health", "--server", "http://" + http)).Code != 0)
            deadline.Token.ThrowIfCancellationRequested();
        (int code, string text, string errors) = await RunAsync("Gateway", s_deadProxy, "complete", "The capital of France is", "--max-tokens", "3", "--temperature", "0", "--server", "http://" + grpc);
        Assert.That((code, text.Trim()), Is.EqualTo((0, "Paris.")), errors);
        Assert.That((await RunAsync("Gateway", s_deadProxy, "health", "--worker", "http://" + workers[0], "--secret-file", secret)).Code, Is.Zero);

        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false });
        string topology = await client.GetStringAsync(new Uri($"http://{http}/topology"));
        Assert.That(topology, Does.Contain(string.Create(CultureInfo.InvariantCulture, $", {Math.Max(1, Environment.ProcessorCount / 2)} thread")));
        Assert.That((await RunAsync("Gateway", s_deadProxy, "drain", "--server", "http://" + grpc)).Code, Is.Zero);
    }
}
