using System.Text.Json;
using NUnit.Framework;

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

    private static string Choices(JsonElement answer) => answer.GetProperty("choices").GetRawText();

    private static int Leaves(JsonElement topology) => topology.GetProperty("ranks")[0].GetProperty("mlp_leaves").GetProperty("end").GetInt32();
}
