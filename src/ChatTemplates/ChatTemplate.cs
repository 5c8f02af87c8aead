using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Parsing;
using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates;

/// <summary>A model's chat template: Jinja as transformers sets it up, parsed once and rendered per request.</summary>
/// <remarks>
/// Threads  immutable; any number of renderings may run at the same time.
/// Errors   <see cref="ChatTemplateException"/> for every fault of the template or its input; OperationCanceledException.
/// Source   Jinja 3.1's template designer documentation; transformers' render_jinja_template (immutable sandbox, trim_blocks, lstrip_blocks,
///          loop controls, the generation tag, tojson without ASCII escapes, raise_exception, strftime_now).
/// Oracle   the rendered texts of transformers 5.23 and Jinja 3.1.6 in the golden set chat-templates, equal character by character.
/// </remarks>
public sealed class ChatTemplate
{
    private readonly Statement[] _body;

    private ChatTemplate(string source, Statement[] body)
    {
        Source = source;
        _body = body;
    }

    /// <summary>The template's own text.</summary>
    public string Source { get; }

    /// <summary>Parses a template.</summary>
    /// <exception cref="ChatTemplateException">The text is no valid template, or nests or is longer than any template does.</exception>
    public static ChatTemplate Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new ChatTemplate(text, StatementParser.Parse(text));
    }

    /// <summary>Renders one conversation.</summary>
    /// <exception cref="ChatTemplateException">The template raised an error, failed on the input, or reached a limit.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public RenderedPrompt Render(ChatTemplateInput input, RenderLimits limits, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(limits);
        cancellationToken.ThrowIfCancellationRequested();
        RenderState state = new(limits, input.Now, cancellationToken);
        try
        {
            Scope scope = new(null);
            GlobalFunctions.Define(scope);
            new RequestVariables(state, input).Define(scope);
            StringValue prompt = StatementExecutor.Capture(state, scope, _body);
            return ToPrompt(input.ContinueFinalMessage ? CutAtTag(prompt) : prompt);
        }
        catch (ChatTemplateException e) when (e.Line is null && e.Reason != ChatTemplateErrorReason.Input)
        {
            e.Line = state.Line;
            throw;
        }
    }

    /// <summary>The prompt up to the end of the message to be continued.</summary>
    private static StringValue CutAtTag(StringValue prompt)
    {
        string text = prompt.Text, tag = RequestVariables.ContinueTag;
        int at = text.LastIndexOf(tag.TrimEnd(), StringComparison.Ordinal);
        if (at < 0)
            throw Fault.Input("The message to continue does not appear in the rendered prompt.");
        // A template that trimmed the tag's last space trims the message's white space too.
        if (string.CompareOrdinal(text, at, tag, 0, tag.Length) != 0)
            while (at > 0 && PythonText.IsSpace(text[at - 1]))
                at--;
        return prompt.Slice(0, at);
    }

    private static RenderedPrompt ToPrompt(StringValue prompt)
    {
        List<RenderedSegment> segments = new(prompt.Flips.Length + 1);
        bool isData = prompt.StartsAsData;
        int start = 0;
        foreach (int flip in prompt.Flips.Append(prompt.Text.Length))
        {
            if (flip > start)
                segments.Add(new RenderedSegment(prompt.Text[start..flip], !isData));
            (start, isData) = (flip, !isData);
        }
        return new RenderedPrompt(prompt.Text, segments);
    }
}

/// <summary>What one rendering may cost; beyond any of these it ends with <see cref="ChatTemplateErrorReason.LimitExceeded"/>.</summary>
/// <param name="MaxSteps">Evaluated nodes, plus one for each element copied and each 32 characters of text made.</param>
/// <param name="MaxDepth">Nested evaluations: a macro that calls itself uses about eight a call.</param>
/// <param name="MaxOutputChars">Length of the result, and of every text on the way to it, in UTF-16 units.</param>
/// <param name="MaxTime">Wall-clock time.</param>
public sealed record RenderLimits(int MaxSteps, int MaxDepth, int MaxOutputChars, TimeSpan MaxTime)
{
    /// <summary>Enough for a conversation of several megabytes, and reached by a runaway template within a second.</summary>
    public static RenderLimits Default { get; } = new(2_000_000, 1_000, 8_000_000, TimeSpan.FromMilliseconds(900));
}

/// <summary>The prompt a template made of a conversation.</summary>
/// <param name="Text">The whole prompt.</param>
/// <param name="Segments">The same text cut where its origin changes; neighbours differ in origin.</param>
public sealed record RenderedPrompt(string Text, IReadOnlyList<RenderedSegment> Segments);

/// <summary>A stretch of a rendered prompt with one origin.</summary>
/// <param name="Text">The text, never empty.</param>
/// <param name="FromTemplate">True for the template's own text and the bos and eos tokens, in which special tokens may be recognised;
/// false for the request's data, where text that looks like a special token is only text.</param>
public readonly record struct RenderedSegment(string Text, bool FromTemplate);
