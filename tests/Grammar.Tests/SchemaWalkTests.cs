using System.Text;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Whatever is written along the masks, an independent validator accepts.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class SchemaWalkTests
{
    private const int SeedsOfSmall = 16;
    private const int SeedsOfReal = 2;

    private static IEnumerable<TestCaseData> Samples => SchemaSamples.All.Select((schema, index) => new TestCaseData(index).SetArgDisplayNames(schema.Length < 60 ? schema : $"{index}: {schema[..50]}…"));

    [Test]
    public void Samples_AreManyEnough() => Assert.That(SchemaSamples.All.Count * (SeedsOfSmall + SeedsOfReal), Is.GreaterThanOrEqualTo(1000));

    [TestCaseSource(nameof(Samples))]
    public void Walk_ToTheEnd_IsValid(int sample)
    {
        string text = SchemaSamples.All[sample];
        OutputGrammar grammar = OutputGrammar.FromJsonSchema(text);
        SchemaValidator validator = new(text);
        int ended = 0;
        for (int seed = 0; seed < SeedsOfSmall + SeedsOfReal; seed++)
        {
            byte[]? written = Walks.Run(grammar, seed < SeedsOfSmall ? Vocabularies.Small : Vocabularies.SmolLm2, seed, mostTokens: seed < SeedsOfSmall ? 150 : 60);
            if (written is null)
                continue;
            ended++;
            Assert.That(grammar.Accepts(written), Is.True);
            Assert.That(validator.Accepts(written), Is.True, $"seed {seed}: {Encoding.UTF8.GetString(written)}");
        }
        Assert.That(ended, Is.GreaterThanOrEqualTo(SeedsOfSmall / 3), "walks that came to an end");
    }
}
