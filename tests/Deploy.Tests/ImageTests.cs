using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using NUnit.Framework;

namespace TpServe.Deploy.Tests;

/// <summary>
/// The image, as far as a machine without a container engine can prove it: published by the Dockerfile's own instructions, then started as compose starts it,
/// as an unprivileged user without capabilities on a read-only root.
/// </summary>
[Category("MultiProcess"), Category("Slow"), NonParallelizable]
public sealed class ImageTests
{
    private static readonly DeployFiles s_files = new();
    private static readonly Dockerfile s_dockerfile = Dockerfile.Parse(s_files.Dockerfile);
    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(90);
    private PublishedImage _image = null!;

    [OneTimeSetUp]
    public async Task Build() => _image = await PublishedImage.BuildAsync(s_dockerfile);

    [OneTimeTearDown]
    public void Delete() => _image?.Dispose();

    [Test]
    public void Image_Published_HoldsWhatTheDockerfileLays()
    {
        foreach (string path in s_dockerfile.Laid().Where(path => path != "/app"))
            Assert.That(new FileInfo(_image.Folder + path) is { } file && (file.LinkTarget ?? path) is { Length: > 0 } && (file.LinkTarget is not null || Directory.Exists(file.FullName)), Is.True, path);
        foreach (string link in Directory.GetFiles(_image.Folder + "/usr/local/bin"))
            Assert.That(_image.Folder + new FileInfo(link).LinkTarget, Does.Exist, link);
        Assert.That(_image.Folder + "/app/models/SmolLM2-135M-Instruct.Q4_1.gguf", Does.Exist, "the embedded model");
    }

    [Test]
    public async Task Image_StartedAsComposeStartsIt_ServesUnprivilegedAndEndsClean()
    {
        await using Container container = await ContainerOrIgnoreAsync("single");
        JsonObject service = Service("tpserve-cpu");
        string[] health = Health(service);

        // 1. The build's own check, the doctor's, then the service until its health check is content.
        await container.SetEnvironmentAsync("server", ComposeCheck.Environment(s_files, "tpserve-cpu"));
        (string version, int checkedCode) = await container.RunAsync("server", Dockerfile.Words(s_dockerfile.Of(s_dockerfile.Final, "RUN").Single().Text));
        Assert.That(checkedCode, Is.Zero, version);
        (string findings, int wrong) = await container.RunAsync("server", ["tpserve", "doctor"]);
        Assert.That(wrong, Is.Zero, findings);
        await container.StartAsync("server", ComposeCheck.Environment(s_files, "tpserve-cpu"), ComposeCheck.Words(service, s_dockerfile));
        await container.UntilAsync(0, "server", health, s_startTimeout);

        // 2. It has no rights that it does not need.
        string status = (await container.CommandAsync("status server")).Output;
        Assert.That(status, Does.Match(@"Uid:\t1654\t1654\t1654\t1654").And.Match(@"Gid:\t1654\t1654").And.Match(@"CapEff:\t0+\n").And.Match(@"CapBnd:\t0+\n").And.Match(@"NoNewPrivs:\t1"));
        foreach (string path in new[] { "/x", "/app/x", "/app/worker/x", "/models/x", "/etc/x", "/usr/local/bin/x" })
            Assert.That((await container.RunAsync("server", ["touch", path])).Output, Does.Contain("Read-only file system"), path);
        foreach (string path in new[] { "/tmp/x", "/var/cache/tpserve/x" })
            Assert.That((await container.RunAsync("server", ["touch", path])).Code + (await container.RunAsync("server", ["rm", path])).Code, Is.Zero, path);

        // 3. It serves.
        (string completion, int completed) = await container.RunAsync("server", ["tpserve", "complete", "Paris", "--max-tokens", "4", "--temperature", "0"]);
        Assert.That(completed, Is.Zero, completion);
        Assert.That(completion, Does.Contain("4 generated"));
        Assert.That((await container.CommandAsync("log server")).Output, Does.Not.Contain("WRN").And.Not.Contain("ERR"));

        // 4. It drains: what is in flight ends whole, and it is no longer ready; then it ends, with nothing left behind.
        await container.StartAsync("client", ComposeCheck.Environment(s_files, "tpserve-cpu"), ["tpserve", "complete", "Rivers", "--max-tokens", "200", "--temperature", "0"]);
        await container.UntilLogAsync("server", "accepted: ", 2, s_startTimeout);
        Assert.That((await container.RunAsync("server", ["tpserve", "drain"])).Code, Is.Zero);
        Assert.That((await container.CommandAsync("wait client")).Code, Is.Zero, (await container.CommandAsync("log client")).Output);
        Assert.That((await container.RunAsync("server", health)).Output, Does.Contain("draining"));
        long start = Stopwatch.GetTimestamp();
        await container.CommandAsync("signal server TERM");
        Assert.That((await container.CommandAsync("wait server")).Code, Is.Zero, (await container.CommandAsync("log server")).Output);
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(10)));
        foreach (string folder in new[] { "/tmp", "/dev/shm" })
            Assert.That((await container.CommandAsync("list " + folder)).Output, Is.Empty, folder);
        Assert.That((await container.CommandAsync("list /var/cache/tpserve")).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.EqualTo(1).And.All.Match("^profile-[0-9a-f]+\\.json$"), "the times of the workers, for the next start");
        Assert.That((await container.CommandAsync("processes")).Output, Does.Not.Contain("TpServe"));
    }

    [Test]
    public async Task Image_GpuServiceWithoutGpu_EndsAndSaysWhy()
    {
        await using Container container = await ContainerOrIgnoreAsync("gpu");
        await container.StartAsync("server", ComposeCheck.Environment(s_files, "tpserve"), ComposeCheck.Words(Service("tpserve"), s_dockerfile));
        (string _, int code) = await container.CommandAsync("wait server");
        string log = (await container.CommandAsync("log server")).Output;
        if (log.Contains("serving", StringComparison.Ordinal))
            Assert.Ignore("this machine has a GPU");
        Assert.That(code, Is.EqualTo(1), log);
        Assert.That(log, Does.Contain("no GPU"));
    }

    [Test]
    public async Task Image_SeveralHosts_WorkerLostAndBack_ReadinessFollows()
    {
        await using Container container = await ContainerOrIgnoreAsync("multihost");
        JsonObject gateway = Service("gateway"), worker = Service("worker-cpu");
        Dictionary<string, string> workerEnvironment = ComposeCheck.Environment(s_files, "worker-cpu");

        // 1. The gateway first: it waits for its worker.
        await container.StartAsync("gateway", ComposeCheck.Environment(s_files, "gateway"), ComposeCheck.Words(gateway, s_dockerfile));
        await container.StartAsync("worker", workerEnvironment, ComposeCheck.Words(worker, s_dockerfile));
        await container.UntilAsync(0, "worker", Health(worker), s_startTimeout);
        await container.UntilAsync(0, "gateway", Health(gateway), s_startTimeout);
        Assert.That((await container.RunAsync("gateway", ["tpserve", "complete", "Paris", "--max-tokens", "2"])).Code, Is.Zero);

        // 2. A worker that dies while nothing runs is missed at once, and taken in again when its restart policy has brought it back.
        await container.CommandAsync("signal worker KILL");
        await container.CommandAsync("wait worker");
        await container.UntilAsync(1, "gateway", Health(gateway), TimeSpan.FromSeconds(10));
        await container.StartAsync("worker", workerEnvironment, ComposeCheck.Words(worker, s_dockerfile));
        await container.UntilAsync(0, "gateway", Health(gateway), s_startTimeout);

        // 3. A worker that is asked to stop does so within its grace period, though the gateway is still connected.
        long start = Stopwatch.GetTimestamp();
        await container.CommandAsync("signal worker TERM");
        Assert.That((await container.CommandAsync("wait worker")).Code, Is.Zero);
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(15)));
        await container.CommandAsync("signal gateway TERM");
        Assert.That((await container.CommandAsync("wait gateway")).Code, Is.Zero);
        Assert.That((await container.CommandAsync("list /tmp")).Output, Is.Empty);
    }

    [Test]
    public async Task Image_WorkersThatNeverCome_TheGatewayGivesUpAfterConnectTimeout()
    {
        await using Container container = await ContainerOrIgnoreAsync("alone");
        Dictionary<string, string> environment = ComposeCheck.Environment(s_files, "gateway");
        environment["Gateway__ConnectTimeout"] = "00:00:02";
        environment["Gateway__Device"] = "cpu"; // looking for GPUs has a patience of its own
        await container.StartAsync("gateway", environment, ComposeCheck.Words(Service("gateway"), s_dockerfile));
        Assert.That((await container.CommandAsync("wait gateway")).Code, Is.EqualTo(1));
        Assert.That((await container.CommandAsync("log gateway")).Output, Does.Contain("did not answer within 2 s"));
    }

    [Test]
    public async Task Image_StartedWithoutAContainer_ServesAndLeavesNothing() // what a machine can do where nobody is root
    {
        string scratch = _image.CreateFolder("by-hand");
        int http = FreePort(), grpc = FreePort();
        ProcessStartInfo start = new(Path.Combine(_image.Folder, "app", "TpServe.Gateway")) { WorkingDirectory = "/", RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in ComposeCheck.Environment(s_files, "tpserve-cpu"))
            start.Environment[name] = value;
        start.Environment["TMPDIR"] = start.Environment["HOME"] = scratch;
        start.Environment["DOTNET_ROOT"] = Container.DotnetFolder;
        start.Environment["Gateway__ProfileCache"] = "off";
        start.Environment["Gateway__Http"] = string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{http}");
        start.Environment["Gateway__Grpc"] = string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{grpc}");
        using Process server = Process.Start(start)!;
        try
        {
            Task<string> output = server.StandardOutput.ReadToEndAsync(), errors = server.StandardError.ReadToEndAsync();
            using HttpClient client = new() { BaseAddress = new Uri($"http://127.0.0.1:{http}"), Timeout = s_startTimeout };
            await UntilReadyAsync(client, server);
            using HttpResponseMessage answer = await client.PostAsJsonAsync("/v1/completions", new { prompt = "Paris", max_tokens = 4, temperature = 0 });
            Assert.That(answer.StatusCode, Is.EqualTo(HttpStatusCode.OK), await answer.Content.ReadAsStringAsync());
            using Process kill = Process.Start("kill", ["-TERM", server.Id.ToString(CultureInfo.InvariantCulture)]);
            using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(10));
            await server.WaitForExitAsync(deadline.Token);
            Assert.That(server.ExitCode, Is.Zero, await errors + await output);
            Assert.That(Directory.GetFileSystemEntries(scratch), Is.Empty);
        }
        finally
        {
            if (!server.HasExited)
                server.Kill(entireProcessTree: true);
        }
    }

    private static async Task UntilReadyAsync(HttpClient client, Process server)
    {
        long start = Stopwatch.GetTimestamp();
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(100));
        while (await pause.WaitForNextTickAsync())
        {
            Assert.That(server.HasExited, Is.False, "it ended");
            Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_startTimeout), "it was not ready in time");
            try
            {
                using HttpResponseMessage answer = await client.GetAsync("/health/ready");
                if (answer.StatusCode == HttpStatusCode.OK)
                    return;
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }
        }
    }

    private static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private async Task<Container> ContainerOrIgnoreAsync(string name)
    {
        if (Container.Missing() is { } reason)
            Assert.Ignore($"The image was published but not started: {reason}.");
        return await Container.CreateAsync(_image, name);
    }

    private static JsonObject Service(string name) =>
        ((JsonObject)Interpolation.Fill(Yaml.Load(s_files.Compose), new Dictionary<string, string>())!)["services"]![name]!.AsObject();

    private static string[] Health(JsonObject service) => [.. service["healthcheck"]!["test"]!.AsArray().Skip(1).Select(word => word!.ToString())];
}
