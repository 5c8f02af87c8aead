using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>Puts the messages of a conversation together for dialects in which a turn comes in pieces: an assistant's thoughts, text and calls are one message.</summary>
/// <param name="before">Messages of earlier turns.</param>
internal sealed class ConversationBuilder(IEnumerable<ConversationMessage> before)
{
    private readonly List<ConversationMessage> _messages = [.. before];
    private readonly Dictionary<string, string> _functions = before.SelectMany(message => message.ToolCalls).Where(call => call.Id is not null).GroupBy(call => call.Id!).ToDictionary(calls => calls.Key, calls => calls.Last().Name);
    private readonly StringBuilder _reasoning = new(); // of the assistant's message that comes next
    private List<string>? _texts; // of the last message, where they grow
    private List<MessageToolCall>? _calls; // likewise
    private bool _thought;

    /// <summary>All of them, oldest first.</summary>
    public IReadOnlyList<ConversationMessage> Messages
    {
        get
        {
            if (_thought)
                Message("reasoning", "assistant", [""], isList: false);
            return _messages;
        }
    }

    /// <summary>About how many bytes of text they are.</summary>
    public static long BytesOf(IEnumerable<ConversationMessage> messages) => messages.Sum(message =>
        64L + (2L * message.Content.Sum(text => text.Length)) + (2L * (message.Reasoning?.Length ?? 0)) + message.ToolCalls.Sum(call => 64L + (2L * (call.Name.Length + call.Arguments.Length))));

    /// <summary>Adds a message of texts.</summary>
    /// <param name="field">What errors call it.</param>
    /// <param name="role">Who speaks.</param>
    /// <param name="texts">The text, or those of its parts.</param>
    /// <param name="isList">They are parts.</param>
    public void Message(string field, string? role, IReadOnlyList<string>? texts, bool isList)
    {
        bool thought = role == "assistant" && _thought;
        Add(ConversationMessage.Create(field, role, texts, name: null, thought ? _reasoning.ToString() : null, toolCallId: null, isList));
        if (!thought)
            return;
        _reasoning.Clear();
        _thought = false;
    }

    /// <summary>Adds texts to the last message where it is of the same role and says nothing but text.</summary>
    public bool TryMerge(string field, string role, IReadOnlyList<string> texts)
    {
        if (_messages is not [.., var last] || last.Role != role || last.ToolCalls.Count > 0 || _thought)
            return false;
        foreach (string text in texts)
            Utf8Text.Require(field, text);
        if (_texts is null)
            _messages[^1] = last with { Content = _texts = [.. last.Content], IsList = true };
        _texts.AddRange(texts);
        return true;
    }

    /// <summary>What the assistant thought before its next message or call.</summary>
    public void Reasoning(string field, string text)
    {
        Utf8Text.Require(field, text);
        _reasoning.Append(text);
        _thought = true;
    }

    /// <summary>Adds a call to the assistant's message that is the last, or else to a new one.</summary>
    /// <exception cref="RequestRejectedException">The arguments are no JSON object.</exception>
    public void Call(string field, string? id, string? name, string? arguments)
    {
        if (string.IsNullOrEmpty(name))
            throw RequestRejectedException.Invalid($"{field}.name", $"'{field}.name' must be set.");
        if (!CallArguments.IsObject(arguments))
            throw RequestRejectedException.Invalid($"{field}.arguments", $"'{field}.arguments' must be the text of a JSON object.");
        foreach (string? text in (string?[])[id, name, arguments])
            Utf8Text.Require(field, text ?? "");
        if (_thought || _messages is not [.., { Role: "assistant" }])
            Message(field, "assistant", null, isList: false);
        if (_calls is null)
            _messages[^1] = _messages[^1] with { ToolCalls = _calls = [.. _messages[^1].ToolCalls] };
        _calls.Add(new MessageToolCall(id, name, arguments!));
        if (id is not null)
            _functions[id] = name;
    }

    /// <summary>Adds what a call came to; the function's name is looked up where the dialect names only the call.</summary>
    public void Result(string field, string? callId, string? name, IReadOnlyList<string> texts, bool isList)
    {
        name ??= callId is null ? null : _functions.GetValueOrDefault(callId);
        Add(ConversationMessage.Create(field, "tool", texts, name, reasoning: null, callId, isList));
    }

    private void Add(ConversationMessage message)
    {
        _messages.Add(message);
        (_texts, _calls) = (null, null);
    }
}

/// <summary>The arguments of a call as JSON.</summary>
internal static class CallArguments
{
    // What a client that reads arguments as an object finds in it where they are none: the text of a call that was cut off, or that the model got wrong.
    private const string Wrong = "INVALID_JSON";

    /// <summary>Whether a text is a JSON object.</summary>
    public static bool IsObject(string? arguments) => Parse(arguments) is not null;

    /// <summary>The object that the model wrote; where it is none, one that holds its text.</summary>
    public static JsonElement ObjectOf(string arguments)
    {
        if (Parse(arguments.Length == 0 ? "{}" : arguments) is { } element)
            return element;
        using JsonDocument document = JsonDocument.Parse(new JsonObject { [Wrong] = arguments }.ToJsonString());
        return document.RootElement.Clone();
    }

    private static JsonElement? Parse(string? arguments)
    {
        if (arguments is null || !ToolDefinition.IsObject(arguments))
            return null;
        using JsonDocument document = JsonDocument.Parse(arguments);
        return document.RootElement.Clone();
    }
}
