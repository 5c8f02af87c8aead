using Grpc.Core;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Api;

/// <summary>What a request that leaves things out gets: the model's defaults, then the documented ones; what it sets is what it gets.</summary>
public sealed class RequestParserTests
{
    private static readonly GenerationDefaults s_model = new()
    {
        EosTokenIds = [TestModel.End, 7],
        Temperature = 0.6f,
        TopP = 0.9f,
        TopK = 40,
        MinP = 0.05f,
        RepetitionPenalty = 1.1f,
    };

    private static RequestParser Parser(GenerationDefaults? defaults = null, ServingSettings? settings = null) =>
        new(TestModel.Model(defaults), settings ?? new ServingSettings { MaxModelLen = 100 }, new ManualTime(), () => 4711);

    private static SamplingParameters Sampling(GenerationDefaults? defaults, SamplingOptions? asked) =>
        Parser(defaults).Parse(new GenerateRequest { Text = "abc", Sampling = asked }).Sampling;

    [Test]
    public void Parse_NothingSet_TakesTheModelsDefaults()
    {
        SamplingParameters sampling = Sampling(s_model, null);
        Assert.That(
            (sampling.Temperature, sampling.TopP, sampling.TopK, sampling.MinP, sampling.RepetitionPenalty), Is.EqualTo((0.6f, 0.9f, 40, 0.05f, 1.1f)));
        Assert.That((sampling.PresencePenalty, sampling.FrequencyPenalty, sampling.Seed), Is.EqualTo((0f, 0f, 4711UL)));
    }

    [Test]
    public void Parse_NothingSetAndNoModelDefaults_TakesTheDocumentedOnes()
    {
        SamplingParameters sampling = Sampling(null, null);
        Assert.That((sampling.Temperature, sampling.TopP, sampling.TopK, sampling.MinP, sampling.RepetitionPenalty), Is.EqualTo((1f, 1f, 0, 0f, 1f)));
    }

    [Test]
    public void Parse_ModelSaysNotToSample_IsGreedyUnlessAsked()
    {
        GenerationDefaults greedy = s_model with { DoSample = false };
        Assert.That(Sampling(greedy, null).Temperature, Is.Zero);
        Assert.That(Sampling(greedy, new SamplingOptions { Temperature = 0.7f }).Temperature, Is.EqualTo(0.7f));
    }

    [Test]
    public void Parse_ExplicitZeros_AreZeros()
    {
        SamplingParameters sampling = Sampling(s_model, new SamplingOptions { Temperature = 0, TopP = 0, TopK = 0, MinP = 0, Seed = 0 });
        Assert.That((sampling.Temperature, sampling.TopP, sampling.TopK, sampling.MinP, sampling.Seed), Is.EqualTo((0f, 0f, 0, 0f, 0UL)));
        ValidatedRequest request = Parser().Parse(new GenerateRequest { Text = "abc", Stopping = new StoppingOptions { MaxTokens = 0 } });
        Assert.That(request.Stopping.MaxTokens, Is.Zero);
    }

    [Test]
    public void Parse_MaxTokensUnset_IsTheRestOfTheContext() =>
        Assert.That(Parser().Parse(new GenerateRequest { Text = "abc" }).Stopping.MaxTokens, Is.EqualTo(97));

    [TestCase(99, null, 1)]
    [TestCase(100, 0, 0)]
    public void Parse_PromptUpToTheContext_IsAccepted(int prompt, int? maxTokens, int expected)
    {
        GenerateRequest request = new() { Text = new string('a', prompt), Stopping = new StoppingOptions() };
        if (maxTokens is { } most)
            request.Stopping.MaxTokens = most;
        Assert.That(Parser().Parse(request).Stopping.MaxTokens, Is.EqualTo(expected));
    }

    [TestCase(100, null)]
    [TestCase(101, 0)]
    public void Parse_PromptBeyondTheContext_IsRefused(int prompt, int? maxTokens)
    {
        GenerateRequest request = new() { Text = new string('a', prompt), Stopping = new StoppingOptions() };
        if (maxTokens is { } most)
            request.Stopping.MaxTokens = most;
        Assert.That(() => Parser().Parse(request), Throws.TypeOf<RequestRejectedException>().With.Property("Reason").EqualTo("PROMPT_TOO_LONG"));
    }

    [Test]
    public void Parse_EndTokens_AreTheModelsAndTheRequests()
    {
        StoppingOptions stopping = new() { StopTokenIds = { 9 } };
        Assert.That(Parser(s_model).Parse(new GenerateRequest { Text = "a", Stopping = stopping }).Stopping.EndTokenIds, Is.EquivalentTo(new[] { TestModel.End, 7, 9 }));
        stopping.IgnoreEos = true;
        Assert.That(Parser(s_model).Parse(new GenerateRequest { Text = "a", Stopping = stopping }).Stopping.EndTokenIds, Is.EquivalentTo(new[] { 9 }));
    }

    [Test]
    public void Parse_SpecialTokensInText_AreTokensUnlessTheRequestSaysOtherwise()
    {
        GenerateRequest request = new() { Text = "<|end|>" };
        Assert.That(Parser().Parse(request).PromptTokens, Is.EqualTo(new[] { TestModel.End }));
        request.ParseSpecialTokens = false;
        Assert.That(Parser().Parse(request).PromptTokens, Has.Count.EqualTo(7));
    }

    [Test]
    public void Parse_StopStringThatIsASpecialToken_EndsAtThatTokenToo()
    {
        StoppingOptions stopping = new() { Stop = { "<|user|>", "user", "<|other|>" }, IgnoreEos = true };
        ResolvedStopping ends = Parser().Parse(new GenerateRequest { Text = "a", Stopping = stopping }).Stopping;
        Assert.That(ends.StopStringOfToken, Is.EquivalentTo(new Dictionary<int, string> { [TestModel.User] = "<|user|>" }));
        Assert.That(ends.EndTokenIds, Is.EquivalentTo(new[] { TestModel.User }));
        Assert.That(ends.StopTokenIds, Is.Empty);
    }

    [Test]
    public void Parse_Tools_AreLeftOutWhereNoneIsToBeCalled()
    {
        ChatRequest request = new() { Messages = { new ChatMessage { Role = ChatRole.User, Content = "a" } }, Tools = { new Tool { Name = "f" } }, ToolChoice = new ToolChoice { Mode = ToolChoice.Types.Mode.None } };
        ValidatedRequest valid = Parser().Parse(request);
        Assert.That(valid.PromptTokens, Is.EqualTo(new[] { TestModel.User, 'a', TestModel.Assistant }));
        Assert.That(valid.Answer, Is.Null, "there is nothing to tell apart");
        request.Tools.Clear();
        request.ToolChoice = new ToolChoice { Mode = ToolChoice.Types.Mode.Auto };
        Assert.That(Parser().Parse(request).PromptTokens, Has.Count.EqualTo(3), "there is nothing to call");
    }

    [Test]
    public void Parse_TokenBeyondTheEmbedding_IsRefusedWhateverFormItComesIn()
    {
        // A tokenizer may hold more tokens than the embedding has rows: here the last two special ones.
        ServingModel model = TestModel.Model() with { Config = TestModel.Model().Config with { Vocab = TestModel.Assistant } };
        RequestParser parser = new(model, new ServingSettings { MaxModelLen = 100 }, new ManualTime());
        Refused(() => parser.Parse(new GenerateRequest { Text = "a <|begin|> b", ParseSpecialTokens = true }), "259");
        Refused(() => parser.Parse(new GenerateRequest { TokenIds = new TokenIds { Ids = { 97, 258 } } }), "258");
        Refused(() => parser.Parse(new ChatRequest { Messages = { new ChatMessage { Role = ChatRole.User, Content = "a" } } }), "258");
        Assert.That(parser.Parse(new GenerateRequest { Text = "a <|user|> b", ParseSpecialTokens = true }).PromptTokens, Has.Member(TestModel.User));

        static void Refused(Action parse, string token)
        {
            RequestRejectedException? refused = Assert.Throws<RequestRejectedException>(() => parse());
            Assert.That((refused!.Status, refused.Value), Is.EqualTo((StatusCode.InvalidArgument, token)));
            Assert.That(refused.Message, Does.Contain(token).And.Contain("257"));
        }
    }

    [Test]
    public void Parse_Deadline_IsTheEarlierOfTheClientsAndTheServers()
    {
        ServingSettings settings = new() { MaxModelLen = 100, RequestTimeout = TimeSpan.FromMinutes(1) };
        ManualTime time = new();
        RequestParser parser = new(TestModel.Model(), settings, time);
        Assert.That(parser.Parse(new GenerateRequest { Text = "a" }).Deadline, Is.EqualTo(time.GetUtcNow() + TimeSpan.FromMinutes(1)));
        DateTimeOffset sooner = time.GetUtcNow() + TimeSpan.FromSeconds(1), later = time.GetUtcNow() + TimeSpan.FromHours(1);
        Assert.That(parser.Parse(new GenerateRequest { Text = "a" }, sooner).Deadline, Is.EqualTo(sooner));
        Assert.That(parser.Parse(new GenerateRequest { Text = "a" }, later).Deadline, Is.EqualTo(time.GetUtcNow() + TimeSpan.FromMinutes(1)));
    }

    [Test]
    public void Constructor_ModelsDefaultsOutOfRange_AreRefusedAtStart() =>
        Assert.That(() => Parser(s_model with { TopP = 3 }), Throws.TypeOf<ModelLoadException>().With.Message.Contains("top_p"));
}
