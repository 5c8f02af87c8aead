using System.ClientModel;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using OpenAI;
using OpenAI.Chat;
using TpServe.Protos.V1;

namespace TpServe.EndToEnd.Tests;

/// <summary>The main job, by clients nobody here wrote: the embedded model answers through two worker processes.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class ClientTests
{
    private ServerProcess? _server;
    private GrpcChannel? _channel;

    private ServerProcess Server => _server!;

    private Inference.InferenceClient Inference => new(_channel);

    private static DateTime Soon => DateTime.UtcNow + TimeSpan.FromSeconds(60);

    [OneTimeSetUp]
    public async Task Start()
    {
        _server = await ServerProcess.StartAsync();
        _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{_server.GrpcPort}");
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        _channel?.Dispose();
        if (_server is not null)
            await _server.DisposeAsync();
    }

    private ChatClient OpenAi() => new(
        "SmolLM2-135M-Instruct.Q4_1",
        new ApiKeyCredential("none"),
        new OpenAIClientOptions { Endpoint = new Uri($"http://127.0.0.1:{Server.HttpPort.ToString(CultureInfo.InvariantCulture)}/v1") });

    [Test]
    public async Task OpenAiClient_AsksAboutTheSky_IsAnswered()
    {
        ChatCompletion answer = await OpenAi().CompleteChatAsync(
            [new SystemChatMessage("You answer in one short sentence."), new UserChatMessage("Why is the sky blue?")],
            new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 32 });
        Assert.That(answer.Content[0].Text, Does.Contain("scattering"));
        Assert.That(answer.Usage.OutputTokenCount, Is.InRange(1, 32));
        Assert.That(answer.FinishReason, Is.AnyOf(ChatFinishReason.Stop, ChatFinishReason.Length));
    }

    [Test]
    public async Task OpenAiClient_Streams_TheTextOfThePlainAnswer()
    {
        OpenAI.Chat.ChatMessage[] messages = [new UserChatMessage("Count from one to five.")];
        ChatCompletionOptions options = new() { Temperature = 0, MaxOutputTokenCount = 40 };
        ChatCompletion plain = await OpenAi().CompleteChatAsync(messages, options);
        StringBuilder streamed = new();
        int updates = 0;
        await foreach (StreamingChatCompletionUpdate update in OpenAi().CompleteChatStreamingAsync(messages, options))
        {
            updates++;
            foreach (ChatMessageContentPart part in update.ContentUpdate)
                streamed.Append(part.Text);
        }
        Assert.That(streamed.ToString(), Is.EqualTo(plain.Content[0].Text));
        Assert.That(updates, Is.GreaterThan(3));
    }

    [Test]
    public async Task TraceSteps_WhileARequestRuns_HasTheSameExchangesOnBothRanks()
    {
        using AsyncServerStreamingCall<TracedStep> call = new Control.ControlClient(_channel).TraceSteps(new TraceStepsRequest { Steps = 6 }, deadline: Soon);
        Task answer = Inference.GenerateAsync(
            new GenerateRequest { Text = "One, two, three,", Sampling = new SamplingOptions { Temperature = 0 }, Stopping = new StoppingOptions { MaxTokens = 200, IgnoreEos = true } }, deadline: Soon).ResponseAsync;
        List<TracedStep> steps = [];
        await foreach (TracedStep step in call.ResponseStream.ReadAllAsync())
            steps.Add(step);
        await answer;
        Assert.That(steps, Has.Count.EqualTo(6));
        foreach (TracedStep step in steps)
        {
            Assert.That(step.Ranks, Has.Count.EqualTo(2));
            string[][] operations = [.. step.Ranks.Select(rank => rank.Spans.Where(span => span.Collective).Select(span => span.Name).ToArray())];
            Assert.That(operations[0], Is.EqualTo(operations[1]));
            Assert.That(operations[0].Count(name => name.StartsWith("sum [", StringComparison.Ordinal)), Is.EqualTo(60), "two a layer");
            foreach (TracedRank rank in step.Ranks)
                Assert.That(rank.Spans.All(span => span.StartNanoseconds >= 0 && span.WaitNanoseconds <= span.DurationNanoseconds && span.StartNanoseconds + span.DurationNanoseconds <= rank.DurationNanoseconds));
        }
        JsonElement[] times = [.. (await Server.TopologyAsync()).GetProperty("ranks").EnumerateArray()];
        Assert.That(times.Select(rank => rank.GetProperty("recent").GetArrayLength()), Is.All.EqualTo(3));
    }

    [Test]
    public async Task Grpc_GenerateAndStream_Agree()
    {
        GenerateRequest request = new()
        {
            Text = "The three primary colours are",
            Sampling = new SamplingOptions { Temperature = 0.8f, Seed = 42 },
            Stopping = new StoppingOptions { MaxTokens = 24 },
            Response = new ResponseOptions { TokenIds = true, Logprobs = true, TopLogprobs = 2 },
        };
        GenerateResponse whole = await Inference.GenerateAsync(request, deadline: Soon);
        StringBuilder text = new();
        List<int> ids = [];
        bool started = false, finished = false;
        ulong seq = 0;
        using AsyncServerStreamingCall<GenerateEvent> call = Inference.GenerateStream(request, deadline: Soon);
        await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync())
        {
            Assert.That(happened.Seq, Is.EqualTo(++seq));
            started |= happened.Started is not null;
            finished |= happened.Finished is not null;
            text.Append(happened.Delta?.Text);
            ids.AddRange(happened.Delta?.Tokens.Select(token => token.Id) ?? []);
        }
        Assert.Multiple(() =>
        {
            Assert.That(started && finished, Is.True);
            Assert.That(text.ToString(), Is.EqualTo(whole.Outputs[0].Text));
            Assert.That(ids, Is.EqualTo(whole.Outputs[0].Tokens.Select(token => token.Id)));
        });
    }

    [Test]
    public async Task Grpc_TokenizeAndDetokenize_RoundTrip()
    {
        TokenizeResponse tokens = await Inference.TokenizeAsync(new TokenizeRequest { Text = "Grüße, 世界 🙂" }, deadline: Soon);
        DetokenizeRequest back = new();
        back.TokenIds.AddRange(tokens.TokenIds);
        Assert.That((await Inference.DetokenizeAsync(back, deadline: Soon)).Text, Is.EqualTo("Grüße, 世界 🙂"));
    }

    [Test]
    public async Task Grpc_DeadlineOfTheClient_EndsTheRequest()
    {
        RpcException? end = await Assert.ThrowsAsync<RpcException>(async () => await Inference.GenerateAsync(
            new GenerateRequest { Text = "Once", Stopping = new StoppingOptions { MaxTokens = 4000, IgnoreEos = true } }, deadline: DateTime.UtcNow + TimeSpan.FromMilliseconds(400)));
        Assert.That(end!.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That(await Idle(), Is.True, "its blocks are freed");
    }

    [Test]
    public async Task Grpc_ClientLeaves_FreesItsBlocks()
    {
        using (AsyncServerStreamingCall<GenerateEvent> call = Inference.GenerateStream(
            new GenerateRequest { Text = "Once", Stopping = new StoppingOptions { MaxTokens = 4000, IgnoreEos = true } }, deadline: Soon))
            Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None), Is.True);
        Assert.That(await Idle(), Is.True);
    }

    private async Task<bool> Idle()
    {
        Control.ControlClient control = new(_channel);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(10));
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
        while (!deadline.IsCancellationRequested)
        {
            GetLoadResponse load = await control.GetLoadAsync(new GetLoadRequest(), deadline: Soon);
            if (load.RunningSequences == 0 && load.UsedBlocks == 0)
                return true;
            await pause.WaitForNextTickAsync();
        }
        return false;
    }

    private static IEnumerable<TestCaseData> BadBodies()
    {
        yield return new TestCaseData("{", HttpStatusCode.BadRequest, "").SetArgDisplayNames("malformed JSON");
        yield return new TestCaseData("""{"prompt":"x","temperature":-1}""", HttpStatusCode.BadRequest, "temperature").SetArgDisplayNames("temperature -1");
        yield return new TestCaseData("""{"prompt":"x","top_p":1.5}""", HttpStatusCode.BadRequest, "top_p").SetArgDisplayNames("top_p 1.5");
        yield return new TestCaseData("""{"prompt":"x","max_tokens":1000000}""", HttpStatusCode.BadRequest, "8192").SetArgDisplayNames("max_tokens beyond the context");
        yield return new TestCaseData("""{"prompt":[1,2,49152]}""", HttpStatusCode.BadRequest, "49152").SetArgDisplayNames("token id beyond the vocabulary");
        yield return new TestCaseData("""{"prompt":"x","model":"gpt-17"}""", HttpStatusCode.NotFound, "gpt-17").SetArgDisplayNames("unknown model");
        yield return new TestCaseData("""{"prompt":"x","n":9}""", HttpStatusCode.BadRequest, "n").SetArgDisplayNames("n 9");
    }

    [TestCaseSource(nameof(BadBodies))]
    public async Task Http_BadInput_IsRefusedByNameAndTheNextRequestSucceeds(string body, HttpStatusCode status, string named)
    {
        using StringContent content = new(body, Encoding.UTF8, "application/json");
        using HttpResponseMessage refusal = await Server.Http.PostAsync(new Uri("/v1/completions", UriKind.Relative), content);
        string text = await refusal.Content.ReadAsStringAsync();
        Assert.That(refusal.StatusCode, Is.EqualTo(status), text);
        using JsonDocument error = JsonDocument.Parse(text);
        Assert.That(error.RootElement.GetProperty("error").GetProperty("message").GetString(), Does.Contain(named));
        JsonElement next = await Server.PostAsync("/v1/completions", new { prompt = "Hello", max_tokens = 1 });
        Assert.That(next.GetProperty("choices").GetArrayLength(), Is.EqualTo(1));
    }

    [Test]
    public async Task Http_OverlongPrompt_IsRefusedWithTheLimit()
    {
        HttpRequestException? refusal = await Assert.ThrowsAsync<HttpRequestException>(async () =>
            await Server.PostAsync("/v1/completions", new { prompt = Enumerable.Repeat(1, 9000).ToArray(), max_tokens = 1 }));
        Assert.That(refusal!.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(refusal.Message, Does.Contain("9000").And.Contain("8192"));
    }
}
