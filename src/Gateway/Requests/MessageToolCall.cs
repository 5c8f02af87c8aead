using System.Text.Json;
using TpServe.ChatTemplates;
using TpServe.ChatTemplates.Values;

namespace TpServe.Gateway.Requests;

/// <summary>A call that the model made in an earlier turn.</summary>
/// <param name="Id">Names it in the answer to it; null = not given.</param>
/// <param name="Name">The function.</param>
/// <param name="Arguments">A JSON object's text.</param>
public sealed record MessageToolCall(string? Id, string Name, string Arguments)
{
    private const int ShortId = 9;

    /// <summary>The calls of a message.</summary>
    /// <param name="field">What errors call them.</param>
    /// <param name="role">Who made them; only the assistant does.</param>
    /// <param name="calls">As the request gives them; arguments that are not given or empty are none.</param>
    /// <exception cref="RequestRejectedException">One has no name, or arguments that are no JSON object.</exception>
    public static IReadOnlyList<MessageToolCall> Of(string field, string? role, IReadOnlyList<(string? Id, string? Name, string? Arguments)> calls)
    {
        if (calls.Count > 0 && role != "assistant")
            throw RequestRejectedException.Invalid(field, $"'{field}' is of a message of role '{role}'; only the assistant calls tools.");
        List<MessageToolCall> made = [];
        foreach ((string? id, string? name, string? arguments) in calls)
        {
            string where = $"{field}[{made.Count}]";
            if (string.IsNullOrEmpty(name))
                throw RequestRejectedException.Invalid($"{where}.function.name", $"'{where}.function.name' must be set.");
            foreach ((string key, string? text) in ((string, string?)[])[("id", id), ("function.name", name), ("function.arguments", arguments)])
                Utf8Text.Require($"{where}.{key}", text ?? "");
            made.Add(new MessageToolCall(id, name, string.IsNullOrWhiteSpace(arguments) ? "{}" : arguments));
            if (!ToolDefinition.IsObject(made[^1].Arguments))
                throw RequestRejectedException.Invalid($"{where}.function.arguments", $"'{where}.function.arguments' must be the text of a JSON object.");
        }
        return made;
    }

    /// <summary>The call as a map of the template.</summary>
    public Value Of(TemplateTraits traits)
    {
        Value arguments = traits.Calls is { TextArguments: true } ? RequestValue.Of(Arguments) : Parsed(Arguments);
        List<KeyValuePair<string, Value>> entries = Id is null ? [] : [new("id", RequestValue.Of(IdOf(Id, traits)!))];
        entries.Add(new("type", RequestValue.Of("function")));
        entries.Add(new("function", RequestValue.Map([new("name", RequestValue.Of(Name)), new("arguments", arguments)])));
        return RequestValue.Map(entries);

        static Value Parsed(string json)
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return RequestValue.FromJson(document.RootElement);
        }
    }

    /// <summary>An id as the template reads it: some raise an error over any but nine letters or digits.</summary>
    public static string? IdOf(string? id, TemplateTraits traits)
    {
        if (id is null || traits.Calls is not { ShortIds: true })
            return id;
        string letters = string.Concat(id.Where(char.IsAsciiLetterOrDigit));
        return letters.Length >= ShortId ? letters[^ShortId..] : letters.PadLeft(ShortId, '0');
    }
}
