using NUnit.Framework;
using TpServe.Tokenization.Patterns;

namespace TpServe.Tokenization.Tests;

/// <summary>The pattern engine: syntax, order of alternatives, bounds.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class PatternTests
{
    [TestCase("a|ab", "ab", "a")]
    [TestCase("(?:a|ab)(?:c|bcd)", "abcd", "abcd")]
    [TestCase("a*?b", "aab", "aab")]
    [TestCase("a{2}", "aaaaa", "aa|aa")]
    [TestCase("a{2,}", "aaaaa b aa", "aaaaa|aa")]
    [TestCase("a{,2}b", "aaab", "aab")]
    [TestCase("a{1,2}?", "aaa", "a|a|a")]
    [TestCase("a{x}", "a{x}", "a{x}")]
    [TestCase("a++a", "aaa", "")]
    [TestCase("(?>a+)a", "aaa", "")]
    [TestCase("(?:ab?)*+c", "ababc", "ababc")]
    [TestCase("(a*)*b", "aaab", "aaab")]
    [TestCase("(?:a|)+?b", "aab", "aab")]
    [TestCase(@"\s+(?!\S)|\s+", "a   b ", "  | | ")]
    [TestCase("(?<=a)b", "abcb", "b")]
    [TestCase("(?<!a|cc)b", "abccbb", "b")]
    [TestCase("(?<=a|bc)d", "adbcdd", "d|d")]
    [TestCase("(?i:('S|ſ)t)", "'st 'ST st ſT", "'st|'ST|st|ſT")]
    [TestCase("(?i)straSSe", "STRASSE", "STRASSE")]
    [TestCase("a(?i)b|c", "aB C aC", "aB|aC")]
    [TestCase("(?i:é)", "É", "É")]
    [TestCase("(?x) a b # comment", "ab", "ab")]
    [TestCase("a.c", "a\nc abc", "abc")]
    [TestCase("(?m:a.c)", "a\nc", "a\nc")]
    [TestCase("^a$", "a\na\nb", "a|a")]
    [TestCase(@"\Aa|a\z", "aaa", "a|a")]
    [TestCase(@"\bab\b", "ab abc ab", "ab|ab")]
    [TestCase("[^a-c]", "abcd", "d")]
    [TestCase("[a-c&&[^b]]", "abc", "a|c")]
    [TestCase("[]a]", "a]", "a|]")]
    [TestCase("[a-]", "-a", "-|a")]
    [TestCase("[[:digit:]x]", "x1", "x|1")]
    [TestCase(@"[\d-x]", "-1x", "-|1|x")]
    [TestCase(@"\x41\x{1F600}\u0042", "A😀B", "A😀B")]
    [TestCase(@"\p{L}+", "a𐌰b1", "a𐌰b")]
    [TestCase(@"\p{^L}\P{L}", "a12", "12")]
    [TestCase(@"\p{Han}+", "漢字かな", "漢字")]
    [TestCase(".", "😀é", "😀|é")]
    [TestCase("(?<name>a)(?#comment)b", "ab", "ab")]
    public void Pattern_Syntax_MatchesAsOniguruma(string source, string text, string expected)
    {
        List<(int Start, int End)> matches = [];
        Pattern.Parse(source).FindAll(text, matches);
        Assert.That(string.Join('|', matches.Select(match => text[match.Start..match.End])), Is.EqualTo(expected));
    }

    [TestCase("(a", "not closed")]
    [TestCase("a)", "unmatched")]
    [TestCase("[a", "not closed")]
    [TestCase("*a", "nothing to repeat")]
    [TestCase("a{3,2}", "count")]
    [TestCase("a{999999}", "999999")]
    [TestCase(@"(a)\1", @"\1")]
    [TestCase(@"\p{Klingon}", "Klingon")]
    [TestCase("[b-a]", "range")]
    [TestCase("[[:klingon:]]", "klingon")]
    [TestCase("(?<=a+)b", "looks behind")]
    [TestCase(@"\x{110000}", "code point")]
    [TestCase("(?:(?:a{1000}){1000}){1000}", "too large")]
    [TestCase("(?:(?:){100000}){100000}", "too large")]
    [TestCase("a\\", "backslash")]
    public void Pattern_MalformedOrUnsupported_SaysWhat(string source, string wanted) =>
        Assert.That(Assert.Throws<TokenizerException>(() => Pattern.Parse(source))!.Message, Does.Contain(wanted));

    [Test]
    public void Pattern_NestedTooDeep_IsRefused()
    {
        Assert.That(Assert.Throws<TokenizerException>(() => Pattern.Parse(new string('(', 5000) + new string(')', 5000)))!.Message, Does.Contain("deeper than"));
        Assert.That(Assert.Throws<TokenizerException>(() => Pattern.Parse(new string('[', 5000) + new string(']', 5000)))!.Message, Does.Contain("deeper than"));
        Assert.That(Assert.Throws<TokenizerException>(() => Pattern.Parse("a" + new string('*', 5000)))!.Message, Does.Contain("quantifiers"));
    }

    [TestCase("(a+)+$|b", 40)]
    [TestCase("(?:a|a)*b", 40)]
    [TestCase("(?:a*)*(?:a*)*(?:a*)*b", 2000)]
    public void Pattern_BacktracksWithoutBound_IsStopped(string source, int length)
    {
        Pattern pattern = Pattern.Parse(source);
        List<(int, int)> matches = [];
        Assert.That(Assert.Throws<TokenizerException>(() => pattern.FindAll(new string('a', length) + "!", matches))!.Message, Does.Contain("steps"));
    }
}
