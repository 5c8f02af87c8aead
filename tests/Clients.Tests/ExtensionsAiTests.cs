using System.ClientModel;
using Anthropic;
using Microsoft.Extensions.AI;
using NUnit.Framework;
using OllamaSharp;
using OpenAI;
using TpServe.Client;

namespace TpServe.Clients.Tests;

/// <summary>The same program by Microsoft.Extensions.AI over each of its providers, and over the client of this repository.</summary>
[Category("MultiProcess")]
public sealed class ExtensionsAiTests
{
    private const string Question = "Why is the sky blue?";
    private const int OutputTokens = 12;
    private TpServeClient? _client;

    [OneTimeSetUp]
    public void Connect() => _client = new TpServeClient(new TpServeClientOptions { Address = RunningServer.Grpc, Deadline = TimeSpan.FromSeconds(60) });

    [OneTimeTearDown]
    public void Disconnect() => _client!.Dispose();

    private static OpenAIClient OpenAi() => new(new ApiKeyCredential("none"), new OpenAIClientOptions { Endpoint = RunningServer.OpenAi });

    private IChatClient Chat(string provider)
    {
        switch (provider)
        {
            case "tpserve":
                return _client!.AsIChatClient();
            case "openai":
                return OpenAi().GetChatClient(RunningServer.Model).AsIChatClient();
            case "openai responses":
                NeedsAttribute.Require(Feature.Responses);
                return OpenAi().GetResponsesClient().AsIChatClient(RunningServer.Model);
            case "anthropic":
                NeedsAttribute.Require(Feature.Messages);
                return new AnthropicClient { BaseUrl = RunningServer.Http.ToString(), ApiKey = "none", MaxRetries = 0 }.AsIChatClient(RunningServer.Model, OutputTokens);
            case "ollama":
                NeedsAttribute.Require(Feature.Ollama);
                return new OllamaApiClient(RunningServer.Http, RunningServer.Model);
            default:
                throw new ArgumentOutOfRangeException(nameof(provider), provider, null);
        }
    }

    // Anthropic's SDK sends no temperature, and the Responses adapter of this release streams by a method that OpenAI's SDK has no longer.
    [Test]
    public async Task Chat_WholeAndStreamed_Agree([Values("tpserve", "openai", "ollama")] string provider)
    {
        using IChatClient chat = Chat(provider);
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = OutputTokens };
        ChatResponse whole = await chat.GetResponseAsync(Question, options);
        ChatResponse streamed = await chat.GetStreamingResponseAsync(Question, options).ToChatResponseAsync();
        Assert.That(whole.Text, Is.Not.Empty);
        Assert.That((streamed.Text, streamed.FinishReason, streamed.ModelId), Is.EqualTo((whole.Text, whole.FinishReason, RunningServer.Model)));
        Assert.That(whole.FinishReason, Is.EqualTo(ChatFinishReason.Length));
        Assert.That((streamed.Usage!.InputTokenCount, streamed.Usage.OutputTokenCount), Is.EqualTo((whole.Usage!.InputTokenCount, (long?)OutputTokens)));
    }

    [Test]
    public async Task Chat_Anthropic_IsAnsweredWholeAndStreamed()
    {
        using IChatClient chat = Chat("anthropic");
        foreach (ChatResponse response in new[] { await chat.GetResponseAsync(Question), await chat.GetStreamingResponseAsync(Question).ToChatResponseAsync() })
        {
            Assert.That(response.Text, Is.Not.Empty);
            Assert.That(response.FinishReason, Is.AnyOf(ChatFinishReason.Stop, ChatFinishReason.Length));
            Assert.That(response.Usage!.OutputTokenCount, Is.InRange(1, OutputTokens));
        }
    }

    [Test]
    public async Task Chat_EveryProvider_SaysTheSame()
    {
        List<string> texts = [];
        foreach (string provider in new[] { "tpserve", "openai", "openai responses", "ollama" })
        {
            using IChatClient chat = Chat(provider);
            texts.Add((await chat.GetResponseAsync(Question, new ChatOptions { Temperature = 0, MaxOutputTokens = OutputTokens })).Text);
        }
        Assert.That(texts, Is.All.EqualTo(texts[0]));
    }

    [Test]
    public async Task Chat_OfAType_GivesOne([Values("tpserve", "openai", "openai responses", "anthropic", "ollama")] string provider)
    {
        using IChatClient chat = Chat(provider);
        ChatResponse<Trip> response = await chat.GetResponseAsync<Trip>("We drive to Ulm by car.", new ChatOptions { Temperature = 0, MaxOutputTokens = 60 });
        Assert.That(response.TryGetResult(out Trip? trip), Is.True, response.Text);
        Assert.That(Enum.IsDefined(trip!.To), Is.True);
    }

    // Ollama's API cannot require a call.
    [Needs(Feature.Tools)]
    [TestCase("tpserve", false), TestCase("tpserve", true)]
    [TestCase("openai", false), TestCase("openai", true)]
    [TestCase("anthropic", false), TestCase("anthropic", true)]
    [TestCase("openai responses", false)]
    public async Task UseFunctionInvocation_RequiredFunction_IsCalledAndAnswered(string provider, bool streams)
    {
        Weather weather = new();
        using IChatClient chat = Chat(provider).AsBuilder().UseFunctionInvocation(configure: invoking => invoking.MaximumIterationsPerRequest = 2).Build();
        ChatOptions options = new()
        {
            Temperature = 0,
            MaxOutputTokens = 48,
            Tools = [AIFunctionFactory.Create(weather.Tell, Weather.Name)],
            ToolMode = ChatToolMode.RequireSpecific(Weather.Name),
        };
        const string Asks = "What is the weather in Bonn?";
        ChatResponse response = streams
            ? await chat.GetStreamingResponseAsync(Asks, options).ToChatResponseAsync()
            : await chat.GetResponseAsync(Asks, options);
        Assert.That(weather.Asked, Is.Not.Empty);
        Assert.That(response.Messages.SelectMany(message => message.Contents).OfType<FunctionResultContent>().First().Result?.ToString(), Does.StartWith("Sunny in"));
    }

    [Test, Needs(Feature.Embeddings)]
    public async Task Embeddings_OfTwoTexts_AreTheSameTwoVectors()
    {
        using IEmbeddingGenerator<string, Embedding<float>> ours = _client!.AsIEmbeddingGenerator(), theirs = OpenAi().GetEmbeddingClient(RunningServer.Model).AsIEmbeddingGenerator();
        GeneratedEmbeddings<Embedding<float>> vectors = await ours.GenerateAsync(["a cat", "a dog"]), same = await theirs.GenerateAsync(["a cat", "a dog"]);
        Assert.That(vectors.Select(vector => vector.Dimensions), Is.EqualTo(new[] { 576, 576 }));
        Assert.That(same.Select(vector => vector.Vector.ToArray()), Is.EqualTo(vectors.Select(vector => vector.Vector.ToArray())));
        Assert.That(same.Usage!.InputTokenCount, Is.EqualTo(vectors.Usage!.InputTokenCount));
    }

    internal sealed record Trip(City To);
}
