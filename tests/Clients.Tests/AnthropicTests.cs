using System.Net;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Text.Json;
using NUnit.Framework;

namespace TpServe.Clients.Tests;

/// <summary>Anthropic's /v1/messages by a plain HttpClient, as its documentation describes it.</summary>
[Category("MultiProcess"), Needs(Feature.Messages)]
public sealed class AnthropicTests
{
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(60) };

    private static async Task<HttpResponseMessage> PostAsync(object body)
    {
        HttpRequestMessage request = new(HttpMethod.Post, new Uri(RunningServer.Http, "/v1/messages")) { Content = JsonContent.Create(body) };
        request.Headers.Add("x-api-key", "none");
        request.Headers.Add("anthropic-version", "2023-06-01");
        return await s_http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }

    private static object Question(bool streams) => new
    {
        model = RunningServer.Model,
        max_tokens = 12,
        temperature = 0,
        system = "You answer in one short sentence.",
        messages = new[] { new { role = "user", content = "Why is the sky blue?" } },
        stream = streams,
    };

    private static async Task<List<(string Type, JsonElement Data)>> EventsAsync(HttpResponseMessage response)
    {
        Assert.That(response.Content.Headers.ContentType!.MediaType, Is.EqualTo("text/event-stream"));
        List<(string, JsonElement)> events = [];
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            using JsonDocument data = JsonDocument.Parse(item.Data);
            Assert.That(data.RootElement.GetProperty("type").GetString(), Is.EqualTo(item.EventType));
            events.Add((item.EventType, data.RootElement.Clone()));
        }
        return events;
    }

    [Test]
    public async Task Messages_WholeAndStreamed_Agree()
    {
        using HttpResponseMessage answered = await PostAsync(Question(streams: false));
        JsonElement whole = await answered.Content.ReadFromJsonAsync<JsonElement>();
        Assert.That(answered.StatusCode, Is.EqualTo(HttpStatusCode.OK), whole.ToString());
        string? text = whole.GetProperty("content")[0].GetProperty("text").GetString();
        Assert.That(whole.GetProperty("stop_reason").GetString(), Is.AnyOf("end_turn", "max_tokens"));

        using HttpResponseMessage response = await PostAsync(Question(streams: true));
        List<(string Type, JsonElement Data)> events = await EventsAsync(response);
        string[] order = [.. events.Select(happened => happened.Type).Where(type => type is not ("ping" or "content_block_delta"))];
        Assert.That(order, Is.EqualTo(new[] { "message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop" }));
        Assert.That(
            string.Concat(events.Where(happened => happened.Type == "content_block_delta").Select(happened => happened.Data.GetProperty("delta").GetProperty("text").GetString())),
            Is.EqualTo(text));
        Assert.That(
            events.Single(happened => happened.Type == "message_delta").Data.GetProperty("usage").GetProperty("output_tokens").GetInt32(),
            Is.EqualTo(whole.GetProperty("usage").GetProperty("output_tokens").GetInt32()));
    }

    [Test]
    public async Task Messages_WithoutMaxTokens_IsRefusedInItsShape()
    {
        using HttpResponseMessage refused = await PostAsync(new { model = RunningServer.Model, messages = new[] { new { role = "user", content = "Hi" } } });
        JsonElement body = await refused.Content.ReadFromJsonAsync<JsonElement>();
        Assert.That((int)refused.StatusCode, Is.EqualTo(400));
        Assert.That((body.GetProperty("type").GetString(), body.GetProperty("error").GetProperty("type").GetString()), Is.EqualTo(("error", "invalid_request_error")));
    }

    [Test, Needs(Feature.Tools)]
    public async Task Messages_NamedTool_IsUsedInAStream()
    {
        using JsonDocument schema = JsonDocument.Parse(Weather.Schema);
        using HttpResponseMessage response = await PostAsync(new
        {
            model = RunningServer.Model,
            max_tokens = 60,
            temperature = 0,
            messages = new[] { new { role = "user", content = "What is the weather in Ulm?" } },
            tools = new[] { new { name = Weather.Name, description = "Tells the weather of a city.", input_schema = schema.RootElement } },
            tool_choice = new { type = "tool", name = Weather.Name },
            stream = true,
        });
        List<(string Type, JsonElement Data)> events = await EventsAsync(response);
        JsonElement block = events.First(happened => happened.Type == "content_block_start").Data.GetProperty("content_block");
        Assert.That((block.GetProperty("type").GetString(), block.GetProperty("name").GetString()), Is.EqualTo(("tool_use", Weather.Name)));
        string arguments = string.Concat(events.Where(happened => happened.Type == "content_block_delta").Select(happened => happened.Data.GetProperty("delta").GetProperty("partial_json").GetString()));
        Assert.That(Weather.Accepts(arguments));
        Assert.That(events.Single(happened => happened.Type == "message_delta").Data.GetProperty("delta").GetProperty("stop_reason").GetString(), Is.EqualTo("tool_use"));
    }
}
