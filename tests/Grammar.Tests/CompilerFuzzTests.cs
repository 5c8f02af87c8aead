using System.Diagnostics;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Schemas, grammars and patterns with seeded faults: each compiles within its bounds, or is refused with a typed error, whatever was done to it.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class CompilerFuzzTests
{
    private static readonly GrammarLimits s_limits = GrammarLimits.Default with { Work = 300_000, States = 20_000, CompileTime = TimeSpan.FromSeconds(2) };

    private static readonly string[] s_patterns =
        ["^[A-Z]{2}-\\d{3,5}$", "(a|b)*c?", "\\p{L}+[^\\n\\x20-\\x7e]", "(?:x(?<n>y)){2,}$|^", "[\\w-]+@[a-z.]{1,9}\\.com", "\\u{1F600}|\\ud83d\\ude00|\\cJ", ".{0,20}\\s\\S\\D\\W"];

    private static readonly string[] s_pieces =
        ["{", "}", "[", "]", "(", ")", "\"", "\\", "*", "+", "?", "|", "^", "$", ",", ":", "-", "::=", "\n", "#", "0", "1e9", "-1", "null", "true", "{2,3}", "\\u", "\\p{", "(?", "é", "😀", "\0", "\"$ref\":\"#\",", "\"not\":{},", "\"items\":", "\"pattern\":\"", "\"oneOf\":["];

    private static readonly (string Kind, string[] Texts, Action<string> Compile)[] s_compilers =
    [
        ("schema", [.. SchemaSamples.All], text => OutputGrammar.FromJsonSchema(text, s_limits)),
        ("grammar", [GbnfTests.Json, GbnfTests.Arithmetic, GbnfTests.Lists], text => OutputGrammar.FromGbnf(text, s_limits)),
        ("pattern", s_patterns, text => OutputGrammar.FromRegex(text, s_limits)),
    ];

    [TestCase("schema", 1_000, 1)]
    [TestCase("grammar", 1_000, 2)]
    [TestCase("pattern", 4_000, 3)]
    public void Text_WithFaults_CompilesOrIsRefused(string kind, int inputs, int seed) => Fuzz(kind, inputs, seed);

    [Explicit("minutes")]
    [TestCase("schema", 100_000, 11)]
    [TestCase("grammar", 100_000, 12)]
    [TestCase("pattern", 100_000, 13)]
    public void Text_WithFaultsByTheHundredThousand_CompilesOrIsRefused(string kind, int inputs, int seed) => Fuzz(kind, inputs, seed);

    private static void Fuzz(string kind, int inputs, int seed)
    {
        (_, string[] texts, Action<string> compile) = s_compilers.Single(one => one.Kind == kind);
        Random random = new(seed);
        TimeSpan longest = TimeSpan.Zero;
        int compiled = 0;
        for (int input = 0; input < inputs; input++)
        {
            string text = Mutate(texts[random.Next(texts.Length)], texts, random);
            long start = Stopwatch.GetTimestamp();
            try
            {
                compile(text);
                compiled++;
            }
            catch (GrammarException fault)
            {
                Assert.That(fault.Message, Does.StartWith("'").And.Length.GreaterThan(10), text); // the subject may be a keyword without a letter
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                Assert.Fail($"input {input} of seed {seed}, {text}: {fault}");
            }
            if (Stopwatch.GetElapsedTime(start) is var took && took > longest)
                longest = took;
        }
        TestContext.Out.WriteLine($"{inputs} inputs, {compiled} compiled, the longest took {longest.TotalMilliseconds:F0} ms");
        Assert.That(compiled, Is.GreaterThan(inputs / 100), "some faults do no harm");
        Assert.That(longest, Is.LessThan(TimeSpan.FromSeconds(10)));
    }

    // Characters and pieces come, go, are doubled, and stretches of another text come in.
    private static string Mutate(string text, string[] others, Random random)
    {
        for (int faults = random.Next(1, 5); faults > 0; faults--)
        {
            int at = random.Next(text.Length + 1), length = random.Next(Math.Min(text.Length - at, 12) + 1);
            text = random.Next(6) switch
            {
                0 => text.Remove(at, length),
                1 => text.Insert(at, s_pieces[random.Next(s_pieces.Length)]),
                2 => text.Insert(at, text.Substring(at, length)),
                3 => text.Remove(at, Math.Min(length, 1)).Insert(at, ((char)random.Next(0x20, 0x7F)).ToString()),
                4 => text.Insert(at, Stretch(others[random.Next(others.Length)], random)),
                _ => text.Insert(at, ((char)random.Next(0x10000)).ToString()), // also half of a surrogate pair
            };
        }
        return text;
    }

    private static string Stretch(string text, Random random)
    {
        int at = random.Next(text.Length);
        return text.Substring(at, random.Next(Math.Min(text.Length - at, 24)));
    }
}
