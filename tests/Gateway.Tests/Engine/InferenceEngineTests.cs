using NUnit.Framework;
using TpServe.Gateway.Engine;
using TpServe.Protos.V1;
using static TpServe.Gateway.Tests.Engine.EngineFixture;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>What a request's events hold.</summary>
public sealed class InferenceEngineTests
{
    [Test]
    public async Task Generate_ModelEndsItself_StartsThenDeltasThenFinishesWithStop()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("Hello!");
        List<GenerationEvent> events = await fixture.RunAsync(Text("some prompt"));
        Assert.That(events[0], Is.TypeOf<StartedEvent>());
        Assert.That(events.Skip(1).SkipLast(1), Is.All.TypeOf<DeltaEvent>());
        Assert.That(TextOf(events), Is.EqualTo("Hello!"));
        FinishedEvent finished = (FinishedEvent)events[^1];
        Assert.That((finished.Reason, finished.StopString, finished.StopTokenId, finished.CompletionTokens), Is.EqualTo((EndReason.Stop, (string?)null, (int?)null, 7)));
        Assert.That((finished.Totals!.PromptTokens, finished.Totals.CompletionTokens), Is.EqualTo((11, 7)));
    }

    [Test]
    public async Task Generate_MaxTokens_FinishesWithLength()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("Hello!");
        (string text, FinishedEvent finished) = await fixture.AnswerAsync(Text("p", maxTokens: 4));
        Assert.That((text, finished.Reason, finished.CompletionTokens), Is.EqualTo(("Hell", EndReason.Length, 4)));
    }

    [Test]
    public async Task Generate_NoTokensWanted_ComputesThePromptOnly()
    {
        await using EngineFixture fixture = new();
        GenerateRequest request = Text("four", maxTokens: 0);
        request.Response.PromptLogprobs = 0;
        List<GenerationEvent> events = await fixture.RunAsync(request);
        DeltaEvent delta = events.OfType<DeltaEvent>().Single();
        Assert.That((delta.Text, delta.Tokens.Count, delta.PromptTokens.Count), Is.EqualTo(("", 0, 4)));
        Assert.That(events.OfType<FinishedEvent>().Single().Reason, Is.EqualTo(EndReason.Length));
    }

    [TestCase(false, "Hello ")]
    [TestCase(true, "Hello STOP")]
    public async Task Generate_StopStringAcrossTokens_EndsBeforeOrAfterIt(bool include, string expected)
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("Hello STOP world");
        GenerateRequest request = Text("p");
        request.Stopping.Stop.AddRange(["world", "STOP"]);
        request.Stopping.IncludeStop = include;
        (string text, FinishedEvent finished) = await fixture.AnswerAsync(request);
        Assert.That((text, finished.Reason, finished.StopString, finished.CompletionTokens), Is.EqualTo((expected, EndReason.Stop, "STOP", 10)));
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);
    }

    [Test]
    public async Task Generate_StopStringBeforeMinTokens_DoesNotCount()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("a.b.c.d");
        GenerateRequest request = Text("p");
        request.Stopping.Stop.Add(".");
        request.Stopping.MinTokens = 3;
        (string text, FinishedEvent finished) = await fixture.AnswerAsync(request);
        Assert.That((text, finished.StopString), Is.EqualTo(("a.b", ".")));
    }

    [TestCase(false, "ab")]
    [TestCase(true, "abX")]
    public async Task Generate_StopToken_EndsAndNamesIt(bool include, string expected)
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("abXc");
        GenerateRequest request = Text("p");
        request.Stopping.StopTokenIds.Add('X');
        request.Stopping.IncludeStop = include;
        (string text, FinishedEvent finished) = await fixture.AnswerAsync(request);
        Assert.That((text, finished.Reason, finished.StopTokenId, finished.CompletionTokens), Is.EqualTo((expected, EndReason.Stop, (int?)'X', 3)));
    }

    [Test]
    public async Task Generate_IgnoreEos_GoesOnToItsLength()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("ab");
        GenerateRequest request = Text("p", maxTokens: 5);
        request.Stopping.IgnoreEos = true;
        request.Response.TokenIds = true;
        List<GenerationEvent> events = await fixture.RunAsync(request);
        Assert.That(events.OfType<DeltaEvent>().SelectMany(delta => delta.Tokens).Select(token => token.Id), Is.EqualTo(new[] { 'a', 'b', TestModel.End, TestModel.End, TestModel.End }));
        Assert.That(TextOf(events), Is.EqualTo("ab"), "special tokens are left out");
        Assert.That(fixture.Group.Plans[0].NewSequences[0].Sampling.EndTokenIds, Is.Empty);
    }

    [Test]
    public async Task Generate_CharactersOfSeveralTokens_NeverSendsHalfOfOne()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = FakeWorkerGroup.Says("né €5 😀!");
        List<GenerationEvent> events = await fixture.RunAsync(Text("p"));
        Assert.That(TextOf(events), Is.EqualTo("né €5 😀!"));
        Assert.That(events.OfType<DeltaEvent>().Select(delta => delta.Text), Has.None.Contains("\uFFFD"));
    }

    [Test]
    public async Task Generate_PromptLogprobsOverChunks_AreOnePerTokenAndComeOnce()
    {
        await using EngineFixture fixture = new(); // chunks of 8
        GenerateRequest request = Text("a prompt of many chunks", maxTokens: 3);
        request.Response.PromptLogprobs = 2;
        request.Sampling.N = 2;
        List<GenerationEvent> events = await fixture.RunAsync(request);
        IReadOnlyList<ReportedToken> prompt = events.OfType<DeltaEvent>().Single(delta => delta.PromptTokens.Count > 0).PromptTokens;
        Assert.That(prompt.Select(token => (char)token.Id), Is.EqualTo("a prompt of many chunks"));
        Assert.That(prompt[0].Logprobs, Is.Null);
        for (int i = 1; i < prompt.Count; i++)
            Assert.That(prompt[i].Logprobs!.Logprob, Is.EqualTo(FakeWorkerGroup.Logprob(i, prompt[i].Id)));
        Assert.That(prompt[1].Logprobs!.TopIds, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Generate_Logprobs_OneForEachToken()
    {
        await using EngineFixture fixture = new();
        GenerateRequest request = Text("p", maxTokens: 3);
        request.Response.Logprobs = true;
        request.Response.TopLogprobs = 1;
        ReportedToken[] tokens = [.. (await fixture.RunAsync(request)).OfType<DeltaEvent>().SelectMany(delta => delta.Tokens)];
        Assert.That(tokens.Select(token => token.Logprobs!.Logprob), Is.EqualTo(tokens.Select((token, i) => FakeWorkerGroup.Logprob(1 + i, token.Id))));
        Assert.That(tokens.Select(token => token.Logprobs!.TopIds.Single()), Is.EqualTo(tokens.Select(token => token.Id + 1)));
    }

    [Test]
    public async Task Generate_SeveralOutputs_EachIsSampledOnItsOwnAndTotalsComeWithTheLast()
    {
        await using EngineFixture fixture = new();
        GenerateRequest request = Text("p", maxTokens: 6);
        request.Sampling = new SamplingOptions { Temperature = 1, Seed = 5, N = 3 };
        List<GenerationEvent> events = await fixture.RunAsync(request);
        string[] texts = [.. Enumerable.Range(0, 3).Select(output => TextOf(events, output))];
        Assert.That(texts, Is.Unique.And.All.Length.EqualTo(6));
        FinishedEvent[] ends = [.. events.OfType<FinishedEvent>()];
        Assert.That(ends.Select(end => end.OutputIndex), Is.EquivalentTo(new[] { 0, 1, 2 }));
        Assert.That(ends.Select(end => end.Totals is null), Is.EqualTo(new[] { true, true, false }));
        Assert.That(ends[^1].Totals!.CompletionTokens, Is.EqualTo(18));
    }

    [TestCase(1, 1)]
    [TestCase(3, 2)]
    [TestCase(64, 64)]
    public async Task Generate_AnyChunkAndCompany_HasTheSameTokens(int stepTokens, int chunk)
    {
        await using EngineFixture alone = new();
        string[] prompts = ["first prompt", "second", "third one, longer than a chunk"];
        List<string> expected = [];
        foreach (string prompt in prompts)
            expected.Add((await alone.AnswerAsync(Text(prompt, maxTokens: 9))).Text);

        await using EngineFixture together = new(new Requests.ServingSettings
        {
            MaxModelLen = 128,
            MaxStepTokens = stepTokens,
            ChunkTokens = chunk,
            MaxSequences = 16,
            QueueLimit = 16,
        });
        (string Text, FinishedEvent)[] answers = await Task.WhenAll(prompts.Select(prompt => together.AnswerAsync(Text(prompt, maxTokens: 9))));
        Assert.That(answers.Select(answer => answer.Text), Is.EqualTo(expected));
    }

    [Test]
    public async Task Generate_PaddedId_ReportsItWithoutText()
    {
        await using EngineFixture fixture = new();
        fixture.Group.NextToken = (_, _) => TestModel.Vocabulary - 1;
        GenerateRequest request = Text("p", maxTokens: 2);
        request.Response.TokenIds = true;
        List<GenerationEvent> events = await fixture.RunAsync(request);
        Assert.That(TextOf(events), Is.Empty);
        Assert.That(events.OfType<DeltaEvent>().Sum(delta => delta.Tokens.Count), Is.EqualTo(2));
    }
}
