using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>/v1/responses, member by member and event by event.</summary>
public sealed class ResponsesTests
{
    private static int[] Prompt(ApiFixture api, int request) => [.. api.Group.Plans.SelectMany(plan => plan.NewSequences).ElementAt(request).TokenIds];

    private static IEnumerable<int> Letters(string text) => text.Select(letter => (int)letter);

    [Test]
    public async Task Responses_Plain_HasOpenAiShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(
            "/v1/responses", """{"model":"test-model","input":"hi","temperature":0,"top_p":0.5,"max_output_tokens":20,"metadata":{"a":"b"},"user":"u"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        string id = body.GetProperty("id").GetString()!, tail = id["resp_".Length..];
        Assert.That(body.GetProperty("object").GetString(), Is.EqualTo("response"));
        Assert.That(body.GetProperty("status").GetString(), Is.EqualTo("completed"));
        Assert.That(body.GetProperty("output").GetRawText(), Is.EqualTo(
            $$"""[{"id":"msg_{{tail}}00","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello!","annotations":[],"logprobs":[]}]}]"""));
        Assert.That(body.GetProperty("usage").GetRawText(), Is.EqualTo(
            """{"input_tokens":4,"input_tokens_details":{"cached_tokens":0},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":11}"""));
        Assert.That(body.GetProperty("text").GetRawText(), Is.EqualTo("""{"format":{"type":"text"},"verbosity":"medium"}"""));
        Assert.That(body.GetProperty("metadata").GetRawText(), Is.EqualTo("""{"a":"b"}"""));
        foreach ((string member, string value) in ((string, string)[])
        [
            ("model", "\"test-model\""), ("temperature", "0"), ("top_p", "0.5"), ("max_output_tokens", "20"), ("store", "true"), ("tools", "[]"), ("tool_choice", "\"auto\""),
            ("parallel_tool_calls", "true"), ("truncation", "\"disabled\""), ("user", "\"u\""), ("error", "null"), ("incomplete_details", "null"), ("previous_response_id", "null"),
        ])
            Assert.That(body.GetProperty(member).GetRawText(), Is.EqualTo(value), member);
    }

    [Test]
    public async Task Responses_EndedByItsLength_IsIncompleteAndSaysWhy()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/responses", """{"input":"hi","max_output_tokens":2}""");
        Assert.That(body.GetProperty("status").GetString(), Is.EqualTo("incomplete"));
        Assert.That(body.GetProperty("incomplete_details").GetProperty("reason").GetString(), Is.EqualTo("max_output_tokens"));
        Assert.That(body.GetProperty("output")[0].GetProperty("status").GetString(), Is.EqualTo("incomplete"));
        Assert.That(body.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString(), Is.EqualTo("He"));
    }

    [Test]
    public async Task Responses_Stream_TellsEveryStepAndTheWholeAtTheEnd()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/responses", """{"input":"hi","stream":true}""");
        Assert.That(events.Select(one => one.Data.GetProperty("sequence_number").GetInt32()), Is.EqualTo(Enumerable.Range(0, events.Count)));
        string[] names = [.. events.Select(one => one.Name)];
        Assert.That(names[..4], Is.EqualTo(new[] { "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added" }));
        Assert.That(names[^4..], Is.EqualTo(new[] { "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed" }));
        Assert.That(names[4..^4], Is.All.EqualTo("response.output_text.delta"));
        Assert.That(string.Concat(events[4..^4].Select(one => one.Data.GetProperty("delta").GetString())), Is.EqualTo("Hello!"));
        Assert.That(events[^4].Data.GetProperty("text").GetString(), Is.EqualTo("Hello!"));
        JsonElement item = events[^2].Data.GetProperty("item");
        Assert.That(events[^1].Data.GetProperty("response").GetProperty("output")[0].GetRawText(), Is.EqualTo(item.GetRawText()));
        Assert.That(events.Where(one => one.Data.TryGetProperty("item_id", out _)).Select(one => one.Data.GetProperty("item_id").GetString()), Is.All.EqualTo(item.GetProperty("id").GetString()));
        Assert.That(events[0].Data.GetProperty("response").GetProperty("status").GetString(), Is.EqualTo("in_progress"));
        Assert.That(events[^1].Data.GetProperty("response").GetProperty("usage").GetProperty("output_tokens").GetInt32(), Is.EqualTo(7));
    }

    [Test]
    public async Task Responses_StreamEndedByItsLength_EndsWithIncomplete()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/responses", """{"input":"hi","stream":true,"max_output_tokens":2}""");
        Assert.That(events[^1].Name, Is.EqualTo("response.incomplete"));
    }

    [Test]
    public async Task Responses_StreamThatFails_EndsWithFailedAndWhatThereWas()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("Hello!"), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: ApiFixture.Settings with { Engine = new() { Recoveries = 0 } });
        Task<List<(string Name, JsonElement Data)>> stream = api.NamedStreamAsync("/v1/responses", """{"input":"hi","stream":true}""");
        group.Allow(2);
        for (int step = 0; step < 3; step++)
            await group.StepBeganAsync();
        group.Lose("the test took it away");
        List<(string Name, JsonElement Data)> events = await stream;
        Assert.That(events[^1].Name, Is.EqualTo("response.failed"));
        JsonElement response = events[^1].Data.GetProperty("response");
        Assert.That((response.GetProperty("status").GetString(), response.GetProperty("error").GetProperty("code").GetString()), Is.EqualTo(("failed", "worker_lost")));
        Assert.That(response.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString(), Is.Not.Empty);
    }

    [Test]
    public async Task Responses_StreamThatIsComeBackTo_GoesOnAfterTheEventSeen()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage first = await api.SendAsync("/v1/responses", """{"input":"hi","stream":true,"request_id":"again"}""");
        string whole = await first.Content.ReadAsStringAsync();
        using HttpRequestMessage back = new(HttpMethod.Post, "/v1/responses");
        back.Headers.Add("Last-Event-ID", "again:6");
        using HttpResponseMessage second = await api.Http.SendAsync(back);
        string rest = await second.Content.ReadAsStringAsync();
        Assert.That(rest, Is.Not.Empty);
        Assert.That(whole, Does.EndWith(rest));
        Assert.That(rest, Does.StartWith("event: response.output_text.delta\n"));
    }

    [Test]
    public async Task Responses_Instructions_ComeFirstAsSystem()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/v1/responses", """{"input":"b","instructions":"a"}""");
        Assert.That(Prompt(api, 0), Is.EqualTo(Letters("<|system|>a").Append(TestModel.User).Append('b').Append(TestModel.Assistant)));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Responses_PreviousResponse_GoesOnWithoutItsInstructions(bool stream)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        string id = stream
            ? (await api.NamedStreamAsync("/v1/responses", """{"input":"a","instructions":"x","stream":true}"""))[^1].Data.GetProperty("response").GetProperty("id").GetString()!
            : (await api.PostAsync("/v1/responses", """{"input":"a","instructions":"x"}""")).Body.GetProperty("id").GetString()!;
        (HttpStatusCode status, JsonElement next) = await api.PostAsync("/v1/responses", $$"""{"input":[{"role":"user","content":"b"}],"previous_response_id":"{{id}}"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), next.GetRawText());
        Assert.That(next.GetProperty("previous_response_id").GetString(), Is.EqualTo(id));
        Assert.That(Prompt(api, 1), Is.EqualTo(new int[] { TestModel.User, 'a', TestModel.Assistant }.Concat(Letters("Hello!")).Concat([TestModel.User, 'b', TestModel.Assistant])));
    }

    [Test]
    public async Task Responses_ThatIsStored_CanBeReadAndDeleted()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement made) = await api.PostAsync("/v1/responses", """{"input":[{"role":"user","content":"a"},{"type":"message","role":"user","content":[{"type":"input_text","text":"b"}],"id":"mine"}]}""");
        string id = made.GetProperty("id").GetString()!;
        Assert.That((await api.GetAsync($"/v1/responses/{id}")).GetRawText(), Is.EqualTo(made.GetRawText()));

        JsonElement items = await api.GetAsync($"/v1/responses/{id}/input_items?order=asc");
        Assert.That(items.GetProperty("data")[0].GetProperty("content").GetRawText(), Is.EqualTo("""[{"type":"input_text","text":"a"}]"""));
        Assert.That(items.GetProperty("last_id").GetString(), Is.EqualTo("mine"));
        JsonElement one = await api.GetAsync($"/v1/responses/{id}/input_items?limit=1");
        Assert.That((one.GetProperty("first_id").GetString(), one.GetProperty("has_more").GetBoolean()), Is.EqualTo(("mine", true)));
        JsonElement rest = await api.GetAsync($"/v1/responses/{id}/input_items?after=mine");
        Assert.That((rest.GetProperty("data").GetArrayLength(), rest.GetProperty("has_more").GetBoolean()), Is.EqualTo((1, false)));

        (HttpStatusCode cancelled, _) = await api.PostAsync($"/v1/responses/{id}/cancel", "");
        Assert.That(cancelled, Is.EqualTo(HttpStatusCode.BadRequest));

        using HttpResponseMessage deleted = await api.Http.DeleteAsync($"/v1/responses/{id}");
        Assert.That((await ApiFixture.BodyAsync(deleted)).GetRawText(), Is.EqualTo($$"""{"id":"{{id}}","object":"response","deleted":true}"""));
        JsonElement gone = await api.GetAsync($"/v1/responses/{id}");
        Assert.That(gone.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("response_not_found"));
        (HttpStatusCode status, JsonElement error) = await api.PostAsync("/v1/responses", $$"""{"input":"a","previous_response_id":"{{id}}"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(error.GetProperty("error").GetProperty("param").GetString(), Is.EqualTo("previous_response_id"));
        Assert.That(error.GetProperty("error").GetProperty("message").GetString(), Does.Contain(id));
    }

    [Test]
    public async Task Responses_StoreFalse_KeepsNothing()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement made) = await api.PostAsync("/v1/responses", """{"input":"a","store":false}""");
        Assert.That(made.GetProperty("store").GetBoolean(), Is.False);
        using HttpResponseMessage read = await api.Http.GetAsync($"/v1/responses/{made.GetProperty("id").GetString()}");
        Assert.That(read.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
    }

    [Test]
    public async Task Responses_MoreThanAreKept_LoseTheOldestFirst()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { Responses = new ResponseStoreSettings { Count = 2 } });
        List<string> ids = [];
        for (int i = 0; i < 3; i++)
            ids.Add((await api.PostAsync("/v1/responses", """{"input":"a"}""")).Body.GetProperty("id").GetString()!);
        using HttpResponseMessage first = await api.Http.GetAsync($"/v1/responses/{ids[0]}"), last = await api.Http.GetAsync($"/v1/responses/{ids[2]}");
        Assert.That((first.StatusCode, last.StatusCode), Is.EqualTo((HttpStatusCode.NotFound, HttpStatusCode.OK)));
    }

    [Test]
    public async Task Responses_Logprobs_ComeWithTheText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/responses", """{"input":"a","top_logprobs":2,"max_output_tokens":3}""");
        JsonElement logprobs = body.GetProperty("output")[0].GetProperty("content")[0].GetProperty("logprobs");
        Assert.That(logprobs.GetArrayLength(), Is.EqualTo(3));
        Assert.That(logprobs[0].GetProperty("token").GetString(), Is.EqualTo("H"));
        Assert.That(logprobs[0].GetProperty("top_logprobs").GetArrayLength(), Is.EqualTo(2));
        Assert.That(body.GetProperty("top_logprobs").GetInt32(), Is.EqualTo(2));
        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync(
            "/v1/responses", """{"input":"a","include":["message.output_text.logprobs"],"max_output_tokens":3,"stream":true}""");
        Assert.That(events.Where(one => one.Name == "response.output_text.delta").Sum(one => one.Data.GetProperty("logprobs").GetArrayLength()), Is.EqualTo(3));
    }

    [Test]
    public async Task Responses_Effort_ReachesTheTemplate()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/v1/responses", """{"input":"a","reasoning":{"effort":"low","summary":"auto"}}""");
        await api.PostAsync("/v1/responses", """{"input":"a","reasoning":{"effort":"none"}}""");
        Assert.That(Prompt(api, 0), Is.EqualTo(new int[] { TestModel.User, 'a' }.Concat(Letters("think")).Append(TestModel.Assistant)));
        Assert.That(Prompt(api, 1), Is.EqualTo(new int[] { TestModel.User, 'a', TestModel.Assistant }));
    }

    [Test]
    public async Task Responses_Schema_ConstrainsTheText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        const string Format = """{"type":"json_schema","name":"n","schema":{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],"additionalProperties":false}}""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/responses", $$"""{"input":"a","text":{"format":{{Format}}},"max_output_tokens":40}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(body.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString(), Is.EqualTo("""{"a": 1}"""));
        Assert.That(body.GetProperty("text").GetProperty("format").GetRawText(), Is.EqualTo(Format));
    }
}
