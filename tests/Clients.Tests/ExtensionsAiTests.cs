using System.ClientModel;
using Microsoft.Extensions.AI;
using NUnit.Framework;
using OpenAI;
using TpServe.Client;

namespace TpServe.Clients.Tests;

/// <summary>The same program by Microsoft.Extensions.AI, over OpenAI's SDK and over the client of this repository.</summary>
[TestFixture("openai"), TestFixture("tpserve"), Category("MultiProcess")]
public sealed class ExtensionsAiTests(string provider)
{
    private TpServeClient? _client;

    [OneTimeSetUp]
    public void Connect() => _client = new TpServeClient(new TpServeClientOptions { Address = RunningServer.Grpc, Deadline = TimeSpan.FromSeconds(60) });

    [OneTimeTearDown]
    public void Disconnect() => _client!.Dispose();

    private static OpenAIClient OpenAi() => new(new ApiKeyCredential("none"), new OpenAIClientOptions { Endpoint = RunningServer.OpenAi });

    private IChatClient Chat() => provider == "openai" ? OpenAi().GetChatClient(RunningServer.Model).AsIChatClient() : _client!.AsIChatClient();

    [Test]
    public async Task Chat_WholeAndStreamed_Agree()
    {
        using IChatClient chat = Chat();
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 12 };
        ChatResponse whole = await chat.GetResponseAsync("Why is the sky blue?", options);
        ChatResponse streamed = await chat.GetStreamingResponseAsync("Why is the sky blue?", options).ToChatResponseAsync();
        Assert.That(whole.Text, Is.Not.Empty);
        Assert.That((streamed.Text, streamed.FinishReason, streamed.ModelId), Is.EqualTo((whole.Text, whole.FinishReason, RunningServer.Model)));
        Assert.That((streamed.Usage!.InputTokenCount, streamed.Usage.OutputTokenCount), Is.EqualTo((whole.Usage!.InputTokenCount, whole.Usage.OutputTokenCount)));
    }

    [Test]
    public async Task Chat_OfAType_GivesOne()
    {
        using IChatClient chat = Chat();
        ChatResponse<Trip> response = await chat.GetResponseAsync<Trip>("We drive to Ulm by car.", new ChatOptions { Temperature = 0, MaxOutputTokens = 60 });
        Assert.That(response.TryGetResult(out Trip? trip), Is.True, response.Text);
        Assert.That(Enum.IsDefined(trip!.To), Is.True);
    }

    [Test, Needs(Feature.Tools)]
    public async Task UseFunctionInvocation_RequiredFunction_IsCalledAndAnswered([Values] bool streams)
    {
        Weather weather = new();
        using IChatClient chat = Chat().AsBuilder().UseFunctionInvocation(configure: invoking => invoking.MaximumIterationsPerRequest = 2).Build();
        ChatOptions options = new()
        {
            Temperature = 0,
            MaxOutputTokens = 48,
            Tools = [AIFunctionFactory.Create(weather.Tell, Weather.Name)],
            ToolMode = ChatToolMode.RequireSpecific(Weather.Name),
        };
        const string Question = "What is the weather in Bonn?";
        ChatResponse response = streams
            ? await chat.GetStreamingResponseAsync(Question, options).ToChatResponseAsync()
            : await chat.GetResponseAsync(Question, options);
        Assert.That(weather.Asked, Is.Not.Empty);
        Assert.That(response.Messages.SelectMany(message => message.Contents).OfType<FunctionResultContent>().First().Result?.ToString(), Does.StartWith("Sunny in"));
    }

    [Test, Needs(Feature.Embeddings)]
    public async Task Embeddings_OfTwoTexts_AreTwoVectorsOfOneLength()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = provider == "openai"
            ? OpenAi().GetEmbeddingClient(RunningServer.Model).AsIEmbeddingGenerator() : _client!.AsIEmbeddingGenerator();
        GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync(["a cat", "a dog"]);
        Assert.That(vectors.Select(vector => vector.Dimensions), Is.EqualTo(new[] { 576, 576 }));
        Assert.That(vectors.Usage!.InputTokenCount, Is.GreaterThan(1));
    }

    internal sealed record Trip(City To);
}
