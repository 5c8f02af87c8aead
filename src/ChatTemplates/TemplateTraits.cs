using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates;

/// <summary>What a template makes of a conversation, found by rendering small ones: which shapes of content it reads, by role, which roles it names, and what of tools it shows.</summary>
/// <remarks>
/// A template that reads lists alone would drop a message given as text without a word, and one that reads text alone would print a list as Python shows it.
/// So it is with calls of tools: their arguments are an object to most templates and JSON text to some, and others pass over them.
/// Source   probing by rendering, as llama.cpp's minja finds a template's capabilities.
/// </remarks>
public sealed class TemplateTraits
{
    private const string First = "Probe1Alpha", Second = "Probe2Omega";

    private readonly string _source;
    private readonly Dictionary<string, ContentShapes> _shapes = new(StringComparer.Ordinal);

    private TemplateTraits(string source) => _source = source;

    /// <summary>Renders the probes: about twenty messages.</summary>
    /// <param name="template">The template.</param>
    /// <param name="bosToken">As in <see cref="ChatTemplateInput"/>.</param>
    /// <param name="eosToken">As in <see cref="ChatTemplateInput"/>.</param>
    public static TemplateTraits Of(ChatTemplate template, string? bosToken, string? eosToken)
    {
        ArgumentNullException.ThrowIfNull(template);
        TemplateTraits traits = new(template.Source);
        // The user's first: the other probes need a user's turn that the template reads.
        foreach (string role in (string[])["user", "system", "assistant"])
        {
            bool text = Between(RequestValue.Of(First), First, First) is not null;
            bool list = Between(Parts(First, Second), First, Second)?.Contains("text", StringComparison.Ordinal) == false;
            traits._shapes[role] = new ContentShapes(text, list);

            string? Between(Value content, string from, string to)
            {
                string? prompt = Render(role, content);
                int start = prompt?.IndexOf(from, StringComparison.Ordinal) ?? -1, end = start < 0 ? -1 : prompt!.IndexOf(to, start, StringComparison.Ordinal);
                return end < 0 ? null : from == to ? "" : prompt![(start + from.Length)..end];
            }
        }
        new ToolProbe(template, bosToken, eosToken, text => traits.Content("user", text)).Run(traits);
        return traits;

        string? Render(string role, Value content)
        {
            Value user = Message("user", traits._shapes.TryGetValue("user", out ContentShapes own) && own is { Text: false, Parts: true } ? Parts("a") : RequestValue.Of("a"));
            Value probed = Message(role, content);
            Value[] messages = role switch { "system" => [probed, user], "assistant" => [user, probed, user], _ => [probed] };
            try
            {
                return template.Render(
                    new ChatTemplateInput { Messages = RequestValue.List(messages), BosToken = bosToken, EosToken = eosToken, Now = DateTimeOffset.UnixEpoch },
                    RenderLimits.Default, CancellationToken.None).Text;
            }
            catch (ChatTemplateException)
            {
                return null; // it does not read this: many raise an error over a system message
            }
        }
    }

    /// <summary>Whether tools that it is given come into the prompt.</summary>
    public bool ShowsTools { get; internal set; }

    /// <summary>How it reads the calls of earlier turns; null = they do not come into the prompt.</summary>
    public CallShape? Calls { get; internal set; }

    /// <summary>Whether all calls of one message come into the prompt; some templates write the first alone.</summary>
    public bool ShowsSeveralCalls { get; internal set; }

    /// <summary>Whether the content of tool messages comes into the prompt.</summary>
    public bool ShowsResults { get; internal set; }

    /// <summary>Whether this stands in the template's own text.</summary>
    public bool Shows(string text) => _source.Contains(text, StringComparison.Ordinal);

    /// <summary>Whether the template compares or prints this role by name, and so knows it.</summary>
    public bool Names(string role) => _source.Contains($"'{role}'", StringComparison.Ordinal) || _source.Contains($"\"{role}\"", StringComparison.Ordinal);

    /// <summary>What the template reads as the content of a role's message; of a role that was not probed, as of the user's.</summary>
    public ContentShapes ContentOf(string role) => _shapes.GetValueOrDefault(role, _shapes["user"]);

    /// <summary>Text in the shape that the role's messages have to this template.</summary>
    public Value Content(string role, string text) => ContentOf(role) is { Text: false, Parts: true } ? Parts(text) : RequestValue.Of(text);

    /// <summary>Several texts in the shape that the role's messages have to this template: a list of parts where it reads one, else put together.</summary>
    public Value Content(string role, IReadOnlyList<string> parts) => ContentOf(role).Parts ? Parts([.. parts]) : RequestValue.Of(string.Concat(parts));

    private static Value Message(string role, Value content) => RequestValue.Map([new("role", RequestValue.Of(role)), new("content", content)]);

    private static Value Parts(params string[] texts) =>
        RequestValue.List(texts.Select(text => RequestValue.Map([new("type", RequestValue.Of("text")), new("text", RequestValue.Of(text))])));
}

/// <summary>Shapes of a message's content that a template reads.</summary>
/// <param name="Text">A string.</param>
/// <param name="Parts">A list of maps with type and text.</param>
public readonly record struct ContentShapes(bool Text, bool Parts);

/// <summary>How a template reads the calls of an assistant's message.</summary>
/// <param name="NoContent">Only beside content that is none; else beside an empty text.</param>
/// <param name="TextArguments">Arguments are JSON text; else an object.</param>
/// <param name="ShortIds">Ids are nine letters or digits.</param>
public readonly record struct CallShape(bool NoContent, bool TextArguments, bool ShortIds);
