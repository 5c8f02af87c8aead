using System.Net;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Adapters by request: how they come, are found, and go.</summary>
public sealed class LoraTests
{
    private static readonly string s_folder = TestData.Local("lora");

    private static LoraRegistry Registry(int most = 8, string? folder = null) => new(most, folder ?? s_folder);

    private static Task<ApiFixture> StartAsync(LoraRegistry registry, FakeWorkerGroup? group = null) =>
        ApiFixture.StartAsync(group: group, model: TestModel.Model() with { Loras = registry });

    [Test]
    public async Task Adapter_LoadedOverHttp_IsListedAndFoundByEitherName()
    {
        await using ApiFixture api = await StartAsync(Registry());
        Assert.That(await PostAsync(api, "load", """{"lora_name":"sql","lora_path":"r4-q-v"}"""), Is.EqualTo(HttpStatusCode.OK));
        JsonElement model = (await api.GetAsync("/v1/models")).GetProperty("data")[1];
        Assert.That((model.GetProperty("id").GetString(), model.GetProperty("parent").GetString()), Is.EqualTo(("sql", "test-model")));
        foreach (string name in new[] { "sql", "test-model:sql" })
        {
            (HttpStatusCode status, JsonElement answer) = await api.PostAsync("/v1/completions", $$"""{"model":"{{name}}","prompt":"a","max_tokens":1}""");
            Assert.That((status, answer.GetProperty("model").GetString()), Is.EqualTo((HttpStatusCode.OK, "sql")), name);
        }
        Assert.That((await api.PostAsync("/api/generate", """{"model":"sql","prompt":"a","stream":false}""")).Status, Is.EqualTo(HttpStatusCode.OK));
        GenerateResponse reply = await api.Inference.GenerateAsync(new GenerateRequest { Text = "a", Lora = "sql", Stopping = new StoppingOptions { MaxTokens = 1 } });
        Assert.That((reply.Outputs.Count, reply.Started.Model), Is.EqualTo((1, "sql")));
        Assert.That((await api.Control.ListLorasAsync(new ListLorasRequest())).Loras.Select(lora => lora.Name), Is.EqualTo(new[] { "sql" }));

        Assert.That(await PostAsync(api, "unload", """{"lora_name":"sql"}"""), Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await api.PostAsync("/v1/completions", """{"model":"sql","prompt":"a","max_tokens":1}""")).Status, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(await PostAsync(api, "unload", """{"lora_name":"sql"}"""), Is.EqualTo(HttpStatusCode.NotFound));
    }

    [TestCase("""{"lora_name":"a","lora_path":"/etc"}""", HttpStatusCode.Forbidden)]
    [TestCase("""{"lora_name":"a","lora_path":"../models/llama-mha"}""", HttpStatusCode.Forbidden)]
    [TestCase("""{"lora_name":"a","lora_path":"none"}""", HttpStatusCode.BadRequest)]
    [TestCase("""{"lora_name":"test-model","lora_path":"r4-q-v"}""", HttpStatusCode.Conflict)]
    [TestCase("""{"lora_name":"a b","lora_path":"r4-q-v"}""", HttpStatusCode.BadRequest)]
    [TestCase("""{"lora_path":"r4-q-v"}""", HttpStatusCode.BadRequest)]
    public async Task Load_WhatMayNotBe_IsRefusedAndLeavesNothing(string body, HttpStatusCode expected)
    {
        LoraRegistry registry = Registry();
        await using ApiFixture api = await StartAsync(registry);
        Assert.That(await PostAsync(api, "load", body), Is.EqualTo(expected));
        Assert.That((registry.All, registry.Messages.Count), Is.EqualTo((Array.Empty<(ServedLora, int, bool)>(), 0)));
    }

    [Test]
    public async Task Load_BeyondTheMostOrWithoutAFolder_IsRefused()
    {
        await using ApiFixture one = await StartAsync(Registry(most: 1));
        await PostAsync(one, "load", """{"lora_name":"a","lora_path":"r4-q-v"}""");
        Assert.That(await PostAsync(one, "load", """{"lora_name":"b","lora_path":"r4-q-v"}"""), Is.EqualTo(HttpStatusCode.TooManyRequests));
        await using ApiFixture none = await StartAsync(Registry(folder: ""));
        Assert.That(await PostAsync(none, "load", $$"""{"lora_name":"a","lora_path":"{{s_folder}}/r4-q-v"}"""), Is.EqualTo(HttpStatusCode.Forbidden));
    }

    [Test]
    public async Task Load_ThroughALinkThatLeadsOut_IsRefused()
    {
        string inside = Directory.CreateTempSubdirectory("tpserve-lora-").FullName;
        try
        {
            Directory.CreateSymbolicLink(Path.Combine(inside, "out"), Path.Combine(s_folder, "r4-q-v"));
            RequestRejectedException? refused = await Assert.ThrowsAsync<RequestRejectedException>(
                async () => await new LoraRegistry(8, inside).LoadAsync("a", "out", [], new FakeWorkerGroup(), CancellationToken.None));
            Assert.That(refused!.Reason, Is.EqualTo("LORA_PATH_NOT_ALLOWED"));
        }
        finally
        {
            Directory.Delete(inside, recursive: true);
        }
    }

    /// <summary>Who is on an adapter that is unloaded runs to the end; workers hear of it with the step after.</summary>
    [Test]
    public void Unload_WhileARequestRuns_LetsItFinishThenFreesIt()
    {
        LoraRegistry registry = Registry();
        registry.AddAtStart("sql", Path.Combine(s_folder, "r4-q-v"));
        ServedLora lora = registry.Find("sql")!;
        Assert.That(registry.TryUse(lora), Is.True);
        Assert.That(registry.Unload("sql"), Is.EqualTo(1));
        Assert.That((registry.Find("sql"), registry.TryUse(lora), registry.TakeDropped().Count, registry.Messages.Count), Is.EqualTo(((ServedLora?)null, false, 0, 1)));

        // The name is free at once, the id is another.
        registry.AddAtStart("sql", Path.Combine(s_folder, "r8-all-linear"));
        Assert.That(registry.Find("sql")!.Id, Is.Not.EqualTo(lora.Id));
        registry.Release(lora);
        Assert.That((registry.TakeDropped(), registry.TakeDropped().Count, registry.Messages.Count), Is.EqualTo((new[] { lora.Id }, 0, 1)));
    }

    [Test]
    public async Task Engine_RequestOnAnAdapter_NamesItToTheWorkersAndReleasesIt()
    {
        LoraRegistry registry = Registry();
        registry.AddAtStart("sql", Path.Combine(s_folder, "r4-q-v"));
        int named = 0;
        FakeWorkerGroup group = new();
        Func<Protos.Worker.NewSequence, IReadOnlyList<int>, int> next = group.NextToken;
        group.NextToken = (sequence, tokens) =>
        {
            named = sequence.LoraId;
            return next(sequence, tokens);
        };
        await using ApiFixture api = await StartAsync(registry, group);
        Assert.That((await api.PostAsync("/v1/completions", """{"model":"sql","prompt":"a","max_tokens":3}""")).Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((named, registry.All.Single().Requests), Is.EqualTo((registry.Find("sql")!.Id, 0)));
    }

    private static async Task<HttpStatusCode> PostAsync(ApiFixture api, string verb, string body) => (await api.PostAsync($"/v1/{verb}_lora_adapter", body)).Status;
}
