using Microsoft.Extensions.AI;
using NUnit.Framework;
using TpServe.Protos.V1;
using AiMessage = Microsoft.Extensions.AI.ChatMessage;

namespace TpServe.Client.Tests;

/// <summary>Streaming updates, and functions that the middleware calls.</summary>
public sealed class StreamingChatTests
{
    private static GenerateEvent Of(ulong seq, Delta delta) => new() { Seq = seq, Delta = delta };

    private static Func<StreamCall, Task> Writes(params Delta[] deltas) => async call =>
    {
        await call.WriteAsync(1, 1);
        ulong seq = 1;
        foreach (Delta delta in deltas)
            await call.Events.WriteAsync(Of(++seq, delta));
        await call.Events.WriteAsync(new GenerateEvent
        {
            Seq = ++seq,
            Finished = new Finished
            {
                Reason = deltas.Any(delta => delta.ToolCalls.Count > 0) ? FinishReason.ToolCalls : FinishReason.Stop,
                Usage = new Usage { PromptTokens = 4, CompletionTokens = 6 },
            },
        });
    };

    private static Delta Call(int index, string arguments, string? id = null, string? name = null)
    {
        ToolCall call = new() { Index = index, Arguments = arguments };
        if (id is not null)
            (call.Id, call.Name) = (id, name!);
        return new Delta { ToolCalls = { call } };
    }

    [Test]
    public async Task GetStreamingResponse_Updates_ComeAsTheyAreMadeAndCallsWhole()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = Writes(
            new Delta { Reasoning = "Th" }, new Delta { Reasoning = "ink." }, new Delta { Text = "So:" },
            Call(0, "", "c1", "f"), Call(0, "{\"a\""), Call(0, ":1}"), Call(1, "{}", "c2", "g"));
        using TpServeClient client = server.Client();
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.AsIChatClient().GetStreamingResponseAsync("hi"))
            updates.Add(update);
        string[] contents = [.. updates.SelectMany(update => update.Contents).Select(content => content switch
        {
            TextReasoningContent thought => $"thought {thought.Text}",
            TextContent text => $"text {text.Text}",
            FunctionCallContent call => $"{call.CallId} {call.Name}({string.Join(", ", call.Arguments!.Select(argument => $"{argument.Key}={argument.Value}"))})",
            UsageContent usage => $"usage {usage.Details.TotalTokenCount}",
            _ => content.GetType().Name,
        })];
        Assert.That(contents, Is.EqualTo(new[] { "thought Th", "thought ink.", "text So:", "c1 f(a=1)", "c2 g()", "usage 10" }));
        Assert.That(updates.Select(update => (update.ResponseId, update.ModelId, update.MessageId)), Is.All.EqualTo((server.Calls[0].RequestId, "fake", server.Calls[0].RequestId)));
        Assert.That(updates.Select(update => update.FinishReason).Where(reason => reason is not null), Is.EqualTo(new ChatFinishReason?[] { ChatFinishReason.ToolCalls }));
        Assert.That(updates[^1].FinishReason, Is.Not.Null);
        ChatResponse whole = updates.ToChatResponse();
        Assert.That((whole.Messages.Count, whole.Text, whole.Usage!.InputTokenCount), Is.EqualTo((1, "So:", 4L)));
    }

    [Test]
    public async Task GetStreamingResponse_ConnectionCut_HasTheTextOnce()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        using SemaphoreSlim seen = new(0);
        server.Streams = async call =>
        {
            if (call.After is not { } after)
            {
                await call.WriteAsync(1, 4);
                Assert.That(await seen.WaitAsync(TimeSpan.FromSeconds(10)), Is.True);
                call.Cut();
                return;
            }
            await call.WriteAsync(after + 1, 7);
            await call.FinishAsync(8);
        };
        using TpServeClient client = server.Client();
        string text = "";
        await foreach (ChatResponseUpdate update in client.AsIChatClient().GetStreamingResponseAsync("hi"))
        {
            text += update.Text;
            if (text == "abc")
                seen.Release();
        }
        Assert.That(text, Is.EqualTo("abcdef"));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task UseFunctionInvocation_CallsTheFunctionAndAnswersWithItsResult(bool streams)
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (call, _) => FakeServer.Response(call == 1
            ? new Output { ToolCalls = { new ToolCall { Id = "c1", Name = "get_weather", Arguments = """{"city":"Bonn"}""" } }, Finished = new Finished { Reason = FinishReason.ToolCalls } }
            : new Output { Text = "It is sunny.", Finished = new Finished { Reason = FinishReason.Stop } });
        server.Streams = call => (call.Number == 1 ? Writes(Call(0, """{"city":"Bonn"}""", "c1", "get_weather")) : Writes(new Delta { Text = "It is sunny." }))(call);
        List<string> asked = [];
        AIFunction weather = AIFunctionFactory.Create(
            (string city) =>
            {
                asked.Add(city);
                return "sunny";
            },
            "get_weather", "The weather");
        using TpServeClient client = server.Client();
        using IChatClient chat = client.AsIChatClient().AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = new() { Tools = [weather] };
        ChatResponse response = streams
            ? await chat.GetStreamingResponseAsync("Weather in Bonn?", options).ToChatResponseAsync()
            : await chat.GetResponseAsync("Weather in Bonn?", options);
        Assert.That(response.Text, Is.EqualTo("It is sunny."));
        Assert.That(asked, Is.EqualTo(new[] { "Bonn" }));
        Protos.V1.ChatMessage[] second = [.. server.Chats[1].Messages];
        Assert.That(second.Select(message => message.Role), Is.EqualTo(new[] { Protos.V1.ChatRole.User, Protos.V1.ChatRole.Assistant, Protos.V1.ChatRole.Tool }));
        Assert.That((second[1].ToolCalls[0].Arguments, second[2].Content, second[2].ToolCallId, second[2].Name), Is.EqualTo(("""{"city":"Bonn"}""", "sunny", "c1", "get_weather")));
    }

    [Test]
    public async Task GetResponse_OfAType_AsksForItsSchema()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => FakeServer.Response(new Output { Text = """{"name":"Ann","age":30}""", Finished = new Finished { Reason = FinishReason.Stop } });
        using TpServeClient client = server.Client();
        ChatResponse<Person> response = await client.AsIChatClient().GetResponseAsync<Person>([new AiMessage(Microsoft.Extensions.AI.ChatRole.User, "Who?")]);
        Assert.That(response.Result, Is.EqualTo(new Person("Ann", 30)));
        Assert.That(server.Chats[0].Constraint.JsonSchema, Does.Contain("\"age\""));
    }

    private sealed record Person(string Name, int Age);
}
