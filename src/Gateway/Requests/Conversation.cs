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

    /// <summary>The roles, as errors list them.</summary>
    public const string AllRoles = "system, developer, user, assistant or tool";

    /// <summary>Roles are a closed set, so templates may build special tokens out of their names.</summary>
    public static IReadOnlySet<string> Roles { get; } = new[] { "system", "developer", "user", "assistant", "tool" }.ToFrozenSet();

    /// <summary>Oldest first, each made by <see cref="Message"/>.</summary>
    public required IReadOnlyList<Value> Messages { get; init; }

    /// <summary>About how many bytes of the request it was made of.</summary>
    public long RequestBytes { get; init; }

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
        Variables = Entries(chat.TemplateVariables ?? new Struct(), 1).ToDictionary(),
        AddGenerationPrompt = chat.HasAddGenerationPrompt ? chat.AddGenerationPrompt : null,
        ContinueFinalMessage = chat.ContinueFinalMessage,
        RequestBytes = chat.CalculateSize(),
    };

    /// <summary>One message as a map of the template; what is null is left out.</summary>
    /// <param name="field">What errors call the message.</param>
    /// <param name="role">One of <see cref="Roles"/>.</param>
    /// <exception cref="RequestRejectedException">It has no content, or text that is no Unicode.</exception>
    public static Value Message(string field, string role, string? content, string? name, string? reasoning, string? toolCallId)
    {
        if (content is null)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be set.");
        List<KeyValuePair<string, Value>> entries = [new("role", RequestValue.Of(role))];
        Add("content", content);
        Add("name", name);
        Add("reasoning_content", reasoning);
        Add("tool_call_id", toolCallId);
        return RequestValue.Map(entries);

        void Add(string key, string? text)
        {
            if (text is null)
                return;
            Utf8Text.Require($"{field}.{key}", text);
            entries.Add(new(key, RequestValue.Of(text)));
        }
    }

    private static Value Message(ChatMessage message, string field)
    {
        string role = message.Role switch
        {
            ChatRole.System => "system",
            ChatRole.Developer => "developer",
            ChatRole.User => "user",
            ChatRole.Assistant => "assistant",
            ChatRole.Tool => "tool",
            _ => throw RequestRejectedException.OutOfRange($"{field}.role", message.Role.ToString(), AllRoles),
        };
        if (message.ToolCalls.Count > 0)
            throw RequestRejectedException.Unimplemented($"{field}.tool_calls");
        return Message(
            field, role,
            message.HasContent ? message.Content : null,
            message.HasName ? message.Name : null,
            message.HasReasoning ? message.Reasoning : null,
            message.HasToolCallId ? message.ToolCallId : null);
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
