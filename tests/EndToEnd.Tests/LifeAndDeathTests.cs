using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using TpServe.Protos.V1;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>Nothing hangs: workers and gateways die, and every request has a definite outcome.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class LifeAndDeathTests
{
    private static readonly GenerateRequest Long = new()
    {
        Text = "Tell me everything about rivers:",
        Sampling = new SamplingOptions { Temperature = 0 },
        Stopping = new StoppingOptions { MaxTokens = 4000, IgnoreEos = true },
    };

    [TestCase(0)]
    [TestCase(1)]
    public async Task Worker_KilledInAStream_ItGoesOnWithTheSameTokensAndTheOtherWorkerKeepsItsProcess(int rank)
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int[] before = await server.WorkerIdsAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        Inference.InferenceClient client = new(channel);
        GenerateRequest request = Long.Clone();
        request.Stopping.MaxTokens = 100;
        string undisturbed = await TextAsync(client, request);

        string disturbed = await TextAsync(client, request, atDelta: 5, () => ServerProcess.Signal(before[rank], "KILL"));
        Assert.That(disturbed, Is.EqualTo(undisturbed));
        int[] after = await NewWorkersAsync(server, before);
        Assert.That(after[1 - rank], Is.EqualTo(before[1 - rank]), "the survivor");
        Assert.That(after[rank], Is.Not.EqualTo(before[rank]));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Worker_Frozen_IsFencedAndTheOtherKeepsItsProcess(bool busy)
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int[] before = await server.WorkerIdsAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        Inference.InferenceClient client = new(channel);
        GenerateRequest request = Long.Clone();
        request.Stopping.MaxTokens = 100;
        string undisturbed = await TextAsync(client, request);

        Task<string> disturbed = Task.FromResult(undisturbed);
        if (busy)
            disturbed = TextAsync(client, request, atDelta: 5, Freeze);
        else
            Freeze();
        await ServerProcess.UntilAsync(() => !ServerProcess.IsRunning(before[1]), TimeSpan.FromSeconds(30), "the frozen worker was not fenced");
        int[] after = await NewWorkersAsync(server, before);
        Assert.That(after[0], Is.EqualTo(before[0]), "it was alive, and only waited for the frozen one");
        Assert.That(await disturbed, Is.EqualTo(undisturbed));

        void Freeze() => ServerProcess.Signal(before[1], "STOP");
    }

    [Test]
    public async Task Worker_KilledWhereALossShrinks_TheOtherGoesOnAloneAndBothAgainOnceNothingRuns()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--on-rank-loss", "shrink");
        object request = new { prompt = "Once upon a time", max_tokens = 12, temperature = 0 };
        int[] before = await server.WorkerIdsAsync();
        string? text = Text(await server.PostAsync("/v1/completions", request));
        ServerProcess.Signal(before[1], "KILL");
        await ServerProcess.UntilAsync(() => server.Output.Contains("goes on with 1 of 2 ranks", StringComparison.Ordinal), TimeSpan.FromSeconds(30), "the group did not shrink");

        // Every request has the bits it would have had; after the first that ends while the lost worker is back, the group has all its ranks again.
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        int[] after;
        do
        {
            deadline.Token.ThrowIfCancellationRequested();
            Assert.That(Text(await server.PostAsync("/v1/completions", request)), Is.EqualTo(text));
            await server.WaitReadyAsync();
            after = await server.WorkerIdsAsync();
        }
        while (after.Length < 2);
        Assert.That((after[0], after[1] != before[1]), Is.EqualTo((before[0], true)));
        Assert.That(Text(await server.PostAsync("/v1/completions", request)), Is.EqualTo(text));

        static string? Text(JsonElement answer) => answer.GetProperty("choices")[0].GetProperty("text").GetString();
    }

    [Test]
    public async Task Model_MovedAwayAndBack_RequestsAreRefusedUntilItIsThere()
    {
        string file = Path.Combine(Directory.CreateTempSubdirectory("tpserve-model-").FullName, "moved.gguf"), away = file + ".away";
        File.Copy(TestData.SmolLm2, file);
        await using (ServerProcess server = await ServerProcess.StartAsync("--model", file))
        {
            int[] before = await server.WorkerIdsAsync();
            File.Move(file, away);
            ServerProcess.Signal(before[1], "KILL");
            await ServerProcess.UntilAsync(() => server.Output.Contains("broken ", StringComparison.Ordinal), TimeSpan.FromSeconds(30), "the circuit stayed closed");
            Assert.That(server.Output, Does.Contain(file));
            using HttpResponseMessage ready = await server.Http.GetAsync(new Uri("/health/ready", UriKind.Relative));
            Assert.That((ready.StatusCode, await ready.Content.ReadAsStringAsync()), Is.EqualTo((System.Net.HttpStatusCode.ServiceUnavailable, "{\"status\":\"broken\"}")));

            File.Move(away, file);
            await server.WaitReadyAsync();
            Assert.That((await server.WorkerIdsAsync())[0], Is.EqualTo(before[0]), "the survivor has waited with what it had loaded");
        }
        Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
    }

    [Test]
    public async Task Model_Replaced_IsRefusedWithBothIdentities()
    {
        string file = Path.Combine(Directory.CreateTempSubdirectory("tpserve-model-").FullName, "replaced.gguf");
        File.Copy(TestData.SmolLm2, file);
        await using (ServerProcess server = await ServerProcess.StartAsync("--model", file))
        {
            // The same shape, another training: one byte of the last tensor.
            byte[] bytes = await File.ReadAllBytesAsync(file);
            bytes[^1] ^= 1;
            await File.WriteAllBytesAsync(file + ".new", bytes);
            File.Move(file + ".new", file, overwrite: true);
            ServerProcess.Signal((await server.WorkerIdsAsync())[0], "KILL");
            await ServerProcess.UntilAsync(() => server.Output.Contains("broken ", StringComparison.Ordinal), TimeSpan.FromSeconds(30), "the circuit stayed closed");
            Assert.That(server.Output, Does.Match("broken .*another model than the one this server serves: now replaced.gguf of .*; at the start replaced.gguf of "));
        }
        Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
    }

    [Test]
    public async Task Gateway_Killed_TheNextOneSweepsItsFolder()
    {
        await using ServerProcess first = await ServerProcess.StartAsync("--tp", "1");
        JsonElement topology = (await first.Http.GetFromJsonAsync<JsonElement>(new Uri("/topology", UriKind.Relative))).GetProperty("ranks")[0];
        string folder = Path.GetDirectoryName(topology.GetProperty("address").GetString()!["unix:".Length..])!;
        first.Kill();
        await ServerProcess.UntilAsync(() => !ServerProcess.IsRunning(topology.GetProperty("pid").GetInt32()), TimeSpan.FromSeconds(30), "a worker outlived its gateway");
        Assert.That(Directory.Exists(folder), Is.True, "who was killed cannot tidy up");
        await using ServerProcess second = await ServerProcess.StartAsync("--tp", "1");
        Assert.That(Directory.Exists(folder), Is.False);
        Assert.That(Directory.GetFiles(Path.GetTempPath(), $"*-{first.Id.ToString(CultureInfo.InvariantCulture)}-*").Where(file => file.Contains("dotnet-diagnostic", StringComparison.Ordinal) || file.Contains("clr-debug-pipe", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public async Task Gateway_Killed_LeavesNoWorkerAndNoSharedMemory()
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int[] workers = await server.WorkerIdsAsync();
        Assert.That(workers, Has.Length.EqualTo(2));
        server.Kill();
        await ServerProcess.UntilAsync(() => !workers.Any(ServerProcess.IsRunning), TimeSpan.FromSeconds(30), "a worker outlived its gateway");
        Assert.That(server.Segments(), Is.Empty);
    }

    [TestCase("TERM", 1)]
    [TestCase("INT", 1)]
    [TestCase("TERM", 2)]
    [TestCase("INT", 2)]
    public async Task Gateway_AskedToStop_EndsWhenItsDrainTimeoutHasPassedOrAtOnceWhenAskedAgain(string signal, int times)
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--drain-timeout", times == 1 ? "1" : "60");
        int[] workers = await server.WorkerIdsAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        using AsyncServerStreamingCall<GenerateEvent> call = new Inference.InferenceClient(channel).GenerateStream(Long);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        Assert.That(await call.ResponseStream.MoveNext(deadline.Token), Is.True);
        ServerProcess.Signal(server.Id, signal);
        if (times == 2)
        {
            await ServerProcess.UntilAsync(() => server.Output.Contains("Asked to stop", StringComparison.Ordinal), TimeSpan.FromSeconds(30), "it does not drain");
            ServerProcess.Signal(server.Id, signal);
        }
        int code = await server.WaitForExitAsync(TimeSpan.FromSeconds(30));
        Assert.That(code, Is.Zero, server.Errors);
        Assert.That(workers.Any(ServerProcess.IsRunning), Is.False);
    }

    /// <summary>The text of a stream that ends in good order; something happens at one of its deltas.</summary>
    private static async Task<string> TextAsync(Inference.InferenceClient client, GenerateRequest request, int atDelta = 0, Action? happens = null)
    {
        using AsyncServerStreamingCall<GenerateEvent> call = client.GenerateStream(request);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(60));
        StringBuilder text = new();
        int deltas = 0;
        while (await call.ResponseStream.MoveNext(deadline.Token))
        {
            if (call.ResponseStream.Current.Delta is not { } delta)
                continue;
            text.Append(delta.Text);
            if (++deltas == atDelta)
                happens!();
        }
        Assert.That(deltas, Is.GreaterThan(atDelta));
        return text.ToString();
    }

    /// <summary>The workers once one of them is another and the group is ready.</summary>
    private static async Task<int[]> NewWorkersAsync(ServerProcess server, int[] before)
    {
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        while (await pause.WaitForNextTickAsync(deadline.Token))
        {
            await server.WaitReadyAsync();
            if (await server.WorkerIdsAsync() is { } after && !after.SequenceEqual(before))
                return after;
        }
        throw new InvalidOperationException("the group did not come back.");
    }

    private static IEnumerable<TestCaseData> BadStarts()
    {
        yield return new TestCaseData(new[] { "--model", "/nowhere/model.gguf" }, "/nowhere/model.gguf").SetArgDisplayNames("unknown model");
        yield return new TestCaseData(new[] { "--tp", "0" }, "0").SetArgDisplayNames("degree 0");
        yield return new TestCaseData(new[] { "--tp", "1000" }, "1000").SetArgDisplayNames("degree 1000");
        yield return new TestCaseData(new[] { "--tp", "two" }, "two").SetArgDisplayNames("degree in words");
        yield return new TestCaseData(new[] { "--partition", "1,2,3" }, "1,2,3").SetArgDisplayNames("weights for another degree");
        yield return new TestCaseData(new[] { "--kv-dtype", "q4" }, "--kv-dtype").SetArgDisplayNames("unknown kv type");
        yield return new TestCaseData(new[] { "--http", "127.0.0.1:99999" }, "99999").SetArgDisplayNames("port out of range");
        yield return new TestCaseData(new[] { "--max-model-len", "100000" }, "100000").SetArgDisplayNames("context beyond the model");
        yield return new TestCaseData(new[] { "--no-such-flag" }, "--no-such-flag").SetArgDisplayNames("unknown flag");
        yield return new TestCaseData(new[] { "--kv-cache", "64TiB" }, "--kv-cache 64TiB").SetArgDisplayNames("cache beyond all memory");
        yield return new TestCaseData(new[] { "--device", "cpu", "--tp", "64" }, "--tp 64: at most").SetArgDisplayNames("more workers than cores");
        yield return new TestCaseData(new[] { "--partition", "1,NaN" }, "'NaN'").SetArgDisplayNames("a weight that is no number");
        yield return new TestCaseData(new[] { "--model", "/dev/null" }, "/dev/null: is a character device").SetArgDisplayNames("a device as model");
    }

    [TestCaseSource(nameof(BadStarts))]
    public async Task Gateway_WrongSetting_SaysWhyInOneLineAndExitsNonZero(string[] flags, string named)
    {
        await using ServerProcess server = ServerProcess.Launch(flags);
        int code = await server.WaitForExitAsync(TimeSpan.FromSeconds(30));
        Assert.That(code, Is.EqualTo(flags[0] == "--no-such-flag" ? 2 : 1));
        Assert.That(server.Errors, Does.Contain(named));
        Assert.That(server.Errors.Trim().Split('\n'), Has.Length.EqualTo(1), server.Errors);
    }

    [Test]
    public async Task Gateway_SeveralWrongSettings_ReportsAllAtOnce()
    {
        await using ServerProcess server = ServerProcess.Launch("--tp", "0", "--kv-dtype", "q4", "--transport", "pigeon");
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(30)), Is.Not.Zero);
        Assert.That(server.Errors, Does.Contain("--tp").And.Contain("--kv-dtype").And.Contain("--transport"));
    }

    [Test]
    public async Task Gateway_TruncatedModel_SaysWhy()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "truncated.gguf");
        await using (FileStream whole = File.OpenRead(TestData.SmolLm2))
        await using (FileStream part = File.Create(file))
        {
            byte[] bytes = new byte[8 << 20];
            await whole.ReadExactlyAsync(bytes);
            await part.WriteAsync(bytes);
        }
        await using ServerProcess server = ServerProcess.Launch("--model", file);
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(30)), Is.Not.Zero);
        Assert.That(server.Errors, Does.Contain("truncated.gguf"));
        File.Delete(file);
    }

    [Test]
    public async Task Gateway_PortInUse_SaysWhichAndLeavesTheOwnerAlone()
    {
        await using ServerProcess first = await ServerProcess.StartAsync("--tp", "1");
        await using ServerProcess second = ServerProcess.Launch("--http", $"127.0.0.1:{first.HttpPort.ToString(CultureInfo.InvariantCulture)}");
        Assert.That(await second.WaitForExitAsync(TimeSpan.FromSeconds(30)), Is.Not.Zero);
        Assert.That(second.Errors, Does.Contain(first.HttpPort.ToString(CultureInfo.InvariantCulture)));
        JsonElement answer = await first.PostAsync("/v1/completions", new { prompt = "Hello", max_tokens = 1 });
        Assert.That(answer.GetProperty("choices").GetArrayLength(), Is.EqualTo(1));
    }
}
