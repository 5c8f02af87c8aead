using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Reflection.V1Alpha;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Api;

/// <summary>tpserve.v1 over a real channel: messages, streaming rules, statuses with their details.</summary>
public sealed class GrpcTests
{
    private static GenerateRequest Text(string text, int maxTokens = 32) => new() { Text = text, Stopping = new StoppingOptions { MaxTokens = maxTokens } };

    private static ChatRequest Hi() => new() { Messages = { new ChatMessage { Role = ChatRole.User, Content = "hi" } } };

    [Test]
    public async Task GenerateStream_Events_StartedDeltasFinishedWithAscendingSeqThenOk()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        GenerateRequest request = Text("abc");
        request.RequestId = "mine";
        request.Response = new ResponseOptions { TokenIds = true, Logprobs = true, PromptLogprobs = 1 };
        using AsyncServerStreamingCall<GenerateEvent> call = api.Inference.GenerateStream(request);
        List<GenerateEvent> events = [];
        await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync())
            events.Add(happened);
        Assert.That(call.GetStatus().StatusCode, Is.EqualTo(StatusCode.OK));
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(Enumerable.Range(1, events.Count).Select(seq => (ulong)seq)));

        Started started = events[0].Started;
        Assert.That((started.RequestId, started.Model, started.PromptTokens, started.CachedTokens, started.Deterministic), Is.EqualTo(("mine", "test-model", 3, 0, true)));
        Assert.That(started.PromptTokenIds, Is.EqualTo(new[] { 97, 98, 99 }));
        Assert.That((started.Sampling.Temperature, started.Sampling.TopP, started.Sampling.TopK, started.Sampling.N), Is.EqualTo((1f, 1f, 0, 1)));
        Assert.That(started.Sampling.HasSeed, Is.True);
        Assert.That(started.Stopping.MaxTokens, Is.EqualTo(32));

        Delta[] deltas = [.. events.Skip(1).SkipLast(1).Select(happened => happened.Delta)];
        Assert.That(string.Concat(deltas.Select(delta => delta.Text)), Is.EqualTo("Hello!"));
        Assert.That(deltas.SelectMany(delta => delta.Tokens).Select(token => token.Id), Is.EqualTo("Hello!".Select(character => (int)character).Append(256)));
        Assert.That(deltas[0].Tokens[0].Bytes.ToByteArray(), Is.EqualTo("H"u8.ToArray()));
        Assert.That(deltas[0].Tokens[0].Logprob, Is.EqualTo(FakeWorkerGroup.Logprob(3, 'H')));
        Assert.That(deltas[0].PromptLogprobs.Select(token => token.HasLogprob), Is.EqualTo(new[] { false, true, true }));
        Assert.That(deltas[0].PromptLogprobs[1].Top.Single().Id, Is.EqualTo(99));

        Finished finished = events[^1].Finished;
        Assert.That((finished.Reason, finished.MatchedCase, finished.CompletionTokens), Is.EqualTo((FinishReason.Stop, Finished.MatchedOneofCase.None, 7)));
        Assert.That((finished.Usage.PromptTokens, finished.Usage.CompletionTokens), Is.EqualTo((3, 7)));
        Assert.That(finished.Timings.TotalSeconds, Is.GreaterThan(0));
    }

    [Test]
    public async Task Generate_Unary_HoldsEverything()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        GenerateRequest request = Text("abc");
        request.Sampling = new SamplingOptions { N = 2, Seed = 3 };
        request.Stopping.Stop.Add("lo");
        GenerateResponse response = await api.Inference.GenerateAsync(request);
        Assert.That(response.Outputs.Select(output => (output.Index, output.Text)), Is.EqualTo(new[] { (0, "Hel"), (1, "Hel") }));
        Assert.That(response.Outputs.Select(output => output.Finished.StopString), Is.All.EqualTo("lo"));
        Assert.That((response.Usage.PromptTokens, response.Usage.CompletionTokens, response.Started.Sampling.Seed), Is.EqualTo((3, 10, 3UL)));
    }

    [Test]
    public async Task Chat_Template_LaysTheConversationOut()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        ChatRequest request = Hi();
        request.Response = new ResponseOptions { TokenIds = true };
        GenerateResponse response = await api.Inference.ChatAsync(request);
        Assert.That(response.Started.PromptTokenIds, Is.EqualTo(new[] { TestModel.User, 'h', 'i', TestModel.Assistant }));
        Assert.That(response.Outputs[0].Text, Is.EqualTo("Hello!"));
        using AsyncServerStreamingCall<GenerateEvent> call = api.Inference.ChatStream(Hi());
        string text = "";
        await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync())
            text += happened.Delta?.Text;
        Assert.That(text, Is.EqualTo("Hello!"));
    }

    [Test]
    public async Task Chat_TemplateVariables_ReachTheTemplate()
    {
        const string Template = "{{ whole }};{{ most }};{{ half }};{{ nothing }};{{ yes }};{{ some }};{{ named }};";
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(Template) });
        ChatRequest chat = Hi();
        chat.TemplateVariables = Struct.Parser.ParseJson(
            """{"whole":5,"most":9007199254740992,"half":-2.5,"nothing":null,"yes":true,"some":[1,["x"]],"named":{"b":1e300,"a":1000000000000000}}""");
        TokenizeResponse tokens = await api.Inference.TokenizeAsync(new TokenizeRequest { Chat = chat });
        Assert.That(
            string.Concat(tokens.TokenIds.Select(id => (char)id)),
            Is.EqualTo("5;9007199254740992;-2.5;None;True;[1, ['x']];{'b': 1e+300, 'a': 1000000000000000};"));
    }

    private static IEnumerable<TestCaseData> BadChats()
    {
        static TestCaseData Case(string name, Action<ChatRequest> spoil, StatusCode status, string field, string message)
        {
            ChatRequest request = Hi();
            spoil(request);
            return new TestCaseData(request, status, field, message).SetArgDisplayNames(name);
        }

        static Struct Variable(Value value) => new() { Fields = { ["a"] = value } };

        Value deep = Value.ForNumber(1);
        for (int i = 0; i < 64; i++)
            deep = Value.ForList(deep);
        yield return Case("no messages", request => request.Messages.Clear(), StatusCode.InvalidArgument, "messages", "1 to 4096");
        yield return Case("role", request => request.Messages[0].Role = ChatRole.Unspecified, StatusCode.InvalidArgument, "messages[0].role", "not given");
        yield return Case("role twice", request => request.Messages[0].RoleName = "functions", StatusCode.InvalidArgument, "messages[0].role_name", "exclude");
        yield return Case("no content", request => request.Messages[0].ClearContent(), StatusCode.InvalidArgument, "messages[0].content", "must be set");
        yield return Case("half a pair", request => request.Messages[0].Name = "\ud800", StatusCode.InvalidArgument, "messages[0].name", "surrogate");
        yield return Case("tool calls", request => request.Messages[0].ToolCalls.Add(new ToolCall()), StatusCode.InvalidArgument, "messages[0].tool_calls", "only the assistant");
        yield return Case("tool name", request => request.Tools.Add(new Tool()), StatusCode.InvalidArgument, "tools[0].function.name", "not given");
        yield return Case("tool schema", request => request.Tools.Add(new Tool { Name = "f", ParametersJsonSchema = "{" }), StatusCode.InvalidArgument, "tools[0].function.parameters", "type object");
        yield return Case("half a pair in a schema", request => request.Tools.Add(new Tool { Name = "f", ParametersJsonSchema = """{"t\udc00":1}""" }), StatusCode.InvalidArgument, "tools[0].function.parameters", "type object");
        yield return Case("tool choice", request => request.ToolChoice = new ToolChoice { Mode = (ToolChoice.Types.Mode)9 }, StatusCode.InvalidArgument, "tool_choice.mode", "ToolChoice.Mode");
        yield return Case("no tool", request => request.ToolChoice = new ToolChoice { Mode = ToolChoice.Types.Mode.Required }, StatusCode.InvalidArgument, "tool_choice", "has none");
        yield return Case("effort", request => request.ReasoningEffort = "huge", StatusCode.InvalidArgument, "reasoning_effort", "minimal");
        yield return Case("NaN", request => request.TemplateVariables = Variable(Value.ForNumber(double.NaN)), StatusCode.InvalidArgument, "template_variables", "finite");
        yield return Case("no kind", request => request.TemplateVariables = Variable(new Value()), StatusCode.InvalidArgument, "template_variables", "no kind");
        yield return Case("deep", request => request.TemplateVariables = Variable(deep), StatusCode.InvalidArgument, "template_variables", "deeper than 64");
        yield return Case(
            "both ends", request => (request.ContinueFinalMessage, request.AddGenerationPrompt) = (true, true), StatusCode.InvalidArgument, "continue_final_message", "exclude");
    }

    [TestCaseSource(nameof(BadChats))]
    public void Chat_BadInput_NamesFieldAndLimit(ChatRequest request, StatusCode status, string field, string message)
    {
        RequestParser parser = new(TestModel.Model(), ApiFixture.Settings, TimeProvider.System);
        RequestRejectedException? refused = Assert.Throws<RequestRejectedException>(() => parser.Parse(request));
        Assert.That((refused!.Status, refused.Field), Is.EqualTo((status, field)));
        Assert.That(refused.Message, Does.Contain(message));
    }

    [TestCase("0S", "4", "'grpc-timeout' is 0")]
    [TestCase("00000000n", "4", "'grpc-timeout' is 0")]
    [TestCase("1n", "4", "deadline")]
    [TestCase("99999999H", "0", "")]
    [TestCase("999999999H", "3", "1 to 8 digits")]
    [TestCase("100000000000000000000000S", "3", "1 to 8 digits")]
    [TestCase("-1S", "3", "1 to 8 digits")]
    [TestCase("1.5S", "3", "1 to 8 digits")]
    [TestCase("1", "3", "1 to 8 digits")]
    [TestCase("S", "3", "1 to 8 digits")]
    [TestCase("1h", "3", "1 to 8 digits")]
    public async Task Generate_TimeoutOfAnyForm_HasADefiniteStatus(string timeout, string status, string message)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        byte[] body = new GenerateRequest { Text = "a", Stopping = new StoppingOptions { MaxTokens = 1 } }.ToByteArray();
        byte[] length = new byte[5];
        BinaryPrimitives.WriteInt32BigEndian(length.AsSpan(1), body.Length);
        using HttpClient client = new();
        using HttpRequestMessage request = new(HttpMethod.Post, $"http://{api.Channel.Target}/tpserve.v1.Inference/Generate")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent([.. length, .. body]),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.TE.ParseAdd("trailers");
        request.Headers.TryAddWithoutValidation("grpc-timeout", timeout);
        using HttpResponseMessage response = await client.SendAsync(request).WaitAsync(TimeSpan.FromSeconds(20));
        await response.Content.ReadAsByteArrayAsync();
        string[] told = [.. response.Headers.Concat(response.TrailingHeaders).Where(header => header.Key is "grpc-status" or "grpc-message").OrderByDescending(header => header.Key, StringComparer.Ordinal).Select(header => header.Value.Single())];
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(told[0], Is.EqualTo(status), string.Join(" ", told));
        Assert.That(told.Length > 1 ? Uri.UnescapeDataString(told[1]) : "", Does.Contain(message));
    }

    [Test]
    public async Task Tokenize_ThereAndBack_IsTheText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        TokenizeResponse tokens = await api.Inference.TokenizeAsync(new TokenizeRequest { Text = "né" });
        Assert.That(tokens.TokenIds, Is.EqualTo(new[] { 'n', 0xC3, 0xA9 }));
        Assert.That(tokens.TokenBytes[1].ToByteArray(), Is.EqualTo(new byte[] { 0xC3 }));
        DetokenizeResponse text = await api.Inference.DetokenizeAsync(new DetokenizeRequest { TokenIds = { tokens.TokenIds } });
        Assert.That(text.Text, Is.EqualTo("né"));
        TokenizeResponse chat = await api.Inference.TokenizeAsync(new TokenizeRequest { Chat = Hi() });
        Assert.That(chat.TokenIds, Has.Count.EqualTo(4));
    }

    private static IEnumerable<TestCaseData> BadRequests()
    {
        static TestCaseData Case(string name, Action<GenerateRequest> spoil, StatusCode status, string reason, string? field)
        {
            GenerateRequest request = Text("a");
            spoil(request);
            return new TestCaseData(request, status, reason, field).SetArgDisplayNames(name);
        }

        yield return Case("no input", request => request.ClearInput(), StatusCode.InvalidArgument, "PROMPT_EMPTY", "prompt");
        yield return Case("empty text", request => request.Text = "", StatusCode.InvalidArgument, "PROMPT_EMPTY", "prompt");
        yield return Case("token id", request => request.TokenIds = new TokenIds { Ids = { 264 } }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "token_ids");
        yield return Case("temperature NaN", request => request.Sampling = new SamplingOptions { Temperature = float.NaN }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "temperature");
        yield return Case("top_p infinite", request => request.Sampling = new SamplingOptions { TopP = float.PositiveInfinity }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "top_p");
        yield return Case("bias NaN", request => request.Sampling = new SamplingOptions { LogitBias = { [1] = float.NaN } }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "logit_bias");
        yield return Case("n", request => request.Sampling = new SamplingOptions { N = 9 }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "n");
        yield return Case("too long", request => request.Stopping.MaxTokens = 128, StatusCode.InvalidArgument, "CONTEXT_EXCEEDED", "max_tokens");
        yield return Case("model", request => request.Model = "other", StatusCode.NotFound, "MODEL_NOT_FOUND", "model");
        yield return Case("constraint", request => request.Constraint = new Constraint(), StatusCode.InvalidArgument, "INVALID_FIELD", "constraint");
        yield return Case("schema", request => request.Constraint = new Constraint { JsonSchema = "{\"not\":{}}" }, StatusCode.Unimplemented, "CONSTRAINT_NOT_IMPLEMENTED", "constraint.json_schema");
        yield return Case("priority", request => request.Priority = 101, StatusCode.InvalidArgument, "OUT_OF_RANGE", "priority");
        yield return Case("lora", request => request.Lora = "x", StatusCode.NotFound, "LORA_NOT_FOUND", "lora");
        yield return Case("salt", request => request.Cache = new CacheOptions { Salt = new string('x', 129) }, StatusCode.InvalidArgument, "OUT_OF_RANGE", "cache.salt");
        yield return Case("draft tokens", request => request.DraftTokens = 17, StatusCode.InvalidArgument, "OUT_OF_RANGE", "draft_tokens");
    }

    [TestCaseSource(nameof(BadRequests))]
    public async Task Generate_BadInput_HasStatusWithErrorInfo(GenerateRequest request, StatusCode status, string reason, string? field)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.GenerateAsync(request));
        Assert.That(refused!.StatusCode, Is.EqualTo(status));
        ErrorInfo info = refused.GetRpcStatus()!.GetDetail<ErrorInfo>();
        Assert.That((info.Reason, info.Domain), Is.EqualTo((reason, "tpserve")));
        Assert.That(info.Metadata["field"], Is.EqualTo(field));
        Assert.That(refused.Status.Detail, Is.Not.Empty);
        Assert.That((await api.Inference.GenerateAsync(Text("a", 1))).Outputs, Has.Count.EqualTo(1), "a request after the bad one");
    }

    [Test]
    public async Task ResumeStream_AfterAnEvent_GivesTheRestWithItsNumbers()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        GenerateRequest request = Text("a", 5);
        request.RequestId = "mine";
        List<GenerateEvent> whole = await ReadAsync(api.Inference.GenerateStream(request));
        List<GenerateEvent> rest = await ReadAsync(api.Inference.ResumeStream(new ResumeStreamRequest { RequestId = "mine", AfterSeq = 3 }));
        Assert.That(rest, Is.EqualTo(whole.Skip(3)));
        RpcException? gone = await Assert.ThrowsAsync<RpcException>(async () => await ReadAsync(api.Inference.ResumeStream(new ResumeStreamRequest { RequestId = "other" })));
        Assert.That((gone!.StatusCode, gone.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.NotFound, "STREAM_NOT_FOUND")));
    }

    private static async Task<List<GenerateEvent>> ReadAsync(AsyncServerStreamingCall<GenerateEvent> call)
    {
        using (call)
        {
            List<GenerateEvent> events = [];
            while (await call.ResponseStream.MoveNext())
                events.Add(call.ResponseStream.Current);
            return events;
        }
    }

    [Test]
    public async Task FlushPrefixCache_AfterARequest_ForgetsItsBlocks()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        GenerateRequest request = Text("a prompt of some length", 2);
        await api.Inference.GenerateAsync(request);
        Assert.That((await api.Inference.GenerateAsync(request)).Usage.CachedTokens, Is.EqualTo(20));
        Assert.That((await api.Control.FlushPrefixCacheAsync(new FlushPrefixCacheRequest())).Blocks, Is.GreaterThanOrEqualTo(5));
        Assert.That((await api.Inference.GenerateAsync(request)).Usage.CachedTokens, Is.Zero);
        request.Cache = new CacheOptions { Bypass = true };
        Assert.That((await api.Inference.GenerateAsync(request)).Usage.CachedTokens, Is.Zero);
    }

    [TestCase(new byte[] { 0x1A, 0x02, 0xC3, 0x28 }, TestName = "Generate_TextNotUtf8_IsRefused")] // field 3, two bytes that are not UTF-8
    [TestCase(new byte[] { 0x1A, 0x7F, 0x61 }, TestName = "Generate_ProtoCutShort_IsRefused")]
    public async Task Generate_MalformedMessage_IsInvalidArgument(byte[] message)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        Method<byte[], byte[]> raw = new(
            MethodType.Unary, "tpserve.v1.Inference", "Generate", Marshallers.Create<byte[]>(bytes => bytes, bytes => bytes), Marshallers.Create<byte[]>(bytes => bytes, bytes => bytes));
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(
            async () => await api.Channel.CreateCallInvoker().AsyncUnaryCall(raw, null, default, message));
        Assert.That(refused!.StatusCode, Is.EqualTo(StatusCode.InvalidArgument), refused.Status.Detail);
    }

    [Test]
    public async Task Generate_MessageTooLarge_IsResourceExhaustedWithItsLimit()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.GenerateAsync(Text(new string('a', 5 << 20))));
        Assert.That(refused!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        ErrorInfo info = refused.GetRpcStatus()!.GetDetail<ErrorInfo>();
        Assert.That((info.Reason, info.Metadata["limit"]), Is.EqualTo(("MESSAGE_TOO_LARGE", "4194304 bytes")));
        Assert.That((await api.Inference.GenerateAsync(Text("a", 1))).Outputs, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task GenerateStream_DeadlineInTheQueue_IsDeadlineExceeded()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(start: false);
        RpcException? late = await Assert.ThrowsAsync<RpcException>(
            async () => await api.Inference.GenerateAsync(Text("a"), deadline: DateTime.UtcNow.AddMilliseconds(300)));
        Assert.That(late!.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That(() => api.Engine.Load().WaitingSequences, Is.Zero.After(10_000, 10));
    }

    [Test]
    public async Task GenerateStream_ClientCancels_FreesItsBlocks()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        using AsyncServerStreamingCall<GenerateEvent> call = api.Inference.GenerateStream(Text("a"));
        await group.StepBeganAsync();
        call.Dispose();
        Assert.That(() => api.Engine.Load().UsedBlocks, Is.Zero.After(10_000, 10));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task GenerateStream_GroupLost_GoesOnAndSaysSoWhereAsked(bool asks)
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        GenerateRequest request = Text("a", 3);
        request.Response = new ResponseOptions { Recovering = asks };
        Task<List<GenerateEvent>> call = ReadAsync(api.Inference.GenerateStream(request));
        await group.StepBeganAsync();
        group.Manual = false;
        group.Lose("rank 1 exited with code 137");
        group.Start();
        List<GenerateEvent> events = await call;
        Assert.That(events.Select(one => one.Seq), Is.EqualTo(Enumerable.Range(1, events.Count).Select(seq => (ulong)seq)));
        Assert.That(events.Where(one => one.Recovering is not null).Select(one => one.Recovering.Reason), Is.EqualTo(asks ? new[] { "rank 1 exited with code 137" } : []));
        Assert.That(events[^1].Finished.CompletionTokens, Is.EqualTo(3));
    }

    [Test]
    public async Task Generate_CircuitIsOpen_IsUnavailableWithTheReasonAndRetryInfo()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.Inference.GenerateAsync(Text("a", 1));
        api.Group.Lose("rank 1 exited");
        api.Group.Break("the model file is gone");
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.GenerateAsync(Text("a", 1)));
        Assert.That((refused!.StatusCode, refused.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.Unavailable, "GROUP_UNAVAILABLE")));
        Assert.That(refused.Status.Detail, Does.Contain("the model file is gone"));
        Assert.That(refused.GetRpcStatus()!.GetDetail<RetryInfo>().RetryDelay.Seconds, Is.EqualTo(2));
    }

    [TestCase(Wire.F32, "f32", true)]
    [TestCase(Wire.Q8, "q8", false)]
    public async Task Server_RoundsWhatWorkersSend_SaysSoEverywhere(Wire wire, string word, bool deterministic)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { Wire = wire });
        Assert.That((await api.Inference.GenerateAsync(Text("abc", 2))).Started.Deterministic, Is.EqualTo(deterministic));
        GetServerInfoResponse info = await api.Control.GetServerInfoAsync(new GetServerInfoRequest());
        Assert.That((info.Wire, info.Deterministic), Is.EqualTo((word, deterministic)));
        using HttpResponseMessage answer = await api.SendAsync("/v1/completions", """{"prompt": "abc", "max_tokens": 2}""");
        Assert.That(answer.Headers.TryGetValues("tpserve-wire", out IEnumerable<string>? values) ? values.Single() : "f32", Is.EqualTo(word));
    }

    [Test]
    public async Task Control_TellsServerModelsTopologyAndLoad()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.Inference.GenerateAsync(Text("abc", 2));
        GetServerInfoResponse info = await api.Control.GetServerInfoAsync(new GetServerInfoRequest());
        Assert.That((info.Model, info.MaxModelLen, info.Degree, info.Deterministic, info.Chat, info.DefaultSampling.Temperature), Is.EqualTo(("test-model", 128, 2, true, true, 1f)));
        ModelInfo model = (await api.Control.ListModelsAsync(new ListModelsRequest())).Models.Single();
        Assert.That((model.Id, model.Architecture, model.Vocabulary), Is.EqualTo(("test-model", "llama", 264)));
        GetTopologyResponse topology = await api.Control.GetTopologyAsync(new GetTopologyRequest());
        Assert.That((topology.Epoch, topology.State, topology.Ranks.Count), Is.EqualTo((1L, GroupState.Ready, 2)));
        Assert.That(topology.DeviceReason, Is.EqualTo("--device cpu"));
        Assert.That((topology.Ranks[0].Paths.Single().Peer, topology.Ranks[0].Paths.Single().RoundTripMicroseconds, topology.Ranks[0].Paths.Single().BytesPerSecond), Is.EqualTo((1, 4.5, 2e11)));
        Assert.That((topology.Ranks[0].Heads.Start, topology.Ranks[0].Heads.End, topology.Ranks[0].StepMicroseconds), Is.EqualTo((0, 2, 7)));
        GetLoadResponse load = await api.Control.GetLoadAsync(new GetLoadRequest());
        Assert.That((load.TotalBlocks, load.UsedBlocks, load.Steps, load.GeneratedTokens, load.PromptTokens), Is.EqualTo((256, 0, 2L, 2L, 3L)));
    }

    [Test]
    public async Task Abort_Running_FinishesAsAbortedAndOk()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        GenerateRequest request = Text("a");
        request.RequestId = "mine";
        AsyncUnaryCall<GenerateResponse> call = api.Inference.GenerateAsync(request);
        await group.StepBeganAsync();
        await api.Control.AbortAsync(new AbortRequest { RequestId = "mine" });
        Assert.That((await call).Outputs[0].Finished.Reason, Is.EqualTo(FinishReason.Aborted));
        RpcException? unknown = await Assert.ThrowsAsync<RpcException>(async () => await api.Control.AbortAsync(new AbortRequest { RequestId = "mine" }));
        Assert.That(unknown!.StatusCode, Is.EqualTo(StatusCode.NotFound));
    }

    [Test]
    public async Task Drain_Idle_AnswersAndRefusesNewRequests()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        Assert.That((await api.Control.DrainAsync(new DrainRequest())).RemainingRequests, Is.Zero);
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.GenerateAsync(Text("a")));
        Assert.That(refused!.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason, Is.EqualTo("DRAINING"));
        Assert.That((await api.GetAsync("/health/ready")).GetRawText(), Is.EqualTo("""{"status":"draining"}"""));
    }

    [Test]
    public async Task Health_FollowsTheGroup()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(start: false);
        Health.HealthClient health = new(api.Channel);
        Assert.That((await health.CheckAsync(new HealthCheckRequest())).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.NotServing));
        api.Group.Start();
        Assert.That((await health.CheckAsync(new HealthCheckRequest())).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        Assert.That((await health.CheckAsync(new HealthCheckRequest { Service = "tpserve.v1.Inference" })).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
    }

    [Test]
    public async Task Reflection_ListsTheServices()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        ServerReflection.ServerReflectionClient client = new(api.Channel);
        using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call = client.ServerReflectionInfo();
        await call.RequestStream.WriteAsync(new ServerReflectionRequest { ListServices = "" });
        Assert.That(await call.ResponseStream.MoveNext(), Is.True);
        Assert.That(
            call.ResponseStream.Current.ListServicesResponse.Service.Select(service => service.Name),
            Is.SupersetOf(new[] { "tpserve.v1.Inference", "tpserve.v1.Control", "grpc.health.v1.Health" }));
        await call.RequestStream.CompleteAsync();
    }
}
