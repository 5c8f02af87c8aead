using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using TpServe.Protos.V1;

namespace TpServe.EndToEnd.Tests;

/// <summary>A split that does not fit the ranks is changed while the server runs: no request notices.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class RebalanceTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(120);

    [Test]
    public async Task Uneven_On_MovesUnderLoadAndEveryAnswerIsTheSame()
    {
        object request = new { prompt = "Tell me everything about rivers:", max_tokens = 48, temperature = 0, ignore_eos = true, logprobs = 3 };
        string undisturbed;
        await using (ServerProcess even = await ServerProcess.StartAsync())
            undisturbed = Choices(await even.PostAsync("/v1/completions", request));

        // One rank is given four fifths of the work: on cores that are alike it is the slow one.
        await using ServerProcess server = await ServerProcess.StartAsync("--partition", "4,1", "--rebalance", "on", "--rebalance-after", "1s");
        int[] workers = await server.WorkerIdsAsync();
        int leaves = Leaves(await server.TopologyAsync());
        using CancellationTokenSource deadline = new(s_patience);
        Task<int>[] streams = [.. Enumerable.Range(0, 2).Select(_ => StreamAsync())];
        await Task.WhenAll(streams);
        Assert.That(streams.Select(stream => stream.Result), Is.All.Positive);

        JsonElement topology = await server.TopologyAsync(), move = topology.GetProperty("moves")[0];
        Assert.That(Leaves(topology), Is.LessThan(leaves));
        Assert.That((move.GetProperty("reason").GetString(), move.GetProperty("before").GetString()), Is.EqualTo((move.GetProperty("reason").GetString()!, $"heads 7+2, MLP leaves {leaves}+{24 - leaves}, vocabulary 39296+9856")));
        Assert.That(move.GetProperty("reason").GetString(), Does.StartWith("rank 0 computes"));
        Assert.That(long.Parse(move.GetProperty("read_bytes").GetString()!, System.Globalization.CultureInfo.InvariantCulture), Is.InRange(1, 60 << 20), "not the whole model");
        Assert.That(await server.WorkerIdsAsync(), Is.EqualTo(workers), "the processes are those that were");
        Assert.That(server.Output, Does.Contain("Moved: rank 0 computes").And.Not.Contain("Group lost"));

        // Answers one request after the other, until the group has moved and one more has been answered by the new split.
        async Task<int> StreamAsync()
        {
            int answered = 0;
            for (bool moved = false; ; answered++)
            {
                deadline.Token.ThrowIfCancellationRequested();
                Assert.That(Choices(await server.PostAsync("/v1/completions", request)), Is.EqualTo(undisturbed));
                if (moved)
                    return answered;
                moved = (await server.TopologyAsync()).TryGetProperty("moves", out JsonElement moves) && moves.GetArrayLength() > 0;
            }
        }
    }

    [Test]
    public async Task Uneven_Advise_SaysWhatWouldBeMovedAndMovesNothing()
    {
        await using ServerProcess server = await ServerProcess.StartAsync("--partition", "4,1", "--rebalance-after", "1s");
        object request = new { prompt = "Tell me everything about rivers:", max_tokens = 48, temperature = 0, ignore_eos = true };
        using CancellationTokenSource deadline = new(s_patience);
        while (!(await server.TopologyAsync()).TryGetProperty("advice", out JsonElement advice) || advice.ValueKind != JsonValueKind.Object)
        {
            deadline.Token.ThrowIfCancellationRequested();
            await server.PostAsync("/v1/completions", request);
        }
        Assert.That(server.Output, Does.Contain("--rebalance on would move it"));
        Assert.That((await server.TopologyAsync()).TryGetProperty("moves", out JsonElement moves) ? moves.GetArrayLength() : 0, Is.Zero);
    }

    [Test]
    public async Task Reshard_UnderLoad_MovesAndEveryAnswerIsTheSame()
    {
        object request = new { prompt = "Tell me everything about rivers:", max_tokens = 48, temperature = 0, ignore_eos = true, logprobs = 3 };
        await using ServerProcess server = await ServerProcess.StartAsync("--partition", "even");
        string undisturbed = Choices(await server.PostAsync("/v1/completions", request));
        int[] workers = await server.WorkerIdsAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://127.0.0.1:{server.GrpcPort}");
        Control.ControlClient control = new(channel);
        foreach (double[] weights in new double[][] { [2, 1], [1, 8], [] })
        {
            Task<JsonElement>[] running = [.. Enumerable.Range(0, 3).Select(_ => server.PostAsync("/v1/completions", request))];
            ReshardRequest wanted = new();
            wanted.Weights.Add(weights);
            GroupMove move = (await control.ReshardAsync(wanted, deadline: DateTime.UtcNow + s_patience)).Move;
            Assert.That((move.Rank, move.Reason, Leaves(await server.TopologyAsync())), Is.EqualTo((-1, "asked for", weights switch { [2, 1] => 16, [1, 8] => 3, _ => 12 })));
            foreach (JsonElement answer in await Task.WhenAll(running))
                Assert.That(Choices(answer), Is.EqualTo(undisturbed));
        }
        Assert.That(await server.WorkerIdsAsync(), Is.EqualTo(workers), "the processes are those that were");
        Assert.That((await control.ReshardAsync(new ReshardRequest(), deadline: DateTime.UtcNow + s_patience)).Move, Is.Null, "it has that split");
        RpcException refused = (await Assert.ThrowsAsync<RpcException>(async () => await control.ReshardAsync(new ReshardRequest { Weights = { 1, 2, 3 } }, deadline: DateTime.UtcNow + s_patience)))!;
        Assert.That((refused.StatusCode, refused.Status.Detail), Is.EqualTo((StatusCode.InvalidArgument, "'weights' is 3 numbers; it must be none, or one for each of 2 workers.")));
    }

    private static string Choices(JsonElement answer) => answer.GetProperty("choices").GetRawText();

    private static int Leaves(JsonElement topology) => topology.GetProperty("ranks")[0].GetProperty("mlp_leaves").GetProperty("end").GetInt32();
}
