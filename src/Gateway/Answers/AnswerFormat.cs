using System.Security.Cryptography;
using System.Text;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using TpServe.Grammar.Parts;
using TpServe.Tokenization;

namespace TpServe.Gateway.Answers;

/// <summary>How the served model writes thoughts and calls, by what its chat template shows.</summary>
/// <remarks>Threads  immutable.</remarks>
internal sealed class AnswerFormat
{
    private const int PromptEndTokens = 24; // more than any mark has, spelt out
    private const int IdLetters = 24;

    private readonly Tokenizer _tokenizer;

    private AnswerFormat(TemplateTraits traits, Tokenizer tokenizer)
    {
        _tokenizer = tokenizer;
        Traits = traits;
        ToolFormat? shown = ToolFormats.All.FirstOrDefault(format => format.Shown.All(traits.Shows));
        Tools = shown ?? ToolFormats.Generic;
        TemplateTakesTools = shown is not null && traits.ShowsTools;
        IsGeneric = shown is null;
        IsHarmony = shown == ToolFormats.Harmony;
        Reasoning = IsHarmony ? null : ReasoningMarks.All.FirstOrDefault(marks => marks.Shown.All(traits.Shows));
        ReasoningTokens = Specials(Reasoning is null ? HarmonyMarks : [Reasoning.Open, Reasoning.Close, .. Reasoning.Around]);
        ToolTokens = Specials(Tools.Marks);
    }

    /// <summary>What the template makes of a conversation.</summary>
    public TemplateTraits Traits { get; }

    /// <summary>How calls are written.</summary>
    public ToolFormat Tools { get; }

    /// <summary>The template shows no format that is known.</summary>
    public bool IsGeneric { get; }

    /// <summary>Tools are given to the template; else they are told in the system message.</summary>
    public bool TemplateTakesTools { get; }

    /// <summary>How thoughts are marked; null = they are not, or by channels.</summary>
    public ReasoningMarks? Reasoning { get; }

    /// <summary>Answers are messages on channels.</summary>
    public bool IsHarmony { get; }

    /// <summary>Special tokens that mark thoughts, or channels.</summary>
    private IReadOnlySet<int> ReasoningTokens { get; }

    /// <summary>Special tokens that mark calls.</summary>
    private IReadOnlySet<int> ToolTokens { get; }

    private IEnumerable<Mark> HarmonyMarks => IsHarmony ? ["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"] : [];

    /// <summary>The format of a model that has a chat template.</summary>
    public static AnswerFormat Of(ServingModel model) => new(TemplateTraits.Of(model.ChatTemplate!, model.BosToken, model.EosToken), model.Tokenizer);

    /// <summary>For tests: the format by a template alone, over a vocabulary.</summary>
    public static AnswerFormat Of(ChatTemplate template, string? bosToken, string? eosToken, Tokenizer tokenizer) => new(TemplateTraits.Of(template, bosToken, eosToken), tokenizer);

    /// <summary>Where a prompt leaves the model: within thoughts, or after thoughts that it may not have any more.</summary>
    public ThoughtState StateAfter(IReadOnlyList<int> prompt)
    {
        if (Reasoning is not { } marks)
            return IsHarmony ? ThoughtState.Before : ThoughtState.Never;
        string end = _tokenizer.Decode([.. prompt.Skip(prompt.Count - PromptEndTokens)], skipSpecialTokens: false).TrimEnd();
        return end.EndsWith(marks.Open.Written.Trim(), StringComparison.Ordinal) ? ThoughtState.Within
            : end.EndsWith(marks.Close.Written.Trim(), StringComparison.Ordinal) ? ThoughtState.After
            : ThoughtState.Before;
    }

    /// <summary>Begins parsers for a request's outputs; null where all that the model writes is text.</summary>
    public Func<int, IAnswerParser>? Parsers(ToolUse use, ThoughtState state, string requestId, bool skipsSpecialTokens, bool tellsReasoning)
    {
        if (use.Tools.Count == 0 && Reasoning is null && !IsHarmony)
            return null;
        ToolArguments tools = new(use.Tools);
        if (IsHarmony)
            return output => new HarmonyParser(tools, call => CallId(requestId, output, call)) { TellsReasoning = tellsReasoning };
        IReadOnlyList<Mark> hidden = skipsSpecialTokens ? [.. Kept(use).Select(id => (Mark)_tokenizer.TokenText(id)!)] : [];
        return output => new AnswerParser(
            Reasoning, state == ThoughtState.Within, use.Tools.Count > 0 ? Tools : null, tools, hidden, call => CallId(requestId, output, call))
        { TellsReasoning = tellsReasoning };
    }

    /// <summary>Special tokens that parsers need to see.</summary>
    public IReadOnlySet<int> Kept(ToolUse use) => use.Tools.Count == 0 ? ReasoningTokens : ReasoningTokens.Union(ToolTokens).ToHashSet();

    /// <summary>A text of the model's format, its special tokens as such.</summary>
    public GrammarPart Written(string text)
    {
        List<GrammarPart> parts = [];
        int at = 0;
        foreach (int id in _tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true).Where(_tokenizer.IsSpecial))
        {
            string special = _tokenizer.TokenText(id)!;
            int found = text.IndexOf(special, at, StringComparison.Ordinal);
            if (found < 0)
                continue;
            if (found > at)
                parts.Add(new GrammarPart.Text(text[at..found]));
            parts.Add(new GrammarPart.Special(id));
            at = found + special.Length;
        }
        if (at < text.Length)
            parts.Add(new GrammarPart.Text(text[at..]));
        return parts is [var only] ? only : new GrammarPart.Sequence(parts);
    }

    /// <summary>Any text up to a mark, and the mark.</summary>
    public GrammarPart UpTo(Mark mark)
    {
        GrammarPart written = Written(mark.Written);
        return new GrammarPart.Sequence(Lacking(mark), written);
    }

    /// <summary>Any text in which a mark does not begin.</summary>
    public GrammarPart Lacking(Mark mark) => Written(mark.Words[0]) switch
    {
        GrammarPart.Text text => new GrammarPart.Without(text.Value),
        GrammarPart.Sequence { Parts: [GrammarPart.Text text, ..] } => new GrammarPart.Without(text.Value),
        _ => new GrammarPart.Without(null), // what text cannot spell
    };

    // A function of what names the call: a stream that is resumed, or computed anew, has the same.
    private static string CallId(string requestId, int output, int call)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{requestId}\n{output}\n{call}"));
        return "call_" + string.Concat(hash.Take(IdLetters).Select(value => (char)((value % 52) switch { < 26 and var lower => 'a' + lower, var upper => 'A' + upper - 26 })));
    }

    private HashSet<int> Specials(IEnumerable<Mark> marks) =>
        [.. marks.Where(mark => !mark.IsEmpty).SelectMany(mark => _tokenizer.Encode(mark.Written, addSpecialTokens: false, parseSpecialTokens: true)).Where(_tokenizer.IsSpecial)];
}

/// <summary>Where an output begins.</summary>
internal enum ThoughtState
{
    /// <summary>The model marks no thoughts.</summary>
    Never,

    /// <summary>It may think first.</summary>
    Before,

    /// <summary>It thinks already.</summary>
    Within,

    /// <summary>It has thought, or is not to.</summary>
    After,
}
