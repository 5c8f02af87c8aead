using Microsoft.Extensions.AI;
using NUnit.Framework;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>IEmbeddingGenerator over Embed.</summary>
public sealed class EmbeddingTests
{
    private static EmbedResponse Lengths(EmbedRequest request)
    {
        EmbedResponse response = new() { PromptTokens = request.Texts.Sum(text => text.Length), Model = request.Model };
        response.Embeddings.AddRange(request.Texts.Select(text => new Protos.V1.Embedding { Values = { text.Length, 0.5f } }));
        return response;
    }

    [Test]
    public async Task Generate_ManyTexts_GoInSeveralCallsAndStayInOrder()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Embeds = Lengths;
        using TpServeClient client = server.Client();
        string[] texts = [.. Enumerable.Range(0, 600).Select(length => new string('a', length))];
        GeneratedEmbeddings<Embedding<float>> embeddings = await client.AsIEmbeddingGenerator("mine").GenerateAsync(texts, new EmbeddingGenerationOptions
        {
            AdditionalProperties = new AdditionalPropertiesDictionary { ["normalize"] = false },
        });
        Assert.That(embeddings.Select(embedding => embedding.Vector.ToArray()), Is.EqualTo(texts.Select(text => new[] { text.Length, 0.5f })));
        Assert.That(server.Embedded.Select(request => (request.Texts.Count, request.Model, request.Normalize)), Is.EqualTo(new[] { (256, "mine", false), (256, "mine", false), (88, "mine", false) }));
        Assert.That(embeddings.Usage!.InputTokenCount, Is.EqualTo(texts.Sum(text => text.Length)));
        Assert.That(embeddings[0].ModelId, Is.EqualTo("mine"));
    }

    [Test]
    public async Task Generate_FewerVectorsThanTexts_IsAFault()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        using TpServeClient client = server.Client();
        Assert.That((await Assert.ThrowsAsync<TpServeException>(async () => await client.AsIEmbeddingGenerator().GenerateAsync(["a"])))!.Message, Does.Contain("0 vectors for 1 texts"));
    }

    private static IEnumerable<TestCaseData> Unserved()
    {
        yield return new TestCaseData(new EmbeddingGenerationOptions { Dimensions = 8 }, "Dimensions").SetArgDisplayNames("Dimensions");
        yield return new TestCaseData(new EmbeddingGenerationOptions { AdditionalProperties = new AdditionalPropertiesDictionary { ["pooling"] = "cls" } }, "pooling").SetArgDisplayNames("pooling");
        yield return new TestCaseData(new EmbeddingGenerationOptions { RawRepresentationFactory = _ => 1 }, "RawRepresentationFactory").SetArgDisplayNames("raw");
    }

    [TestCaseSource(nameof(Unserved))]
    public async Task Generate_OptionsUnserved_AreRefusedByName(EmbeddingGenerationOptions options, string name)
    {
        using TpServeClient client = new("http://127.0.0.1:1");
        Assert.That((await Assert.ThrowsAsync<NotSupportedException>(async () => await client.AsIEmbeddingGenerator().GenerateAsync(["a"], options)))!.Message, Does.Contain(name));
    }
}
