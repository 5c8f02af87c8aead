using System.Text;
using System.Text.RegularExpressions;
using NUnit.Framework;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Regexes;

namespace TpServe.Grammar.Tests;

/// <summary>Patterns against .NET's own, and what is refused.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class RegexTests
{
    private static readonly string[] Patterns =
    [
        "a", "", "abc", "a|b|cd", "(a|b)*", "a*b+c?", "(ab)+", "[a-c]x[^a-c]", "a{2}", "a{2,}", "a{1,3}b", "(a{2}){2}", "(a*)*b", "(a|ab)(c|bcd)", "(?:ab|a)*",
        "^ab$", "^a|b$", "a^b", "a$b", "(^a|b)c", "(?<word>ab)c", "[abc]{2,4}?d", "\\d+", "\\w\\s\\w", "\\D\\W", "[\\d.]+x", "[-a]b", "[a-]b", "a.c", ".*c", "\\.", "\\\\",
        "\\x61", "\\u0062", "[\\u0061-\\u0063]+", "é+", "[à-ü]*a", "a{,2}", "x{a}", "(|a)b", "()*a", "((a|b)?c){0,2}", "\\t|\\n", "(a|b|c|d)*abcd", "(a|b)*a(a|b){3}",
    ];

    [TestCaseSource(nameof(Patterns))]
    public void Whole_RandomTexts_AgreesWithNet(string pattern)
    {
        Dfa automaton = Pattern.Whole(pattern, Budget());
        Regex oracle = new($"^(?:{pattern})\\z", RegexOptions.CultureInvariant);
        foreach (string text in Texts(seed: 1).Where(text => IsComparable(pattern, text)))
            Assert.That(automaton.Matches(Scalars(text)), Is.EqualTo(oracle.IsMatch(text)), $"'{text}'");
    }

    [TestCaseSource(nameof(Patterns))]
    public void Search_RandomTexts_AgreesWithNet(string pattern)
    {
        Dfa automaton = Pattern.Search(pattern, Budget(), "#");
        // .NET's $ also stands before a last line end, which ECMAScript's does not; its dot takes \r and the Unicode line ends.
        Regex oracle = new(pattern.Replace("$", "\\z", StringComparison.Ordinal), RegexOptions.CultureInvariant);
        foreach (string text in Texts(seed: 2).Where(text => IsComparable(pattern, text)))
            Assert.That(automaton.Matches(Scalars(text)), Is.EqualTo(oracle.IsMatch(text)), $"'{text}'");
    }

    [Test]
    public void Grammar_RandomTexts_AcceptsTheSameInUtf8()
    {
        foreach (string pattern in new[] { "[à-ü日-語😀-😎]*a", "(a|é)*b?", ".{1,3}" })
        {
            OutputGrammar grammar = OutputGrammar.FromRegex(pattern);
            Regex oracle = new($"^(?:{pattern})\\z".Replace(".", "(?:[\\ud800-\\udbff][\\udc00-\\udfff]|[^\\n])", StringComparison.Ordinal)
                .Replace("日-語😀-😎]", "日-語]|\\ud83d[\\ude00-\\ude0e])", StringComparison.Ordinal).Replace("[à-ü日", "(?:[à-ü日", StringComparison.Ordinal));
            foreach (string text in Texts(seed: 4))
                Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(oracle.IsMatch(text)), $"{pattern} on '{text}'");
        }
    }

    [Test]
    public void Grammar_BrokenUtf8_IsNeverAccepted()
    {
        OutputGrammar grammar = OutputGrammar.FromRegex("[^a]{1,4}");
        foreach (byte[] bytes in new byte[][] { [0x80], [0xC0, 0x80], [0xC3], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE0, 0x80, 0x80], [0xFF] })
            Assert.That(grammar.Accepts(bytes), Is.False, Convert.ToHexString(bytes));
        Assert.That(grammar.Accepts("日😀"u8), Is.True);
    }

    [TestCase("\\p{L}+", "añ日", "a1")]
    [TestCase("\\p{Letter}+", "aB", "_")]
    [TestCase("\\p{Lu}\\P{Lu}", "Ab", "AB")]
    [TestCase("[\\p{Nd}x]+", "1x٣", "a")]
    public void Property_GeneralCategories_AreServed(string pattern, string matching, string other)
    {
        Dfa automaton = Pattern.Whole(pattern, Budget());
        Assert.That(automaton.Matches(Scalars(matching)), Is.True);
        Assert.That(automaton.Matches(Scalars(other)), Is.False);
    }

    [TestCase("\\W", ".", "é")]
    [TestCase("[^\\w]", ".", "é")]
    [TestCase("\\D", "x", "٣")]
    [TestCase("\\S", "x", "\u0085")]
    [TestCase("\\w", "x", "é")]
    public void ClassEscape_WhereDialectsDiffer_TakesTheNarrowest(string pattern, string matching, string other) => Property_GeneralCategories_AreServed(pattern, matching, other);

    [TestCase("(?=a)b", GrammarErrorKind.NotServed, "lookaround")]
    [TestCase("(?<!a)b", GrammarErrorKind.NotServed, "lookaround")]
    [TestCase("(a)\\1", GrammarErrorKind.NotServed, "back reference")]
    [TestCase("\\bword\\b", GrammarErrorKind.NotServed, "word boundary")]
    [TestCase("(?i)a", GrammarErrorKind.NotServed, "flags")]
    [TestCase("a*+", GrammarErrorKind.NotServed, "possessive")]
    [TestCase("\\p{Script=Greek}", GrammarErrorKind.NotServed, "property")]
    [TestCase("\\A", GrammarErrorKind.NotServed, "escape")]
    [TestCase("(a", GrammarErrorKind.Invalid, "not closed")]
    [TestCase("a)", GrammarErrorKind.Invalid, "closes nothing")]
    [TestCase("[a", GrammarErrorKind.Invalid, "not closed")]
    [TestCase("[b-a]", GrammarErrorKind.Invalid, "out of order")]
    [TestCase("a{3,2}", GrammarErrorKind.Invalid, "out of order")]
    [TestCase("*a", GrammarErrorKind.Invalid, "nothing to repeat")]
    [TestCase("a\\", GrammarErrorKind.Invalid, "backslash")]
    [TestCase("\\u12", GrammarErrorKind.Invalid, "hexadecimal")]
    [TestCase("(?<a", GrammarErrorKind.Invalid, "name")]
    [TestCase("[", GrammarErrorKind.Invalid, "not closed")]
    [TestCase("[a-", GrammarErrorKind.Invalid, "not closed")]
    [TestCase("\\p{", GrammarErrorKind.Invalid, "end")]
    public void Pattern_NotRegularOrMalformed_IsRefusedByName(string pattern, GrammarErrorKind kind, string reason)
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => OutputGrammar.FromRegex(pattern))!;
        Assert.That(fault.Kind, Is.EqualTo(kind));
        Assert.That(fault.Message, Does.Contain(reason));
    }

    [Test]
    public void Choices_EachAndNothingElse_IsAccepted()
    {
        OutputGrammar grammar = OutputGrammar.FromChoices(["yes", "no", "yesterday", "é"]);
        foreach (string text in new[] { "yes", "no", "yesterday", "é" })
            Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(text)), Is.True, text);
        foreach (string text in new[] { "", "ye", "yes ", "nope", "e" })
            Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(text)), Is.False, text);
        GrammarMatcher matcher = grammar.NewMatcher(Vocabularies.Small);
        Assert.That(matcher.AdvanceBytes("yes"u8), Is.True);
        Assert.That((matcher.IsAccepting, matcher.IsComplete), Is.EqualTo((true, false)));
        Assert.That(matcher.AdvanceBytes("t"u8), Is.True);
        Assert.That(Encoding.UTF8.GetString(matcher.ForcedBytes()), Is.EqualTo("erday"));
        Assert.That(matcher.AdvanceBytes("erday"u8), Is.True);
        Assert.That((matcher.IsAccepting, matcher.IsComplete), Is.EqualTo((true, true)));
    }

    // .NET's classes take all of Unicode, and what is beyond U+FFFF as two characters.
    private static bool IsComparable(string pattern, string text) =>
        (text.All(char.IsAscii) || !(pattern.Contains("\\d", StringComparison.Ordinal) || pattern.Contains("\\w", StringComparison.Ordinal) || pattern.Contains("\\D", StringComparison.Ordinal)));

    private static CompileBudget Budget() => new(GrammarLimits.Default);

    private static IEnumerable<int> Scalars(string text) => text.EnumerateRunes().Select(rune => rune.Value);

    private static IEnumerable<string> Texts(int seed)
    {
        Random random = new(seed);
        string[] characters = ["a", "b", "c", "d", "x", "1", ".", " ", "é", "\n", "\t", "\\", "日", "😀", "]", "{", "}", ",", "-"];
        yield return "";
        for (int i = 0; i < 600; i++)
        {
            // Half of the texts are of few letters, so that patterns of letters match some of them.
            int kinds = i % 2 == 0 ? 4 : characters.Length;
            yield return string.Concat(Enumerable.Range(0, random.Next(1, 8)).Select(_ => characters[random.Next(kinds)]));
        }
    }
}
