using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>/v1/completions, member by member.</summary>
public sealed class CompletionEndpointTests
{
    [Test]
    public async Task Completion_Plain_HasOpenAiShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", """{"model":"test-model","prompt":"abc","max_tokens":20}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(body.GetProperty("object").GetString(), Is.EqualTo("text_completion"));
        Assert.That(body.GetProperty("id").GetString(), Does.StartWith("cmpl-"));
        Assert.That(body.GetProperty("model").GetString(), Is.EqualTo("test-model"));
        Assert.That(body.GetProperty("created").GetInt64(), Is.GreaterThan(0));
        Assert.That(
            body.GetProperty("choices").GetRawText(),
            Is.EqualTo("""[{"index":0,"text":"Hello!","logprobs":null,"finish_reason":"stop","stop_reason":null}]"""));
        Assert.That(
            body.GetProperty("usage").GetRawText(),
            Is.EqualTo("""{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0}}"""));
    }

    [TestCase("", 20)]
    [TestCase(",\"cache_salt\":\"mine\"", 0)]
    [TestCase(""","cache":{"salt":"mine"}""", 0)]
    [TestCase(""","cache_bypass":true""", 0)]
    [TestCase(""","cache":{"bypass":true}""", 0)]
    [TestCase(""","cache":{"bypass":false}""", 20)]
    [TestCase(""","cache":null""", 20)]
    public async Task Completion_SamePromptAgain_IsCachedUnlessAskedOtherwise(string how, int cached)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/v1/completions", """{"prompt":"one prompt of 20 chrs","max_tokens":1}""");
        (_, JsonElement body) = await api.PostAsync("/v1/completions", """{"prompt":"one prompt of 20 chrs","max_tokens":1""" + how + "}");
        Assert.That(body.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32(), Is.EqualTo(cached));
    }

    [Test]
    public async Task Completion_LettersOfOtherLanguages_AreWrittenAsTheyAre()
    {
        await using ApiFixture api = await ApiFixture.StartAsync("C'était 日本 😀");
        using HttpResponseMessage plain = await api.SendAsync("/v1/completions", """{"prompt":"a"}""");
        Assert.That(await plain.Content.ReadAsStringAsync(), Does.Contain("C'était 日本"));
        using HttpResponseMessage stream = await api.SendAsync("/v1/completions", """{"prompt":"a","stream":true}""");
        Assert.That(await stream.Content.ReadAsStringAsync(), Does.Contain("日"));
    }

    [TestCase("""{"prompt":[97,98],"max_tokens":2,"echo":true}""", "abHe")]
    [TestCase("""{"prompt":"ab","max_tokens":2,"echo":true}""", "abHe")]
    [TestCase("""{"prompt":"ab","max_tokens":0,"echo":true}""", "ab")]
    [TestCase("""{"prompt":"ab","max_tokens":2}""", "He")]
    public async Task Completion_Echo_BeginsWithThePrompt(string json, string expected)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/completions", json);
        Assert.That(body.GetProperty("choices")[0].GetProperty("text").GetString(), Is.EqualTo(expected));
        List<JsonElement> chunks = await api.StreamAsync("/v1/completions", json[..^1] + ""","stream":true}""");
        Assert.That(string.Concat(chunks.Select(chunk => chunk.GetProperty("choices")[0].GetProperty("text").GetString())), Is.EqualTo(expected));
    }

    [Test]
    public async Task Completion_EchoWithLogprobs_HasTheFourArraysOverPromptAndOutput()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/completions", """{"prompt":"ab","max_tokens":2,"echo":true,"logprobs":2}""");
        JsonElement logprobs = body.GetProperty("choices")[0].GetProperty("logprobs");
        Assert.That(logprobs.GetProperty("tokens").GetRawText(), Is.EqualTo("""["a","b","H","e"]"""));
        Assert.That(logprobs.GetProperty("text_offset").GetRawText(), Is.EqualTo("[0,1,2,3]"));
        JsonElement own = logprobs.GetProperty("token_logprobs"), top = logprobs.GetProperty("top_logprobs");
        Assert.That(own[0].ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(top[0].ValueKind, Is.EqualTo(JsonValueKind.Null));
        foreach ((int position, char token) in new[] { (1, 'b'), (2, 'H'), (3, 'e') })
        {
            Assert.That(own[position].GetSingle(), Is.EqualTo(FakeWorkerGroup.Logprob(position, token)), "not one bit may be lost");
            Assert.That(top[position].EnumerateObject().Select(entry => entry.Name), Is.EqualTo(new[] { $"{(char)(token + 1)}", $"{token}" }));
        }
    }

    [Test]
    public async Task Completion_PromptLogprobsAndTokenIds_HaveVllmShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        const string Json = """{"prompt":"ab","max_tokens":2,"prompt_logprobs":1,"return_token_ids":true""";
        (_, JsonElement body) = await api.PostAsync("/v1/completions", Json + "}");
        Check(body.GetProperty("choices")[0]);
        Assert.That(body.GetProperty("choices")[0].GetProperty("token_ids").GetRawText(), Is.EqualTo("[72,101]"));

        List<JsonElement> chunks = await api.StreamAsync("/v1/completions", Json + ""","stream":true}""");
        Check(chunks[0].GetProperty("choices")[0]);
        Assert.That(chunks.SelectMany(chunk => chunk.GetProperty("choices")[0].GetProperty("token_ids").EnumerateArray()).Select(id => id.GetInt32()), Is.EqualTo(new[] { 72, 101 }));
        Assert.That(chunks.Skip(1).Select(chunk => chunk.GetProperty("choices")[0].TryGetProperty("prompt_token_ids", out _)), Is.All.False);

        static void Check(JsonElement choice)
        {
            Assert.That(choice.GetProperty("prompt_token_ids").GetRawText(), Is.EqualTo("[97,98]"));
            JsonElement prompt = choice.GetProperty("prompt_logprobs");
            Assert.That(prompt[0].ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(prompt[1].EnumerateObject().Select(entry => entry.Name), Is.EqualTo(new[] { "98", "99" }), "its own token and the likeliest");
            Assert.That(prompt[1].GetProperty("98").GetProperty("logprob").GetSingle(), Is.EqualTo(FakeWorkerGroup.Logprob(1, 98)));
            Assert.That(prompt[1].GetProperty("98").GetProperty("rank").GetInt32(), Is.EqualTo(2));
            Assert.That(prompt[1].GetProperty("99").GetProperty("rank").GetInt32(), Is.EqualTo(1));
            Assert.That(prompt[1].GetProperty("99").GetProperty("decoded_token").GetString(), Is.EqualTo("c"));
        }
    }

    [Test]
    public async Task Completion_Stream_HasDeltasOneEndAndUsageWhereAsked()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<JsonElement> chunks = await api.StreamAsync(
            "/v1/completions", """{"prompt":"ab","max_tokens":20,"stream":true,"stream_options":{"include_usage":true}}""");
        JsonElement[] choices = [.. chunks.SkipLast(1).Select(chunk => chunk.GetProperty("choices")[0])];
        Assert.That(string.Concat(choices.Select(choice => choice.GetProperty("text").GetString())), Is.EqualTo("Hello!"));
        Assert.That(choices.SkipLast(1).Select(choice => choice.GetProperty("finish_reason").ValueKind), Is.All.EqualTo(JsonValueKind.Null));
        Assert.That(choices[^1].GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        Assert.That(chunks.SkipLast(1).Select(chunk => chunk.GetProperty("usage").ValueKind), Is.All.EqualTo(JsonValueKind.Null));
        Assert.That(chunks[^1].GetProperty("choices").GetArrayLength(), Is.Zero);
        Assert.That(chunks[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(7));
        Assert.That(chunks.Select(chunk => chunk.GetProperty("id").GetString()).Distinct().Count(), Is.EqualTo(1));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Completion_SeveralPromptsAndOutputs_AreCountedPromptByPrompt(bool stream)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(group: new FakeWorkerGroup());
        const string Json = """{"prompt":["ab",[99,100,101]],"max_tokens":3,"n":2,"seed":7,"echo":true,"temperature":1""";
        string[] texts = new string[4];
        if (stream)
        {
            foreach (JsonElement chunk in await api.StreamAsync("/v1/completions", Json + ""","stream":true}"""))
                texts[chunk.GetProperty("choices")[0].GetProperty("index").GetInt32()] += chunk.GetProperty("choices")[0].GetProperty("text").GetString();
        }
        else
        {
            (_, JsonElement body) = await api.PostAsync("/v1/completions", Json + "}");
            texts = [.. body.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("text").GetString()!)];
            Assert.That(body.GetProperty("usage").GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(5));
            Assert.That(body.GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(12));
        }
        Assert.That(texts.Select(text => text.Length), Is.EqualTo(new[] { 5, 5, 6, 6 }));
        Assert.That(texts.Select(text => text[..2]), Is.EqualTo(new[] { "ab", "ab", "cd", "cd" }));
        Assert.That(texts, Is.Unique);
    }

    [Test]
    public async Task Completion_SameSeed_HasTheSameText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(group: new FakeWorkerGroup());
        const string Json = """{"prompt":"ab","max_tokens":12,"temperature":0.8,"seed":-3}""";
        (_, JsonElement first) = await api.PostAsync("/v1/completions", Json);
        (_, JsonElement second) = await api.PostAsync("/v1/completions", Json);
        Assert.That(second.GetProperty("choices").GetRawText(), Is.EqualTo(first.GetProperty("choices").GetRawText()));
    }

    [TestCase(""" "stop":"lo" """, "Hel", "lo")]
    [TestCase(""" "stop":["x","lo"],"include_stop_str_in_output":true """, "Hello", "lo")]
    public async Task Completion_StopStrings_EndTheTextAndAreNamed(string fields, string text, string reason)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/completions", $$"""{"prompt":"ab",{{fields}}}""");
        JsonElement choice = body.GetProperty("choices")[0];
        Assert.That(choice.GetProperty("text").GetString(), Is.EqualTo(text));
        Assert.That(choice.GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        Assert.That(choice.GetProperty("stop_reason").GetString(), Is.EqualTo(reason));
    }

    [Test]
    public async Task Completion_StopTokenId_IsNamedAsANumber()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/completions", """{"prompt":"ab","stop_token_ids":[108]}""");
        Assert.That(body.GetProperty("choices")[0].GetProperty("stop_reason").GetInt32(), Is.EqualTo(108));
    }

    [Test]
    public async Task Completion_SamplingFields_ReachTheWorkers()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/v1/completions", """
            {"prompt":"ab","max_tokens":5,"min_tokens":2,"temperature":0.5,"top_p":0.25,"top_k":-1,"min_p":0.125,"presence_penalty":1,"frequency_penalty":-1,
             "repetition_penalty":1.5,"seed":18446744073709551615,"logit_bias":{"65":-100,"66":2.5},"allowed_token_ids":[72,101],"stop_token_ids":[5],"user":"somebody"}
            """);
        Protos.Worker.SamplingParameters sampling = api.Group.Plans[0].NewSequences[0].Sampling;
        Assert.That(
            (sampling.Temperature, sampling.TopP, sampling.TopK, sampling.MinP, sampling.PresencePenalty, sampling.FrequencyPenalty, sampling.RepetitionPenalty),
            Is.EqualTo((0.5f, 0.25f, 0, 0.125f, 1f, -1f, 1.5f)));
        Assert.That((sampling.Seed, sampling.MinTokens, sampling.PromptTokens), Is.EqualTo((ulong.MaxValue, 2, 2)));
        Assert.That(sampling.LogitBias, Is.EquivalentTo(new Dictionary<int, float> { [65] = -100, [66] = 2.5f }));
        Assert.That(sampling.AllowedTokenIds, Is.EqualTo(new[] { 72, 101 }));
        Assert.That(sampling.EndTokenIds, Is.EqualTo(new[] { 5, TestModel.End }));
    }
}
