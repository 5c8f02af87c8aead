using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Checkpoint;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Grammar;
using TpServe.Grammar.Masks;
using TpServe.Tokenization;
using static TpServe.Protos.V1.ToolChoice.Types;

namespace TpServe.Gateway.Tests.Answers;

/// <summary>Outputs that a form allows are read as what was asked: every call parses.</summary>
public sealed class CallGrammarTests
{
    private const string Think = "<think></think>";

    private static readonly ToolDefinition[] s_tools =
    [
        new("light", null, """{"type":"object","properties":{"on":{"type":"boolean"},"level":{"type":"integer","minimum":0,"maximum":100},"mode":{"enum":["warm","cold"]}},"required":["on","mode"],"additionalProperties":false}""", true),
        new("stop", null, null, false),
    ];

    // Bytes, and as special tokens the marks that some models have as such.
    private static readonly Tokenizer s_tokenizer = Tokenizer.Create(new TokenizerFiles
    {
        Vocabulary = new GgufVocabulary
        {
            Model = "gpt2",
            Pre = "gpt-2",
            Tokens = [.. Enumerable.Range(0, 256).Select(id => TestModel.Tokenizer.TokenText(id)!), "[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>", "</think>", "<|channel|>", "<|message|>", "<|constrain|>"],
            Types = [.. Enumerable.Repeat(1, 256), .. Enumerable.Repeat(3, 9)],
            Merges = [],
        },
    });

    private static readonly TokenTrie s_vocabulary = TokenTrie.Of(s_tokenizer);

    private static IEnumerable<TestCaseData> Formats() => ToolFormats.All.Append(ToolFormats.Generic).Select(format => new TestCaseData(format.Name));

    [TestCaseSource(nameof(Formats))]
    public void Required_AnyWalk_IsReadAsCalls(string name)
    {
        AnswerFormat answers = Format(name, "");
        foreach (ToolUse use in (ToolUse[])[new(s_tools, Mode.Required, null, true), new(s_tools, Mode.Required, null, false), new(s_tools, Mode.Function, "light", true)])
        {
            OutputGrammar grammar = OutputGrammar.FromParts(new CallGrammar(answers).Output(use, null, ThoughtState.Never));
            int several = 0;
            for (int seed = 0; seed < 12; seed++)
            {
                string output = Walk(grammar, seed);
                Parsed parsed = Parsed.Of(answers.Parsers(use, ThoughtState.Never, "r", true, true)!(0), [output]);
                Assert.That(parsed.Text, Is.EqualTo(""), output);
                Assert.That(parsed.Calls, Has.Count.GreaterThan(0), output);
                several = Math.Max(several, parsed.Calls.Count);
                foreach (ToolCallPiece call in parsed.Calls)
                    AssertFits(call.Name!, call.Arguments);
                if (use.Mode == Mode.Function)
                    Assert.That(parsed.Calls.Single().Name, Is.EqualTo("light"));
            }
            Assert.That(several > 1, Is.EqualTo(use is { Several: true, Mode: Mode.Required }));
        }
    }

    [TestCaseSource(nameof(Formats))]
    public void Strict_InAnAutomaticChoice_LetsWordsAndCallsPass(string name)
    {
        AnswerFormat answers = Format(name, "");
        ToolUse use = new(s_tools, Mode.Auto, null, true);
        OutputGrammar grammar = OutputGrammar.FromParts(new CallGrammar(answers).Output(use, null, ThoughtState.Never));
        string final = name == "harmony" ? "<|channel|>final<|message|>" : "";
        Assert.That(Accepts(grammar, final + "Just words, {\"and\": [braces]}."), Is.True);
        string call = CallWriter.Write(answers.Tools, [new MessageToolCall(null, "light", """{"on": true,"mode": "warm"}""")]);
        if (name == "mistral-ids")
            call = call.Replace("[ARGS]", "[CALL_ID]a1b2c3d4e[ARGS]", StringComparison.Ordinal);
        Assert.That(Accepts(grammar, call), Is.True, call);
        if (answers.Tools.IsMarked && name != "harmony")
            Assert.That(Accepts(grammar, "First. " + call), Is.True);
        Assert.That(Accepts(grammar, call.Replace("warm", "hot", StringComparison.Ordinal)), Is.False);
    }

    [TestCase(nameof(ThoughtState.Within), "I think.</think>\n\n", true)]
    [TestCase(nameof(ThoughtState.Within), "", false)]
    [TestCase(nameof(ThoughtState.Before), "<think>\nI think.</think>\n\n", true)]
    [TestCase(nameof(ThoughtState.Before), "", true)]
    [TestCase(nameof(ThoughtState.After), "", true)]
    [TestCase(nameof(ThoughtState.After), "<think></think>", false)]
    public void Thoughts_BeforeARequiredCallOrAConstraint_FollowThePrompt(string where, string thoughts, bool allowed)
    {
        ThoughtState state = Enum.Parse<ThoughtState>(where);
        AnswerFormat answers = Format("hermes", Think);
        CallGrammar forms = new(answers);
        ToolUse use = new(s_tools, Mode.Function, "stop", true);
        const string Call = "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>";
        Assert.That(Accepts(OutputGrammar.FromParts(forms.Output(use, null, state)), thoughts + Call), Is.EqualTo(allowed));
        Assert.That(Accepts(OutputGrammar.FromParts(forms.Output(ToolUse.None, new Grammar.Parts.GrammarPart.Regex("[0-9]+"), state)), thoughts + "12"), Is.EqualTo(allowed));
        OutputGrammar both = OutputGrammar.FromParts(forms.Output(use with { Mode = Mode.Auto }, new Grammar.Parts.GrammarPart.Regex("[0-9]+"), state));
        Assert.That((Accepts(both, thoughts + "12"), Accepts(both, thoughts + Call), Accepts(both, thoughts + "x")), Is.EqualTo((allowed, allowed, false)));
    }

    [TestCase("""{"properties":{"a":{"type":"integer"}}}""", false)]
    [TestCase("""{"properties":{"a":{"type":"integer"}},"additionalProperties":true}""", true)]
    [TestCase("""{"properties":{"a":{"type":"integer"}},"required":["b"]}""", true)]
    [TestCase("""{"type":"object"}""", true)]
    public void Members_ThatASchemaDoesNotDeclare_ComeOnlyWhereItSaysSo(string schema, bool others)
    {
        ToolUse use = new([new("f", null, schema, false)], Mode.Required, null, true);
        OutputGrammar grammar = OutputGrammar.FromParts(new CallGrammar(Format("hermes", "")).Output(use, null, ThoughtState.Never));
        Assert.That(Accepts(grammar, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1,\"b\":2}}\n</tool_call>"), Is.EqualTo(others));
    }

    [Test]
    public void Mark_ThatIsASpecialToken_IsOneTokenOfTheMask()
    {
        AnswerFormat answers = Format("mistral", "");
        GrammarMatcher matcher = OutputGrammar.FromParts(new CallGrammar(answers).Output(new ToolUse(s_tools, Mode.Required, null, true), null, ThoughtState.Never)).NewMatcher(s_vocabulary);
        ulong[] mask = new ulong[s_vocabulary.MaskWords];
        matcher.FillMask(mask);
        Assert.That(Tokens(mask), Is.EqualTo(new[] { 256 }), "the mark's letters do not spell it");
        Assert.That((matcher.Advance('['), matcher.Advance(256), matcher.Advance('[')), Is.EqualTo((false, true, true)));
    }

    [Test]
    public void Texts_WithoutQuotes_CannotBeHeldToALength()
    {
        ToolDefinition tool = new("say", null, """{"type":"object","properties":{"words":{"type":"string","maxLength":5}}}""", false);
        GrammarException fault = Assert.Throws<GrammarException>(() => new CallGrammar(Format("qwen3-coder", "")).Output(new ToolUse([tool], Mode.Required, null, true), null, ThoughtState.Never))!;
        Assert.That((fault.Kind, fault.Subject, fault.Place), Is.EqualTo((GrammarErrorKind.NotServed, "maxLength", "#/properties/words")));
    }

    private static AnswerFormat Format(string name, string more)
    {
        ToolFormat format = ToolFormats.All.Append(ToolFormats.Generic).Single(one => one.Name == name);
        return AnswerFormat.Of(ChatTemplate.Parse($"{{# {string.Join(' ', format.Shown)} {more} #}}{{{{ messages[0].content }}}}"), null, null, s_tokenizer);
    }

    private static void AssertFits(string name, string arguments)
    {
        using JsonDocument document = JsonDocument.Parse(arguments);
        Dictionary<string, JsonElement> members = document.RootElement.EnumerateObject().ToDictionary(member => member.Name, member => member.Value);
        if (name == "stop")
            Assert.That(members, Is.Empty);
        else
        {
            Assert.That(members["on"].ValueKind, Is.AnyOf(JsonValueKind.True, JsonValueKind.False));
            Assert.That(members["mode"].GetString(), Is.AnyOf("warm", "cold"));
            Assert.That(members.TryGetValue("level", out JsonElement level) ? level.GetInt32() : 0, Is.InRange(0, 100));
            Assert.That(members.Keys, Is.SubsetOf(new[] { "on", "mode", "level" }));
        }
    }

    private static bool Accepts(OutputGrammar grammar, string text)
    {
        GrammarMatcher matcher = grammar.NewMatcher(s_vocabulary);
        return s_tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true).All(matcher.Advance) && matcher.IsAccepting;
    }

    private static string Walk(OutputGrammar grammar, int seed)
    {
        Random random = new(seed);
        GrammarMatcher matcher = grammar.NewMatcher(s_vocabulary);
        ulong[] mask = new ulong[s_vocabulary.MaskWords];
        List<int> taken = [];
        while (taken.Count < 4000)
        {
            bool any = matcher.FillMask(mask);
            if (matcher.IsAccepting && (!any || random.Next(3) == 0))
                return s_tokenizer.Decode(taken, skipSpecialTokens: false);
            List<int> tokens = Tokens(mask);
            Assert.That(tokens, Is.Not.Empty);
            taken.Add(tokens[random.Next(tokens.Count)]);
            Assert.That(matcher.Advance(taken[^1]), Is.True);
        }
        throw new InvalidOperationException("the walk does not end");
    }

    private static List<int> Tokens(ulong[] mask) => [.. Enumerable.Range(0, 64 * mask.Length).Where(id => (mask[id >> 6] >> (id & 63) & 1) != 0)];
}
