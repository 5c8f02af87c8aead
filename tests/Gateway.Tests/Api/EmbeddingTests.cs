using System.Net;
using System.Runtime.InteropServices;
using System.Text.Json;
using Google.Rpc;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;
using WorkerPooling = TpServe.Protos.Worker.Pooling;

namespace TpServe.Gateway.Tests.Api;

/// <summary>/v1/embeddings and Embed over the fake group, whose vectors tell pooling and tokens.</summary>
public sealed class EmbeddingTests
{
    private static float[] Vector(params int[] tokens) => FakeWorkerGroup.Vector(WorkerPooling.Last, tokens);

    private static float[] Bytes(string text) => Vector([.. text.Select(letter => (int)letter)]);

    private static IEnumerable<TestCaseData> Inputs()
    {
        yield return new TestCaseData("\"abc\"", new[] { Bytes("abc") }, 3);
        yield return new TestCaseData("[\"abc\",\"d\"]", new[] { Bytes("abc"), Bytes("d") }, 4);
        yield return new TestCaseData("[5,6,7]", new[] { Vector(5, 6, 7) }, 3);
        yield return new TestCaseData("[[5,6,7],[8]]", new[] { Vector(5, 6, 7), Vector(8) }, 4);
    }

    [TestCaseSource(nameof(Inputs))]
    public async Task Embeddings_EveryShapeOfInput_AnswersAVectorForEach(string input, float[][] expected, int tokens)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/embeddings", $$"""{"input":{{input}},"model":"test-model","normalize":false,"user":"me"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.ToString());
        Assert.That((body.GetProperty("object").GetString(), body.GetProperty("model").GetString()), Is.EqualTo(("list", "test-model")));
        JsonElement[] data = [.. body.GetProperty("data").EnumerateArray()];
        Assert.That(data.Select(one => (one.GetProperty("object").GetString(), one.GetProperty("index").GetInt32())), Is.EqualTo(Enumerable.Range(0, expected.Length).Select(i => ("embedding", i))));
        Assert.That(data.Select(one => one.GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle()).ToArray()), Is.EqualTo(expected));
        JsonElement usage = body.GetProperty("usage");
        Assert.That((usage.GetProperty("prompt_tokens").GetInt32(), usage.GetProperty("total_tokens").GetInt32()), Is.EqualTo((tokens, tokens)));
    }

    [Test]
    public async Task Embeddings_InOllamasWords_AreTheSameVectors()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement own) = await api.PostAsync("/v1/embeddings", """{"input":["abc","d"]}""");
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/api/embed", """{"model":"test-model:latest","input":["abc","d"],"truncate":true}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(
            body.GetProperty("embeddings").EnumerateArray().Select(vector => vector.GetRawText()),
            Is.EqualTo(own.GetProperty("data").EnumerateArray().Select(one => one.GetProperty("embedding").GetRawText())));
        Assert.That((body.GetProperty("model").GetString(), body.GetProperty("prompt_eval_count").GetInt32()), Is.EqualTo(("test-model:latest", 4)));
        (_, JsonElement older) = await api.PostAsync("/api/embeddings", """{"model":"test-model","prompt":"abc"}""");
        Assert.That(older.GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle()), Is.EqualTo(Bytes("abc")));
        (status, body) = await api.PostAsync("/api/embed", """{"model":"test-model"}""");
        Assert.That((status, body.GetProperty("error").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "'input' must be set.")));
    }

    [Test]
    public async Task Embeddings_Base64_IsTheFloatsLittleEndianAndOfLengthOne()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement text) = await api.PostAsync("/v1/embeddings", """{"input":"abc","encoding_format":"base64"}""");
        (_, JsonElement numbers) = await api.PostAsync("/v1/embeddings", """{"input":"abc","encoding_format":"float"}""");
        float[] decoded = [.. MemoryMarshal.Cast<byte, float>(text.GetProperty("data")[0].GetProperty("embedding").GetBytesFromBase64())];
        Assert.That(decoded, Is.EqualTo(numbers.GetProperty("data")[0].GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle())));
        Assert.That(decoded.Sum(value => (double)value * value), Is.EqualTo(1).Within(1e-6));
        Assert.That(decoded[1] / decoded[0], Is.EqualTo(Bytes("abc")[1] / Bytes("abc")[0]).Within(1e-5));
    }

    [TestCase("""{"input":"a","dimensions":4}""", "dimensions", "field_not_implemented")]
    [TestCase("""{"input":"a","truncate_prompt_tokens":4}""", "truncate_prompt_tokens", "field_not_implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}]}""", "messages", "field_not_implemented")]
    [TestCase("""{"input":"a","encoding_format":"bits"}""", "encoding_format", "out_of_range")]
    [TestCase("""{"input":[]}""", "input", "out_of_range")]
    [TestCase("""{"input":""}""", "input", "prompt_empty")]
    [TestCase("""{"input":["a",[1]]}""", "input", "invalid_field")]
    [TestCase("""{"input":{"a":1}}""", "input", "invalid_field")]
    [TestCase("""{"input":[1,264]}""", "input", "out_of_range")]
    [TestCase("""{}""", "input", "invalid_field")]
    [TestCase("""{"input":"a","priority":101}""", "priority", "out_of_range")]
    [TestCase("""{"input":"a","request_id":"two words"}""", "request_id", "out_of_range")]
    public async Task Embeddings_WhatIsNotServed_IsRefusedByName(string json, string field, string code)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/embeddings", json);
        JsonElement error = body.GetProperty("error");
        Assert.That((status, error.GetProperty("param").GetString(), error.GetProperty("code").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, field, code)));
    }

    [Test]
    public async Task Embeddings_LimitsOfLengthAndCount_HoldToTheLastToken()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { Limits = new RequestLimits { EmbeddingInputs = 3 } });
        Assert.That((await api.PostAsync("/v1/embeddings", JsonSerializer.Serialize(new { input = new string('a', 128) }))).Status, Is.EqualTo(HttpStatusCode.OK), "the whole context");
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/embeddings", JsonSerializer.Serialize(new { input = new[] { "a", new string('a', 129) } }));
        Assert.That((status, body.GetProperty("error").GetProperty("code").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "prompt_too_long")));
        Assert.That(body.GetProperty("error").GetProperty("param").GetString(), Is.EqualTo("input"));
        Assert.That((await api.PostAsync("/v1/embeddings", JsonSerializer.Serialize(new { input = Enumerable.Repeat(1, 129) }))).Status, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((await api.PostAsync("/v1/embeddings", """{"input":["a","b","c"]}""")).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await api.PostAsync("/v1/embeddings", """{"input":["a","b","c","d"]}""")).Status, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((await api.PostAsync("/v1/embeddings", """{"input":"a","model":"other"}""")).Status, Is.EqualTo(HttpStatusCode.NotFound));
    }

    [Test]
    public async Task Embeddings_MoreInputsThanTheQueueHoldsAndBatchHolds_AllAreAnsweredInOrder()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        int[][] inputs = [.. Enumerable.Range(0, 60).Select(i => Enumerable.Range(i, 1 + i % 20).ToArray())];
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/embeddings", JsonSerializer.Serialize(new { input = inputs, normalize = false }));
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.ToString());
        Assert.That(
            body.GetProperty("data").EnumerateArray().Select(one => one.GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle()).ToArray()),
            Is.EqualTo(inputs.Select(input => Vector(input))));
        Assert.That(() => (api.Engine.Load().UsedBlocks, api.Engine.Load().WaitingSequences), Is.EqualTo((0, 0)).After(10_000, 10));
    }

    [Test]
    public async Task Embed_GroupLostMeanwhile_GivesTheVectorsItWouldHaveGiven()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        EmbedRequest request = new() { Texts = { "a text of some length", "b" }, Normalize = false };
        AsyncUnaryCall<EmbedResponse> call = api.Inference.EmbedAsync(request);
        await group.StepBeganAsync();
        group.Manual = false;
        group.Lose("rank 1 exited with code 137");
        group.Start();
        EmbedResponse response = await call;
        Assert.That(response.Embeddings.Select(one => one.Values.ToArray()), Is.EqualTo(request.Texts.Select(Bytes)));
        Assert.That((response.PromptTokens, response.Model), Is.EqualTo((22, "test-model")));
    }

    [Test]
    public async Task Embed_Twice_FindsThePrefixInTheCacheUnlessBypassed()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        EmbedRequest request = new() { Texts = { "a text of some length" } };
        EmbedResponse first = await api.Inference.EmbedAsync(request), second = await api.Inference.EmbedAsync(request);
        Assert.That((first.CachedTokens, second.CachedTokens), Is.EqualTo((0, 20)));
        Assert.That(second.Embeddings, Is.EqualTo(first.Embeddings));
        request.Cache = new CacheOptions { Bypass = true };
        Assert.That((await api.Inference.EmbedAsync(request)).CachedTokens, Is.Zero);
    }

    [Test]
    public async Task Embed_DeadlineAndAbort_EndItAndFreeItsBlocks()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        RpcException? late = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.EmbedAsync(new EmbedRequest { Texts = { "a" } }, deadline: DateTime.UtcNow.AddMilliseconds(300)));
        Assert.That(late!.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That(() => api.Engine.Load().UsedBlocks, Is.Zero.After(10_000, 10));

        AsyncUnaryCall<EmbedResponse> call = api.Inference.EmbedAsync(new EmbedRequest { Texts = { "a", "b" }, RequestId = "mine" });
        await Assert.ThatAsync(async () =>
        {
            while (true)
                try
                {
                    return await api.Control.AbortAsync(new AbortRequest { RequestId = "mine" }, deadline: DateTime.UtcNow.AddSeconds(10));
                }
                catch (RpcException early) when (early.StatusCode == StatusCode.NotFound)
                {
                    await Task.Yield(); // it has not arrived yet
                }
        }, Is.EqualTo(new AbortResponse()));
        RpcException? aborted = await Assert.ThrowsAsync<RpcException>(async () => await call);
        Assert.That((aborted!.StatusCode, aborted.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.Aborted, "ABORTED")));
        Assert.That(() => (api.Engine.Load().UsedBlocks, api.Engine.Load().WaitingSequences), Is.EqualTo((0, 0)).After(10_000, 10));
    }

    [TestCase(Pooling.Mean, WorkerPooling.Mean, "mean")]
    [TestCase(Pooling.First, WorkerPooling.First, "first")]
    public async Task Embed_ModelThatPoolsOtherwise_DoesSoAndSaysSo(Pooling pooling, WorkerPooling asked, string word)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { Pooling = new PoolingConfig(pooling) });
        EmbedResponse response = await api.Inference.EmbedAsync(new EmbedRequest { TokenIds = { new TokenIds { Ids = { 5, 6 } } }, Normalize = false });
        Assert.That(response.Embeddings.Single().Values, Is.EqualTo(FakeWorkerGroup.Vector(asked, [5, 6])));
        Assert.That((await api.Control.ListModelsAsync(new ListModelsRequest())).Models.Single().Pooling, Is.EqualTo(word));
    }

    [Test]
    public async Task Embed_PoolingThatIsNotServed_IsAFailedPrecondition()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { Pooling = new PoolingConfig(Pooling.Last, "pooling by rank") });
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.EmbedAsync(new EmbedRequest { Texts = { "a" } }));
        Assert.That((refused!.StatusCode, refused.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.FailedPrecondition, "POOLING_NOT_SERVED")));
        Assert.That((await api.Control.ListModelsAsync(new ListModelsRequest())).Models.Single().Pooling, Is.Empty);
    }

    [Test]
    public async Task Embed_BesideStreams_RunsInTheirSteps()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        AsyncUnaryCall<GenerateResponse> stream = api.Inference.GenerateAsync(new GenerateRequest { Text = "a", Stopping = new StoppingOptions { MaxTokens = 9, IgnoreEos = true } });
        await group.StepBeganAsync();
        AsyncUnaryCall<EmbedResponse> embeds = api.Inference.EmbedAsync(new EmbedRequest { Texts = { "a", "b", "c" } });
        Assert.That(() => api.Engine.Load().WaitingSequences + api.Engine.Load().RunningSequences, Is.EqualTo(4).After(10_000, 10));
        group.Manual = false;
        group.Allow(10);
        Assert.That(((await stream).Outputs.Count, (await embeds).Embeddings.Count), Is.EqualTo((1, 3)));
        Assert.That(group.Plans.Select(plan => (plan.Sequences.Count, Sampled: plan.Sequences.Count(rows => rows.Sample))), Has.Some.EqualTo((4, 1)), "one step of both");
    }
}
