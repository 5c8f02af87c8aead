using System.Text.Json;
using NUnit.Framework;

namespace TpServe.EndToEnd.Tests;

/// <summary>Vectors of the real model through real processes: the same bits on any group, and texts about one thing near each other.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class EmbeddingTests
{
    private static readonly string[] Texts =
    [
        "The cat sleeps on the warm sofa.",
        "A kitten is napping on the couch.",
        "Interest rates rose by two percent last quarter.",
        string.Concat(Enumerable.Repeat("Every rank computes its part of each matrix, and all ranks finish the same sum in the same order. ", 8)),
    ];

    [Test]
    public async Task Vectors_OfAnyGroup_HaveTheBitsOfOneRank()
    {
        float[][]? expected = null;
        foreach (string[] flags in new string[][] { ["--tp", "1"], ["--tp", "2", "--chunk-tokens", "16"], ["--tp", "3", "--transport", "ring"] })
        {
            await using ServerProcess server = await ServerProcess.StartAsync(flags);
            Task<JsonElement> beside = server.PostAsync("/v1/completions", new { prompt = "Once upon a time", max_tokens = 16, ignore_eos = true });
            float[][] vectors = await EmbedAsync(server, Texts);
            await beside;
            expected ??= vectors;
            Assert.That(vectors, Is.EqualTo(expected), string.Join(' ', flags));
            Assert.That((await EmbedAsync(server, Texts[3]))[0], Is.EqualTo(expected[3]), "alone, and from the cache");
        }
        double alike = Cosine(expected![0], expected[1]), unlike = Cosine(expected[0], expected[2]);
        TestContext.Out.WriteLine($"alike {alike:f4}, unlike {unlike:f4}");
        Assert.That(alike, Is.GreaterThan(unlike));
    }

    private static async Task<float[][]> EmbedAsync(ServerProcess server, params string[] texts)
    {
        JsonElement answer = await server.PostAsync("/v1/embeddings", new { input = texts });
        return [.. answer.GetProperty("data").EnumerateArray().Select(one => one.GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle()).ToArray())];
    }

    private static double Cosine(float[] a, float[] b) => a.Zip(b).Sum(pair => (double)pair.First * pair.Second);
}
