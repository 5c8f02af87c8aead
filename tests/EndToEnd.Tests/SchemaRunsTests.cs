using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Grammar.Tests;

namespace TpServe.EndToEnd.Tests;

/// <summary>What a sampling model writes under a schema is accepted by an independent validator whenever it comes to its end.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class SchemaRunsTests
{
    private const int AtOnce = 4;

    [Test]
    public Task FinishedOutputs_OfEverySchema_AreValid() => RunAsync(outputs: 1, seeds: 1, maxTokens: 48);

    [Test]
    [Category("Slow")]
    [Explicit("some minutes")]
    public Task FinishedOutputs_OfAThousandRuns_AreValid() => RunAsync(outputs: 8, seeds: 2, maxTokens: 96);

    private static async Task RunAsync(int outputs, int seeds, int maxTokens)
    {
        await using ServerProcess server = await ServerProcess.StartAsync();
        int ended = 0, cut = 0;
        var runs = from seed in Enumerable.Range(1, seeds) from schema in SchemaSamples.All select (Seed: seed, Schema: schema);
        await Parallel.ForEachAsync(runs, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (run, cancellation) =>
        {
            string json = $$$"""
                {"messages":[{"role":"user","content":"Write an example."}],"temperature":1,"seed":{{{run.Seed}}},"n":{{{outputs}}},"max_tokens":{{{maxTokens}}},
                 "response_format":{"type":"json_schema","json_schema":{"name":"example","schema":{{{run.Schema}}} } } }
                """;
            using HttpResponseMessage response = await server.Http.PostAsync("/v1/chat/completions", new StringContent(json, null, "application/json"), cancellation);
            JsonElement body = await response.Content.ReadFromJsonAsync<JsonElement>(cancellation);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
            SchemaValidator validator = new(run.Schema);
            foreach (JsonElement choice in body.GetProperty("choices").EnumerateArray())
            {
                string text = choice.GetProperty("message").GetProperty("content").GetString()!, reason = choice.GetProperty("finish_reason").GetString()!;
                Assert.That(reason, Is.EqualTo("stop").Or.EqualTo("length"), text);
                if (reason == "stop")
                    Assert.That(validator.Accepts(Encoding.UTF8.GetBytes(text)), Is.True, $"seed {run.Seed} of {run.Schema}: {text}");
                Interlocked.Increment(ref reason == "stop" ? ref ended : ref cut);
            }
        });
        TestContext.Out.WriteLine($"{ended} outputs came to their end, {cut} were cut by max_tokens");
        Assert.That(ended, Is.GreaterThan((ended + cut) / 2), "outputs that came to their end");
    }
}
