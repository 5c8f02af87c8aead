using Google.Rpc;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.OpenEngine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>openengine.v1 beside tpserve.v1: the same engine in another contract's words.</summary>
public sealed class OpenEngineTests
{
    private static GenerateRequest Request(string prompt = "a") => new() { RequestId = "mine", Model = "test-model", Prompt = prompt, Stopping = new StoppingOptions { MaxTokens = 16 } };

    private static async Task<List<GenerateResponse>> ReadAsync(ApiFixture api, GenerateRequest request, Metadata? headers = null)
    {
        using AsyncServerStreamingCall<GenerateResponse> call = new Inference.InferenceClient(api.Channel).Generate(request, headers, DateTime.UtcNow.AddSeconds(20));
        List<GenerateResponse> events = [];
        await foreach (GenerateResponse one in call.ResponseStream.ReadAllAsync())
            events.Add(one);
        return events;
    }

    [Test]
    public async Task Generate_TextAndTokens_ComeOnceAndEndWithUsage()
    {
        await using ApiFixture api = await ApiFixture.StartAsync("Hello!");
        List<GenerateResponse> events = await ReadAsync(api, Request(), new Metadata { { "openengine-priority", "5" } });
        Assert.That(events.Select(one => one.RequestId), Is.All.EqualTo("mine"));
        TokenOutput[] output = [.. events.Select(one => one.Token).Where(token => token is not null)];
        Assert.That(string.Concat(output.Select(one => one.Text)), Is.EqualTo("Hello!"));
        Assert.That(output.SelectMany(one => one.Tokens).Select(token => (int)token.TokenId), Is.EqualTo("Hello!".Select(letter => (int)letter).Append(TestModel.End)));
        Assert.That(output.Select(one => (one.HasOutputIndex, one.OutputIndex)), Is.All.EqualTo((true, 0u)));
        GenerateResponse last = events[^1];
        Assert.That((last.Finished.Reason, last.Finished.StopMatch.EosTokenId), Is.EqualTo((FinishReason.Stop, (uint)TestModel.End)));
        Assert.That((last.Usage.PromptTokens, last.Usage.CompletionTokens, last.Usage.TotalTokens), Is.EqualTo((1u, 7u, 8u)));
    }

    [Test]
    public async Task Generate_EveryOption_ReachesTheRequest()
    {
        await using ApiFixture api = await ApiFixture.StartAsync("Hello!");
        GenerateRequest request = Request();
        request.ClearInput();
        request.TokenIds = new TokenIds { Ids = { 97, 98 } };
        request.Sampling = new SamplingParams { Temperature = 0, NumSequences = 2, Seed = 7, TopK = -1 };
        request.Stopping.Conditions.Add(new StopCondition { StopText = "lo" });
        request.Response = new ResponseOptions { ReturnPromptLogprobs = true, ReturnOutputLogprobs = true, OutputCandidates = new CandidateTokenSelection { TopN = 2 } };
        request.Kv = new KvOptions { BypassPrefixCache = true };
        List<GenerateResponse> events = await ReadAsync(api, request);
        Assert.That(events.Single(one => one.Prompt is not null).Prompt.Tokens.Select(token => (token.TokenId, token.HasLogprob)), Is.EqualTo(new[] { (97u, false), (98u, true) }));
        GenerationFinished[] ends = [.. events.Where(one => one.Finished is not null).Select(one => one.Finished)];
        Assert.That(ends.Select(end => (end.OutputIndex, end.StopMatch.StopText)), Is.EquivalentTo(new[] { (0u, "lo"), (1u, "lo") }));
        Assert.That(events.Where(one => one.Token is not null).SelectMany(one => one.Token.Tokens).Select(token => token.Candidates.Count), Is.All.EqualTo(2));
        Assert.That(events.Count(one => one.Usage is not null), Is.EqualTo(1));
        Assert.That(events[^1].Usage, Is.Not.Null);
    }

    private static IEnumerable<TestCaseData> Unserved()
    {
        yield return new TestCaseData(new GenerateRequest(Request()) { Media = { new MediaItem() } }, "media");
        yield return new TestCaseData(new GenerateRequest(Request()) { LoraName = "x" }, "lora_name");
        yield return new TestCaseData(new GenerateRequest(Request()) { Kv = new KvOptions { Session = new KvSessionRef() } }, "kv.session");
        yield return new TestCaseData(new GenerateRequest(Request()) { Guided = new GuidedDecoding { StructuralTag = "{}" } }, "guided.structural_tag");
        yield return new TestCaseData(new GenerateRequest(Request()) { Response = new ResponseOptions { ReturnOutputLogprobs = true, OutputCandidates = new CandidateTokenSelection { All = new AllCandidates() } } }, "output_candidates.all");
    }

    [TestCaseSource(nameof(Unserved))]
    public async Task Generate_WhatIsNotServed_IsUnimplementedByName(GenerateRequest request, string field)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await ReadAsync(api, request));
        Assert.That((refused!.StatusCode, refused.GetRpcStatus()!.GetDetail<ErrorInfo>().Metadata["field"]), Is.EqualTo((StatusCode.Unimplemented, field)));
    }

    [TestCase("openengine-priority", "high", StatusCode.InvalidArgument)]
    [TestCase("openengine-priority", "101", StatusCode.InvalidArgument)]
    [TestCase("openengine-target-dp-rank", "1", StatusCode.InvalidArgument)]
    public async Task Generate_WrongMetadata_IsInvalid(string key, string value, StatusCode status)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await ReadAsync(api, Request(), new Metadata { { key, value } }));
        Assert.That(refused!.StatusCode, Is.EqualTo(status));
    }

    [Test]
    public async Task Generate_FailsAfterItBegan_EndsWithAnErrorEventAndOk()
    {
        FakeWorkerGroup group = new() { Spoil = result => result.Sequences[0].Fault = "the logits are not finite" };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        List<GenerateResponse> events = await ReadAsync(api, Request());
        Assert.That((events[^1].Error.Code, events[^1].Error.Retryable), Is.EqualTo((ErrorCode.Internal, false)));
    }

    [Test]
    public async Task Control_FactsHealthAbortAndDrain_AreTheEngines()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        Control.ControlClient control = new(api.Channel);
        ServerInfo server = await control.GetServerInfoAsync(new GetServerInfoRequest());
        Assert.That((server.EngineName, server.EngineRole, server.SchemaRevision, server.Parallelism.TensorParallelSize), Is.EqualTo(("tpserve", EngineRole.Aggregated, 2u, 2u)));
        Assert.That(server.SupportedModels, Is.EqualTo(new[] { "test-model" }));
        ModelInfo model = await control.GetModelInfoAsync(new GetModelInfoRequest { Model = "test-model" });
        Assert.That((model.MaxContextLength, model.KvBlockSize, model.TotalKvBlocks, model.Generation.SupportsPriority), Is.EqualTo((128u, 4u, 256ul, true)));
        RpcException? unknown = await Assert.ThrowsAsync<RpcException>(async () => await control.GetModelInfoAsync(new GetModelInfoRequest { Model = "other" }));
        Assert.That(unknown!.StatusCode, Is.EqualTo(StatusCode.NotFound));
        Assert.That((await control.HealthAsync(new HealthRequest())).State, Is.EqualTo(HealthState.Ready));
        Assert.That((await control.GetKvConnectorInfoAsync(new GetKvConnectorInfoRequest())).Enabled, Is.False);
        RpcException? lora = await Assert.ThrowsAsync<RpcException>(async () => await control.ListLorasAsync(new ListLorasRequest()));
        Assert.That((lora!.StatusCode, lora.Status.Detail), Is.EqualTo((StatusCode.Unimplemented, "'openengine.v1.Control/ListLoras' is not implemented in this release.")));

        Task<List<GenerateResponse>> running = ReadAsync(api, Request());
        await group.StepBeganAsync();
        Assert.That((await control.GetLoadAsync(new GetLoadRequest())).RunningRequests, Is.EqualTo(1));
        Assert.That((await control.AbortAsync(new AbortRequest { RequestId = "mine" })).Status, Is.EqualTo(AbortStatus.Aborted));
        Assert.That((await running)[^1].Finished.Reason, Is.EqualTo(FinishReason.Cancelled));
        RpcException? gone = await Assert.ThrowsAsync<RpcException>(async () => await control.AbortAsync(new AbortRequest { RequestId = "mine" }));
        Assert.That(gone!.StatusCode, Is.EqualTo(StatusCode.NotFound));

        using AsyncServerStreamingCall<DrainResponse> drain = control.Drain(new DrainRequest { StopAcceptingNewRequests = true, DeadlineMs = 20_000 });
        List<DrainResponse> states = [];
        await foreach (DrainResponse one in drain.ResponseStream.ReadAllAsync())
            states.Add(one);
        Assert.That(states.Select(one => one.State), Is.EqualTo(new[] { DrainState.Started, DrainState.Complete }));
        Assert.That((await control.HealthAsync(new HealthRequest())).State, Is.EqualTo(HealthState.Draining));
    }
}
