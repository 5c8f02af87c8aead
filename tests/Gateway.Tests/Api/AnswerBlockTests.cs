using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Reasoning, text and calls of scripted events as /v1/responses and /v1/messages tell them.</summary>
public sealed class AnswerBlockTests
{
    private static readonly GenerationEvent[] s_script =
    [
        new StartedEvent(2),
        new DeltaEvent(0, "", [], []) { Reasoning = "I " },
        new DeltaEvent(0, "Well", [], []) { Reasoning = "think" },
        new DeltaEvent(0, ", now", [], []),
        new DeltaEvent(0, "", [], []) { ToolCalls = [new ToolCallPiece(0, "call_a", "f", "{\"x\"")] },
        new DeltaEvent(0, "", [], []) { ToolCalls = [new ToolCallPiece(0, null, null, ":1}"), new ToolCallPiece(1, "call_b", "g", "")] },
        new FinishedEvent(0, EndReason.ToolCalls, null, null, 9, new RequestTotals(5, 9, 2, default, default, default, default)),
    ];

    private static ValidatedRequest Request { get; } = new()
    {
        RequestId = "r",
        PromptTokens = [1, 2, 3, 4, 5],
        Outputs = 1,
        Sampling = new SamplingParameters(),
        Stopping = new ResolvedStopping { MaxTokens = 9, MinTokens = 0, IgnoreEos = false, IncludeStop = false },
    };

    private static AnswerBlocks Whole(IEnumerable<GenerationEvent> events)
    {
        AnswerBlocks blocks = new();
        foreach (GenerationEvent happened in events)
            blocks.Take(happened);
        return blocks;
    }

    private static ResponseWriter Responses()
    {
        ResponseReply begun = new()
        {
            Id = "resp_1",
            CreatedAt = 1,
            Status = "in_progress",
            Model = "m",
            Output = [],
            ParallelToolCalls = true,
            Reasoning = new ReasoningReply(null),
            Store = false,
            Temperature = 1,
            Text = [],
            ToolChoice = ResponsesJson.Element("\"auto\""),
            Tools = ResponsesJson.Element("[]"),
            TopLogprobs = 0,
            TopP = 1,
            PresencePenalty = 0,
            FrequencyPenalty = 0,
            Metadata = new Dictionary<string, string>(),
        };
        return new ResponseWriter(begun, Request, new ServerClock(TimeProvider.System), new TokenReports(new TokenTexts(TestModel.Model())));
    }

    private static List<T> Steps<T>(Func<BlockStep, IEnumerable<T>> of)
    {
        AnswerBlocks blocks = new();
        return [.. s_script.SelectMany(happened => blocks.Take(happened)).SelectMany(of)];
    }

    [Test]
    public void Responses_ReasoningTextAndCalls_AreItemsInTheirOrder()
    {
        ResponseReply whole = Responses().Whole(Whole(s_script));
        Assert.That(JsonSerializer.Serialize(whole.Output, ResponsesJson.Api.IReadOnlyListOutputItem), Is.EqualTo(
            """[{"id":"rs_100","type":"reasoning","status":"completed","content":[{"type":"reasoning_text","text":"I think"}],"summary":[]},"""
            + """{"id":"msg_101","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Well, now","annotations":[],"logprobs":[]}]},"""
            + """{"id":"fc_102","type":"function_call","status":"completed","call_id":"call_a","name":"f","arguments":"{\"x\":1}"},"""
            + """{"id":"fc_103","type":"function_call","status":"completed","call_id":"call_b","name":"g","arguments":""}]"""));
        Assert.That((whole.Status, whole.Usage!.TotalTokens), Is.EqualTo(("completed", 14)));
    }

    [Test]
    public void Responses_Stream_TellsItemsOneAfterTheOther()
    {
        ResponseWriter writer = Responses();
        List<ResponseEvent> events = Steps(writer.Of);
        Assert.That(events.Select(one => $"{one.OutputIndex} {one.Type["response.".Length..]} {one.Delta ?? one.Text ?? one.Arguments}".TrimEnd()), Is.EqualTo(new[]
        {
            "0 output_item.added", "0 content_part.added", "0 reasoning_text.delta I", "0 reasoning_text.delta think", "0 reasoning_text.done I think", "0 content_part.done", "0 output_item.done",
            "1 output_item.added", "1 content_part.added", "1 output_text.delta Well", "1 output_text.delta , now", "1 output_text.done Well, now", "1 content_part.done", "1 output_item.done",
            "2 output_item.added", "2 function_call_arguments.delta {\"x\"", "2 function_call_arguments.delta :1}", "2 function_call_arguments.done {\"x\":1}", "2 output_item.done",
            "3 output_item.added", "3 function_call_arguments.done", "3 output_item.done",
        }));
        Assert.That(events.Select(one => one.SequenceNumber), Is.EqualTo(Enumerable.Range(0, events.Count)));
    }

    [Test]
    public void Responses_Answer_IsOneMessageOfTheNextConversation()
    {
        ConversationBuilder conversation = new([]);
        ResponseWriter.Append(Whole(s_script), conversation);
        ConversationMessage message = conversation.Messages.Single();
        Assert.That((message.Role, message.Content[0], message.Reasoning), Is.EqualTo(("assistant", "Well, now", "I think")));
        Assert.That(message.ToolCalls, Is.EqualTo(new[] { new MessageToolCall("call_a", "f", "{\"x\":1}"), new MessageToolCall("call_b", "g", "{}") }));
    }

    [Test]
    public void Messages_ReasoningTextAndCalls_AreBlocksInTheirOrder()
    {
        MessageReply whole = new MessageWriter("msg_1", "m", Request).Whole(Whole(s_script));
        Assert.That(JsonSerializer.Serialize(whole.Content, MessagesJson.Api.IReadOnlyListContentBlock), Is.EqualTo(
            """[{"type":"thinking","thinking":"I think","signature":""},{"type":"text","text":"Well, now"},"""
            + """{"type":"tool_use","id":"toolu_a","name":"f","input":{"x":1}},{"type":"tool_use","id":"toolu_b","name":"g","input":{}}]"""));
        Assert.That((whole.StopReason, whole.Usage.InputTokens, whole.Usage.CacheReadInputTokens, whole.Usage.OutputTokens), Is.EqualTo(("tool_use", 3, 2, 9)));
    }

    [Test]
    public void Messages_Stream_TellsBlocksOneAfterTheOther()
    {
        List<string> events = Steps(step => (string[])[JsonSerializer.Serialize(MessageWriter.Of(step), MessagesJson.Api.MessageEvent)]);
        Assert.That(events, Is.EqualTo(new[]
        {
            """{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}""",
            """{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"I "}}""",
            """{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"think"}}""",
            """{"type":"content_block_stop","index":0}""",
            """{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}""",
            """{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Well"}}""",
            """{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":", now"}}""",
            """{"type":"content_block_stop","index":1}""",
            """{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_a","name":"f","input":{}}}""",
            """{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"x\""}}""",
            """{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":":1}"}}""",
            """{"type":"content_block_stop","index":2}""",
            """{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_b","name":"g","input":{}}}""",
            """{"type":"content_block_stop","index":3}""",
        }));
    }

    [Test]
    public void Blocks_NothingSaid_AreOneEmptyText()
    {
        AnswerBlocks blocks = Whole([new StartedEvent(0), new FinishedEvent(0, EndReason.Stop, null, null, 1, null)]);
        Assert.That((blocks.All.Single().Kind, blocks.All[0].Text), Is.EqualTo((BlockKind.Text, "")));
    }

    [TestCase("{\"a\": [1, \"é\"]}", "{\"a\": [1, \"é\"]}")]
    [TestCase("", "{}")]
    [TestCase("{\"a\": ", "{\"INVALID_JSON\":\"{\\u0022a\\u0022: \"}")]
    [TestCase("{\"a\":\"\\ud800\"}", "{\"INVALID_JSON\":\"{\\u0022a\\u0022:\\u0022\\\\ud800\\u0022}\"}")]
    [TestCase("[1]", "{\"INVALID_JSON\":\"[1]\"}")]
    public void CallArguments_Text_IsAnObject(string arguments, string json) => Assert.That(CallArguments.ObjectOf(arguments).GetRawText(), Is.EqualTo(json));

    [Test]
    public void Conversation_ManyPieces_AreReadInTheirTime()
    {
        ConversationBuilder conversation = new([]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        conversation.Message("m", "user", ["a"], isList: false);
        for (int i = 0; i < 20_000; i++)
            conversation.TryMerge("m", "user", ["a"]);
        for (int i = 0; i < 20_000; i++)
            conversation.Reasoning("m", "a");
        for (int i = 0; i < 20_000; i++)
            conversation.Call("m", "c", "f", "{}");
        for (int i = 0; i < 20_000; i++)
            conversation.Result("m", "c", null, ["a"], isList: false);
        Assert.That((conversation.Messages.Count, conversation.Messages[0].Content.Count, conversation.Messages[1].ToolCalls.Count), Is.EqualTo((20_002, 20_001, 20_000)));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(64L << 20), "copies of what came before would take gigabytes");
    }

    [Test]
    public void Store_TooManyBytesOrTooOld_LosesTheOldestFirst()
    {
        ManualTime time = new();
        ResponseStore store = new(new ResponseStoreSettings { Count = 10, Bytes = 20_000, Age = TimeSpan.FromMinutes(1) }, time);
        ResponseReply reply = Responses().Whole(Whole(s_script));
        StoredResponse Kept(string id, int characters) => new(reply with { Id = id }, [], [ConversationMessage.Create("m", "user", [new string('a', characters)], null, null, null)], null);
        store.Add(Kept("a", 1));
        store.Add(Kept("b", 1));
        Assert.That(store.Get("a", null).Reply.Id, Is.EqualTo("a"));
        store.Add(Kept("c", 6_500));
        Assert.That(() => store.Get("a", null), Throws.TypeOf<RequestRejectedException>().With.Message.Contains("'a'"));
        Assert.That(store.Get("c", null).Reply.Id, Is.EqualTo("c"));
        time.Advance(TimeSpan.FromMinutes(2));
        Assert.That(() => store.Get("c", null), Throws.TypeOf<RequestRejectedException>());
        store.Add(Kept("d", 20_000));
        Assert.That(() => store.Get("d", null), Throws.TypeOf<RequestRejectedException>(), "it is larger than all may be");
    }
}
