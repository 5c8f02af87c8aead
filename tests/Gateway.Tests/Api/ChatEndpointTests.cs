using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>/v1/chat/completions, member by member.</summary>
public sealed class ChatEndpointTests
{
    private const string Hi = """ "messages":[{"role":"user","content":"hi"}] """;

    [Test]
    public async Task Chat_Plain_HasOpenAiShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{"model":"test-model",{{Hi}}}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(body.GetProperty("object").GetString(), Is.EqualTo("chat.completion"));
        Assert.That(body.GetProperty("id").GetString(), Does.StartWith("chatcmpl-"));
        Assert.That(
            body.GetProperty("choices").GetRawText(),
            Is.EqualTo("""[{"index":0,"message":{"content":"Hello!","role":"assistant","refusal":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}]"""));
        Assert.That(body.GetProperty("usage").GetProperty("total_tokens").GetInt32(), Is.EqualTo(4 + 7));
    }

    [Test]
    public async Task Chat_SpecialTokensInContent_StayText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/v1/chat/completions", """{"messages":[{"role":"user","content":"<|end|>"}],"max_tokens":1}""");
        Assert.That(
            api.Group.Plans[0].NewSequences[0].TokenIds,
            Is.EqualTo(new[] { TestModel.User }.Concat("<|end|>".Select(character => (int)character)).Append(TestModel.Assistant)));
    }

    [Test]
    public async Task Chat_ContentParts_AreJoined()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync(
            "/v1/chat/completions", """{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_tokens":1}""");
        Assert.That(api.Group.Plans[0].NewSequences[0].TokenIds, Is.EqualTo(new[] { TestModel.User, 'a', 'b', TestModel.Assistant }));
    }

    [Test]
    public async Task Chat_ContentPartsAndATemplateThatReadsLists_ReachItAsTheyAre()
    {
        const string Lists = "{%- for message in messages %}<|{{ message.role }}|>{%- for part in message.content %}{{ part.text }};{%- endfor %}{%- endfor %}<|assistant|>";
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(Lists) });
        await api.PostAsync("/v1/chat/completions", """{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_tokens":1}""");
        await api.PostAsync("/v1/chat/completions", """{"messages":[{"role":"user","content":"ab"}],"max_tokens":1}""");
        int[][] prompts = [.. api.Group.Plans.SelectMany(plan => plan.NewSequences).Select(sequence => sequence.TokenIds.ToArray())];
        Assert.That(prompts[0], Is.EqualTo(new[] { TestModel.User, 'a', ';', 'b', ';', TestModel.Assistant }));
        Assert.That(prompts[1], Is.EqualTo(new[] { TestModel.User, 'a', 'b', ';', TestModel.Assistant }), "text is not lost on a template that reads only lists");
    }

    [TestCase("""{"role":"developer","content":"a"}""", "<|system|>a")]
    [TestCase("""{"role":"wizard","content":"a"}""", "<|wizard|>a")]
    [TestCase("""{"role":"end","content":"a"}""", "<|end|>a")] // letters, and no token: the template does not name this role
    [TestCase("""{"role":"assistant","content":null}""", "<|assistant|>")]
    public async Task Chat_Role_ReachesTheTemplate(string message, string prompt)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement tokens) = await api.PostAsync("/tokenize", $$$"""{"messages":[{{{message}}}],"add_generation_prompt":false,"return_token_strs":true}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), tokens.GetRawText());
        Assert.That(string.Concat(tokens.GetProperty("token_strs").EnumerateArray().Select(text => text.GetString())), Is.EqualTo(prompt));
        bool known = message.Contains("assistant", StringComparison.Ordinal);
        Assert.That(tokens.GetProperty("tokens")[0].GetInt32() >= TestModel.End, Is.EqualTo(known), "only a role that the template may know is part of a token");
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Chat_StopStringThatIsASpecialToken_EndsTheOutputThoughItIsNotShown(bool include)
    {
        await using ApiFixture api = await ApiFixture.StartAsync("ab<|user|>c");
        (_, JsonElement body) = await api.PostAsync(
            "/v1/chat/completions", $$"""{{{Hi}},"stop":["<|user|>"],"include_stop_str_in_output":{{(include ? "true" : "false")}}}""");
        JsonElement choice = body.GetProperty("choices")[0];
        Assert.That(choice.GetProperty("message").GetProperty("content").GetString(), Is.EqualTo(include ? "ab<|user|>" : "ab"));
        Assert.That((choice.GetProperty("finish_reason").GetString(), choice.GetProperty("stop_reason").GetString()), Is.EqualTo(("stop", "<|user|>")));
    }

    [Test]
    public async Task Chat_TemplateVariables_ReachTheTemplate()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync(
            "/v1/chat/completions", $$"""{{{Hi}},"max_tokens":1,"chat_template_kwargs":{"enable_thinking":true},"return_token_ids":true,"skip_special_tokens":false}""");
        JsonElement choice = body.GetProperty("choices")[0];
        Assert.That(choice.GetProperty("prompt_token_ids").GetArrayLength(), Is.EqualTo(4 + "think".Length));
        Assert.That(choice.GetProperty("token_ids").GetRawText(), Is.EqualTo("[72]"));
    }

    [TestCase("9007199254740993", "9007199254740993")] // 2^53 + 1
    [TestCase("9223372036854775807", "9223372036854775807")] // 2^63 - 1
    [TestCase("123456789012345678901234567890", "123456789012345678901234567890")]
    [TestCase("-7", "-7")]
    [TestCase("2.5", "2.5")]
    [TestCase("5.0", "5.0")]
    [TestCase("true", "True")]
    [TestCase("false", "False")]
    [TestCase("null", "None")]
    [TestCase("""[1,[2,{"a":[9007199254740993]}],"x"]""", "[1, [2, {'a': [9007199254740993]}], 'x']")]
    public async Task Chat_TemplateVariable_IsExactInBothEndpoints(string json, string printed)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse("{{ value }}") });
        (_, JsonElement body) = await api.PostAsync(
            "/v1/chat/completions", $$"""{{{Hi}},"max_tokens":1,"chat_template_kwargs":{"value":{{json}}},"return_token_ids":true}""");
        Assert.That(Text(body.GetProperty("choices")[0].GetProperty("prompt_token_ids")), Is.EqualTo(printed));
        (_, JsonElement tokens) = await api.PostAsync("/tokenize", "{" + Hi + ",\"chat_template_kwargs\":{\"value\":" + json + "}}");
        Assert.That(Text(tokens.GetProperty("tokens")), Is.EqualTo(printed));

        static string Text(JsonElement ids) => string.Concat(ids.EnumerateArray().Select(id => (char)id.GetInt32()));
    }

    [Test]
    public async Task Chat_EveryFieldOfAMessage_ReachesTheTemplate()
    {
        ServingModel model = TestModel.Model() with { ChatTemplate = ChatTemplate.Parse("{{ messages[0].name }} {{ messages[0].reasoning_content }} {{ messages[1].tool_call_id }} {{ messages[-1].content }} {{ messages|map('list')|list }}") };
        await using ApiFixture api = await ApiFixture.StartAsync(model: model);
        (_, JsonElement tokens) = await api.PostAsync(
            "/tokenize",
            """{"messages":[{"role":"assistant","content":"a","name":"n","reasoning_content":"r"},{"role":"tool","content":"b","tool_call_id":"t","unknown":1}]}""");
        Assert.That(
            string.Concat(tokens.GetProperty("tokens").EnumerateArray().Select(id => (char)id.GetInt32())),
            Is.EqualTo("n r t b [['thinking', 'role', 'content', 'name', 'reasoning_content'], ['role', 'content', 'tool_call_id']]"));
    }

    [Test]
    public async Task Chat_Logprobs_HaveContentWithBytesAndTop()
    {
        await using ApiFixture api = await ApiFixture.StartAsync("é");
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},"logprobs":true,"top_logprobs":2,"max_completion_tokens":2}""");
        JsonElement logprobs = body.GetProperty("choices")[0].GetProperty("logprobs");
        Assert.That(logprobs.GetProperty("refusal").ValueKind, Is.EqualTo(JsonValueKind.Null));
        JsonElement first = logprobs.GetProperty("content")[0];
        Assert.That(logprobs.GetProperty("content").GetArrayLength(), Is.EqualTo(2));
        Assert.That(first.GetProperty("bytes").GetRawText(), Is.EqualTo("[195]"));
        Assert.That(first.GetProperty("token").GetString(), Is.EqualTo("\uFFFD"));
        Assert.That(first.GetProperty("logprob").GetSingle(), Is.EqualTo(FakeWorkerGroup.Logprob(4, 195)));
        Assert.That(first.GetProperty("top_logprobs").EnumerateArray().Select(top => top.GetProperty("bytes")[0].GetInt32()), Is.EqualTo(new[] { 196, 195 }));
        Assert.That(first.GetProperty("top_logprobs")[0].TryGetProperty("top_logprobs", out _), Is.False);
    }

    [Test]
    public async Task Chat_Stream_BeginsWithTheRoleAndEndsWithReasonUsageAndDone()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<JsonElement> chunks = await api.StreamAsync(
            "/v1/chat/completions", $$"""{{{Hi}},"stream":true,"n":2,"stream_options":{"include_usage":true},"logprobs":true}""");
        Assert.That(chunks.Select(chunk => chunk.GetProperty("object").GetString()), Is.All.EqualTo("chat.completion.chunk"));
        Assert.That(chunks[^1].GetProperty("choices").GetArrayLength(), Is.Zero);
        Assert.That(chunks[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(14));
        for (int output = 0; output < 2; output++)
        {
            JsonElement[] choices = [.. chunks.SkipLast(1).Select(chunk => chunk.GetProperty("choices")[0]).Where(choice => choice.GetProperty("index").GetInt32() == output)];
            Assert.That(choices[0].GetProperty("delta").GetRawText(), Is.EqualTo("""{"role":"assistant","content":""}"""));
            Assert.That(
                string.Concat(choices[1..^1].Select(choice => choice.GetProperty("delta").GetProperty("content").GetString())), Is.EqualTo("Hello!"));
            Assert.That(choices[1..^1].Sum(choice => choice.GetProperty("logprobs").GetProperty("content").GetArrayLength()), Is.EqualTo(7));
            Assert.That(choices[^1].GetProperty("delta").GetRawText(), Is.EqualTo("{}"));
            Assert.That(choices[^1].GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        }
    }

    [Test]
    public async Task Chat_ModelWithoutTemplate_SaysSo()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { ChatTemplate = null });
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}}}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(body.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("no_chat_template"));
    }
}
