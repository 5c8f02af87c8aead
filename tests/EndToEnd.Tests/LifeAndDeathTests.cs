using System.Diagnostics;
using System.Globalization;
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
    public async Task Worker_Killed_RequestsEndUnavailableWithin5SecondsAndTheNextSucceeds(int rank)
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        Inference.InferenceClient client = new(channel);
        using AsyncServerStreamingCall<GenerateEvent> call = client.GenerateStream(Long);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        int deltas = 0;
        long killed = 0;
        RpcException? end = null;
        try
        {
            while (await call.ResponseStream.MoveNext(deadline.Token))
                if (call.ResponseStream.Current.Delta is not null && ++deltas == 5)
                {
                    killed = Stopwatch.GetTimestamp();
                    ServerProcess.Signal((await server.WorkerIdsAsync())[rank], "KILL");
                }
        }
        catch (RpcException fault)
        {
            end = fault;
        }
        Assert.That(end?.StatusCode, Is.EqualTo(StatusCode.Unavailable), $"after {deltas} deltas");
        Assert.That(Stopwatch.GetElapsedTime(killed), Is.LessThan(TimeSpan.FromSeconds(5)));

        // The group starts over by itself; a request sent meanwhile waits for it.
        GenerateRequest next = Long.Clone();
        next.Stopping.MaxTokens = 5;
        GenerateResponse answer = await client.GenerateAsync(next, deadline: DateTime.UtcNow + TimeSpan.FromSeconds(30));
        Assert.That(answer.Outputs[0].Finished.CompletionTokens, Is.EqualTo(5));
        GetTopologyResponse topology = await new Control.ControlClient(channel).GetTopologyAsync(new GetTopologyRequest());
        Assert.That(topology.Epoch, Is.GreaterThan(1));
    }

    [Test]
    public async Task Worker_Frozen_RequestsEndUnavailable()
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        Inference.InferenceClient client = new(channel);
        using AsyncServerStreamingCall<GenerateEvent> call = client.GenerateStream(Long);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(60));
        Assert.That(await call.ResponseStream.MoveNext(deadline.Token), Is.True);
        ServerProcess.Signal((await server.WorkerIdsAsync())[1], "STOP");
        RpcException? end = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(deadline.Token))
            {
                // What was on its way still comes.
            }
        });
        Assert.That(end!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
    }

    [Test]
    public async Task Gateway_Killed_LeavesNoWorkerAndNoSharedMemory()
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int[] workers = await server.WorkerIdsAsync();
        Assert.That(workers, Has.Length.EqualTo(2));
        server.Kill();
        await ServerProcess.UntilAsync(() => !workers.Any(ServerProcess.IsRunning), TimeSpan.FromSeconds(5), "a worker outlived its gateway");
        Assert.That(server.Segments(), Is.Empty);
    }

    [TestCase("TERM")]
    [TestCase("INT")]
    public async Task Gateway_AskedToStop_EndsWithin5SecondsWithRequestsInFlight(string signal)
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int[] workers = await server.WorkerIdsAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        using AsyncServerStreamingCall<GenerateEvent> call = new Inference.InferenceClient(channel).GenerateStream(Long);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        Assert.That(await call.ResponseStream.MoveNext(deadline.Token), Is.True);
        ServerProcess.Signal(server.Id, signal);
        int code = await server.WaitForExitAsync(TimeSpan.FromSeconds(5));
        Assert.That(code, Is.Zero, server.Errors);
        Assert.That(workers.Any(ServerProcess.IsRunning), Is.False);
    }

    private static IEnumerable<TestCaseData> BadStarts()
    {
        yield return new TestCaseData(new[] { "--model", "/nowhere/model.gguf" }, "/nowhere/model.gguf").SetArgDisplayNames("unknown model");
        yield return new TestCaseData(new[] { "--tp", "0" }, "0").SetArgDisplayNames("degree 0");
        yield return new TestCaseData(new[] { "--tp", "1000" }, "1000").SetArgDisplayNames("degree 1000");
        yield return new TestCaseData(new[] { "--tp", "two" }, "two").SetArgDisplayNames("degree in words");
        yield return new TestCaseData(new[] { "--partition", "1,2,3" }, "1,2,3").SetArgDisplayNames("weights for another degree");
        yield return new TestCaseData(new[] { "--kv-dtype", "q8" }, "--kv-dtype").SetArgDisplayNames("unknown kv type");
        yield return new TestCaseData(new[] { "--http", "127.0.0.1:99999" }, "99999").SetArgDisplayNames("port out of range");
        yield return new TestCaseData(new[] { "--max-model-len", "100000" }, "100000").SetArgDisplayNames("context beyond the model");
        yield return new TestCaseData(new[] { "--no-such-flag" }, "--no-such-flag").SetArgDisplayNames("unknown flag");
    }

    [TestCaseSource(nameof(BadStarts))]
    public async Task Gateway_WrongSetting_SaysWhyInOneLineAndExitsNonZero(string[] flags, string named)
    {
        await using ServerProcess server = ServerProcess.Launch(flags);
        int code = await server.WaitForExitAsync(TimeSpan.FromSeconds(20));
        Assert.That(code, Is.Not.Zero);
        Assert.That(server.Errors, Does.Contain(named));
        if (flags[0] != "--no-such-flag")
            Assert.That(server.Errors.Trim().Split('\n'), Has.Length.EqualTo(1), server.Errors);
    }

    [Test]
    public async Task Gateway_SeveralWrongSettings_ReportsAllAtOnce()
    {
        await using ServerProcess server = ServerProcess.Launch("--tp", "0", "--kv-dtype", "q8", "--transport", "pigeon");
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(20)), Is.Not.Zero);
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
        Assert.That(await server.WaitForExitAsync(TimeSpan.FromSeconds(20)), Is.Not.Zero);
        Assert.That(server.Errors, Does.Contain("truncated.gguf"));
        File.Delete(file);
    }

    [Test]
    public async Task Gateway_PortInUse_SaysWhichAndLeavesTheOwnerAlone()
    {
        await using ServerProcess first = await ServerProcess.StartAsync("--tp", "1");
        await using ServerProcess second = ServerProcess.Launch("--http", $"127.0.0.1:{first.HttpPort.ToString(CultureInfo.InvariantCulture)}");
        Assert.That(await second.WaitForExitAsync(TimeSpan.FromSeconds(20)), Is.Not.Zero);
        Assert.That(second.Errors, Does.Contain(first.HttpPort.ToString(CultureInfo.InvariantCulture)));
        JsonElement answer = await first.PostAsync("/v1/completions", new { prompt = "Hello", max_tokens = 1 });
        Assert.That(answer.GetProperty("choices").GetArrayLength(), Is.EqualTo(1));
    }
}
