using System.Text.Json;
using NUnit.Framework;
using TpServe.Model.Sampling;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Each sampling parameter, and all together, against transformers' logits processors.</summary>
public sealed class SamplerGoldenTests
{
    // The reference cuts at float32 cumulative sums and writes nine decimals.
    private const double Bound = 2e-7;

    [Test]
    public void Probabilities_EveryGoldenCase_MatchTransformers()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(TestData.FindOrIgnore("samplers/samplers.json")));
        Sampler sampler = new();
        int cases = 0;
        Assert.Multiple(() =>
        {
            foreach (JsonElement golden in document.RootElement.EnumerateArray())
            {
                float[] logits = Floats(golden, "logits");
                double[] expected = [.. golden.GetProperty("probabilities").EnumerateArray().Select(v => v.GetDouble())];
                double[] actual = sampler.Probabilities(logits, Row(golden));
                double largest = actual.Zip(expected).Max(pair => Math.Abs(pair.First - pair.Second));
                Assert.That(largest, Is.LessThan(Bound), $"case {cases}: {golden.GetProperty("parameters")}");
                cases++;
            }
        });
        Assert.That(cases, Is.GreaterThan(50));
    }

    [Test]
    public void Choose_ManyPositions_FollowsTheDistribution()
    {
        const int Draws = 20_000;
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(TestData.FindOrIgnore("samplers/samplers.json")));
        Sampler sampler = new();
        foreach (JsonElement golden in document.RootElement.EnumerateArray().Where(c => c.GetProperty("logits").GetArrayLength() == 16))
        {
            float[] logits = Floats(golden, "logits");
            SampleRow row = Row(golden);
            double[] expected = sampler.Probabilities(logits, row);
            int[] counts = new int[logits.Length];
            for (int output = 0; output < Draws; output++)
                counts[sampler.Choose(logits, row with { Settings = row.Settings with { OutputIndex = output } })]++;
            for (int id = 0; id < counts.Length; id++)
            {
                double deviation = Math.Sqrt(Draws * expected[id] * (1 - expected[id]));
                Assert.That(counts[id], Is.EqualTo(Draws * expected[id]).Within(5 * deviation + 1e-9), $"token {id}: {golden.GetProperty("parameters")}");
            }
        }
    }

    private static float[] Floats(JsonElement golden, string name) => [.. golden.GetProperty(name).EnumerateArray().Select(v => v.GetSingle())];

    private static SampleRow Row(JsonElement golden)
    {
        JsonElement p = golden.GetProperty("parameters");
        int[] prompt = [.. golden.GetProperty("prompt").EnumerateArray().Select(v => v.GetInt32())];
        int[] generated = [.. golden.GetProperty("generated").EnumerateArray().Select(v => v.GetInt32())];
        SamplingSettings settings = new()
        {
            Temperature = Value("temperature", 1),
            TopK = (int)Value("top_k", 0),
            TopP = Value("top_p", 1),
            MinP = Value("min_p", 0),
            RepetitionPenalty = Value("repetition_penalty", 1),
            PresencePenalty = Value("presence_penalty", 0),
            FrequencyPenalty = Value("frequency_penalty", 0),
            LogitBias = p.TryGetProperty("logit_bias", out JsonElement bias)
                ? [.. bias.EnumerateObject().Select(entry => KeyValuePair.Create(int.Parse(entry.Name, System.Globalization.CultureInfo.InvariantCulture), entry.Value.GetSingle()))]
                : [],
        };
        return new SampleRow(0, settings, (int[])[.. prompt, .. generated], prompt.Length, -1);

        float Value(string name, float otherwise) => p.TryGetProperty(name, out JsonElement value) ? value.GetSingle() : otherwise;
    }
}
