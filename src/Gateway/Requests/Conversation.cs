using System.Collections.Frozen;
using System.Numerics;
using Google.Protobuf.WellKnownTypes;
using TpServe.ChatTemplates;
using TpServe.Protos.V1;
using ProtoValue = Google.Protobuf.WellKnownTypes.Value;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Requests;

/// <summary>A conversation as the chat template sees it. Each API makes it once, out of its own form: HTTP of JSON, gRPC of the proto.</summary>
public sealed record Conversation
{
    private const int MaxDepth = 64; // of template_variables, as of an HTTP body
    private const double LongEnd = 9223372036854775808; // 2⁶³

    /// <summary>Roles that every template is taken to know; others are known to those that name them.</summary>
    public static IReadOnlySet<string> CommonRoles { get; } = new[] { "system", "developer", "user", "assistant", "tool" }.ToFrozenSet();

    /// <summary>Oldest first.</summary>
    public required IReadOnlyList<ConversationMessage> Messages { get; init; }

    /// <summary>About how many bytes of the request it was made of.</summary>
    public long RequestBytes { get; init; }

    /// <summary>What the model may call.</summary>
    public IReadOnlyList<ToolDefinition> Tools { get; init; } = [];

    /// <summary>How long the model is to think, in the words of ChatRequest.reasoning_effort; null = as its template has it.</summary>
    public string? ReasoningEffort { get; init; }

    /// <summary>Further variables of the template by name.</summary>
    public IReadOnlyDictionary<string, Value> Variables { get; init; } = new Dictionary<string, Value>();

    /// <summary>Whether the prompt ends where the assistant's turn begins; null = yes, unless the last message goes on.</summary>
    public bool? AddGenerationPrompt { get; init; }

    /// <summary>Whether the prompt ends inside the last message.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>The conversation of a gRPC request. A Struct knows only doubles: those that are whole and fit 64 bits are integers here.</summary>
    /// <exception cref="RequestRejectedException">A message or a variable is malformed.</exception>
    public static Conversation Of(ChatRequest chat) => new()
    {
        Messages = [.. chat.Messages.Select((message, index) => Message(message, $"messages[{index}]"))],
        Tools = ToolDefinition.Of(chat.Tools),
        ReasoningEffort = chat.HasReasoningEffort ? chat.ReasoningEffort : null,
        Variables = Entries(chat.TemplateVariables ?? new Struct(), 1).ToDictionary(),
        AddGenerationPrompt = chat.HasAddGenerationPrompt ? chat.AddGenerationPrompt : null,
        ContinueFinalMessage = chat.ContinueFinalMessage,
        RequestBytes = chat.CalculateSize(),
    };

    private static ConversationMessage Message(ChatMessage message, string field)
    {
        string? role = message.Role switch
        {
            ChatRole.System => "system",
            ChatRole.Developer => "developer",
            ChatRole.User => "user",
            ChatRole.Assistant => "assistant",
            ChatRole.Tool => "tool",
            ChatRole.Unspecified => message.HasRoleName ? message.RoleName : null,
            _ => throw RequestRejectedException.OutOfRange($"{field}.role", message.Role.ToString(), "one of ChatRole's values"),
        };
        if (message.Role != ChatRole.Unspecified && message.HasRoleName)
            throw RequestRejectedException.Invalid($"{field}.role_name", $"'{field}.role' and '{field}.role_name' exclude each other.");
        return ConversationMessage.Create(
            field, role, message.HasContent ? [message.Content] : null, message.HasName ? message.Name : null, message.HasReasoning ? message.Reasoning : null,
            message.HasToolCallId ? message.ToolCallId : null) with
        {
            ToolCalls = MessageToolCall.Of(
                $"{field}.tool_calls", role, [.. message.ToolCalls.Select(call => (call.HasId ? call.Id : null, call.HasName ? call.Name : null, call.HasArguments ? call.Arguments : null))]),
        };
    }

    private static IEnumerable<KeyValuePair<string, Value>> Entries(Struct given, int depth) =>
        given.Fields.Select(field => KeyValuePair.Create(Text(field.Key), Variable(field.Value, depth + 1)));

    private static Value Variable(ProtoValue given, int depth)
    {
        if (depth > MaxDepth)
            throw NotJson($"it nests deeper than {MaxDepth}");
        return given.KindCase switch
        {
            ProtoValue.KindOneofCase.NullValue => RequestValue.None,
            ProtoValue.KindOneofCase.BoolValue => RequestValue.Of(given.BoolValue),
            ProtoValue.KindOneofCase.NumberValue => Number(given.NumberValue),
            ProtoValue.KindOneofCase.StringValue => RequestValue.Of(Text(given.StringValue)),
            ProtoValue.KindOneofCase.ListValue => RequestValue.List(given.ListValue.Values.Select(item => Variable(item, depth + 1))),
            ProtoValue.KindOneofCase.StructValue => RequestValue.Map(Entries(given.StructValue, depth)),
            _ => throw NotJson("it holds a value of no kind"),
        };
    }

    private static Value Number(double number)
    {
        if (!double.IsFinite(number))
            throw NotJson("it holds a number that is not finite");
        return double.IsInteger(number) && Math.Abs(number) < LongEnd ? RequestValue.Of(new BigInteger(number)) : RequestValue.Of(number);
    }

    private static string Text(string text)
    {
        Utf8Text.Require("template_variables", text);
        return text;
    }

    private static RequestRejectedException NotJson(string why) =>
        RequestRejectedException.Invalid("template_variables", $"'template_variables' is not JSON: {why}.");
}

/// <summary>One turn of a conversation, as the request gives it.</summary>
/// <param name="Role">Who speaks, in 1 to <see cref="MostRoleCharacters"/> characters.</param>
/// <param name="Content">Its texts: one, or the parts of a list.</param>
/// <param name="Name">Name of the speaker; null = none.</param>
/// <param name="Reasoning">What the model thought before; null = nothing.</param>
/// <param name="ToolCallId">The call that it answers; null = none.</param>
public sealed record ConversationMessage(string Role, IReadOnlyList<string> Content, string? Name, string? Reasoning, string? ToolCallId)
{
    /// <summary>Longest name of a role, in UTF-16 units.</summary>
    public const int MostRoleCharacters = 64;

    /// <summary>The content came as a list of parts and not as one text.</summary>
    public bool IsList { get; init; }

    /// <summary>The assistant's calls of tools, in its order.</summary>
    public IReadOnlyList<MessageToolCall> ToolCalls { get; init; } = [];

    /// <summary>It says nothing.</summary>
    public bool IsEmpty => Content.All(text => text.Length == 0);

    /// <param name="field">What errors call the message.</param>
    /// <param name="role">Null = not given.</param>
    /// <param name="content">Null = none, which only the assistant's may have.</param>
    /// <exception cref="RequestRejectedException">It has no role, no content, or text that is no Unicode.</exception>
    public static ConversationMessage Create(
        string field, string? role, IReadOnlyList<string>? content, string? name, string? reasoning, string? toolCallId, bool isList = false)
    {
        if (role is null || role.Length is 0 or > MostRoleCharacters)
            throw RequestRejectedException.OutOfRange(
                $"{field}.role", role is null ? "not given" : Quoted(role), $"a name of 1 to {MostRoleCharacters} characters: system, developer, user, assistant, tool, or another that the model's template knows");
        Utf8Text.Require($"{field}.role", role);
        if (content is null && role != "assistant")
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be set.");
        foreach (string text in content ?? [])
            Utf8Text.Require($"{field}.content", text);
        foreach ((string key, string? text) in ((string, string?)[])[("name", name), ("reasoning_content", reasoning), ("tool_call_id", toolCallId)])
            if (text is not null)
                Utf8Text.Require($"{field}.{key}", text);
        return new ConversationMessage(role, content ?? [""], name, reasoning, toolCallId) { IsList = isList };
    }

    /// <summary>The message as a map of the template; what is null is left out.</summary>
    public Value Of(TemplateTraits traits)
    {
        // Templates that print any role would print one that the model has never seen.
        string role = Role == "developer" && !traits.Names(Role) ? "system" : Role;
        bool isNone = traits.Calls is { NoContent: true } && ToolCalls.Count > 0 && IsEmpty;
        List<KeyValuePair<string, Value>> entries =
        [
            new("role", RequestValue.Of(role)),
            new("content", isNone ? RequestValue.None : IsList ? traits.Content(role, Content) : traits.Content(role, Content[0])),
        ];
        foreach ((string key, string? text) in ((string, string?)[])[("name", Name), ("reasoning_content", Reasoning), ("tool_call_id", MessageToolCall.IdOf(ToolCallId, traits))])
            if (text is not null)
                entries.Add(new(key, RequestValue.Of(text)));
        if (ToolCalls.Count > 0)
            entries.Add(new("tool_calls", RequestValue.List(ToolCalls.Select(call => call.Of(traits)))));
        return RequestValue.Map(entries);
    }

    private static string Quoted(string role) => role.Length <= MostRoleCharacters ? $"'{role}'" : $"'{role[..MostRoleCharacters]}…'";
}
