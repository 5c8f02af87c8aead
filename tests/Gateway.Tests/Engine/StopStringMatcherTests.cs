using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Tests.Engine;

public sealed class StopStringMatcherTests
{
    [Test]
    public void Push_StopAcrossPieces_GivesNothingOfItAway()
    {
        StopStringMatcher matcher = new(["STOP"], includeStop: false);
        Assert.That(matcher.Push("go S"), Is.EqualTo("go "));
        Assert.That(matcher.Push("TO"), Is.Empty);
        Assert.That(matcher.Push("P on"), Is.Empty);
        Assert.That(matcher.Matched, Is.EqualTo("STOP"));
        Assert.That(matcher.Push("more") + matcher.Flush(), Is.Empty);
    }

    [Test]
    public void Push_BeginningThatTurnsOutOtherwise_IsGivenAwayWhole()
    {
        StopStringMatcher matcher = new(["aab"], includeStop: false);
        Assert.That(matcher.Push("aa"), Is.Empty);
        Assert.That(matcher.Push("a"), Is.EqualTo("a"), "the last two may still begin a stop");
        Assert.That(matcher.Flush(), Is.EqualTo("aa"));
        Assert.That(matcher.Matched, Is.Null);
    }

    [Test]
    public void Push_IncludeStop_KeepsItAndDropsTheRest()
    {
        StopStringMatcher matcher = new(["\n\n"], includeStop: true);
        Assert.That(matcher.Push("line\n\nmore"), Is.EqualTo("line\n\n"));
    }

    /// <summary>However tokens cut the text, the outcome is that of the text read one character at a time.</summary>
    [Test]
    public void Push_AnyCut_GivesTheOracleOutcome()
    {
        Gen<string> text = Gen.Char["ab"].Array[0, 20].Select(characters => new string(characters));
        Gen<string[]> stops = Gen.Char["ab"].Array[1, 4].Select(characters => new string(characters)).Array[1, 3];
        Gen.Select(text, stops, Gen.Int[1, 5].Array[20], Gen.Bool).Sample((whole, stopStrings, cuts, include) =>
        {
            StopStringMatcher matcher = new(stopStrings, include);
            string given = "";
            for (int at = 0, i = 0; at < whole.Length; at += cuts[i++])
                given += matcher.Push(whole.Substring(at, Math.Min(cuts[i], whole.Length - at)));
            given += matcher.Flush();

            (string expected, string? matched) = Oracle(whole, stopStrings, include);
            Assert.That((given, matcher.Matched), Is.EqualTo((expected, matched)));
        }, iter: 20_000);
    }

    private static (string Text, string? Matched) Oracle(string text, string[] stops, bool include)
    {
        for (int end = 1; end <= text.Length; end++)
            if (stops.Where(stop => text[..end].EndsWith(stop, StringComparison.Ordinal)).MaxBy(stop => stop.Length) is { } matched)
                return (include ? text[..end] : text[..(end - matched.Length)], matched);
        return (text, null);
    }
}
