using System.Runtime.InteropServices;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Reference;
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

    /// <summary>What a device draws as a function of the random number: on both sides of every cumulative probability.</summary>
    [TestCase("reference", 200)]
    [TestCase("cuda emulated", 64)]
    public void DrawnTokens_AroundEveryGoldenCumulativeProbability_MatchTransformers(string device, int largestVocabulary)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(TestData.FindOrIgnore("samplers/samplers.json")));
        using ITensorBackend ops = device == "reference" ? new ReferenceBackend() : new CudaBackend(CudaContext.Emulated());
        foreach (IGrouping<int, JsonElement> cases in document.RootElement.EnumerateArray().GroupBy(golden => golden.GetProperty("logits").GetArrayLength()).Where(group => group.Key <= largestVocabulary))
        {
            List<(JsonElement Golden, int[] Order, int Place, double Uniform, bool IsBehind)> asked = [];
            foreach (JsonElement golden in cases)
            {
                double[] likely = [.. golden.GetProperty("probabilities").EnumerateArray().Select(v => v.GetDouble())];
                bool byLikelihood = Row(golden).Settings.TopK is >= 1 and <= LogitsPlan.MostCandidates;
                int[] order = [.. Enumerable.Range(0, cases.Key).OrderByDescending(id => byLikelihood ? likely[id] : 0)];
                double sum = 0;
                for (int place = 0; place < order.Length; place++)
                {
                    sum += likely[order[place]];
                    if (likely[order[place]] > 2 * Bound && sum < 1 - Bound)
                        asked.AddRange([(golden, order, place, sum - Bound, false), (golden, order, place, sum + Bound, true)]);
                }
            }
            Assert.That(asked, Has.Count.GreaterThan(300));
            int[] drawn = Draw(
                ops, [.. asked.Select(each => Row(each.Golden))], [.. asked.SelectMany(each => Floats(each.Golden, "logits"))], cases.Key, [.. asked.Select(each => each.Uniform)]);
            foreach (((JsonElement golden, int[] order, int place, double uniform, bool isBehind), int token) in asked.Zip(drawn))
                Assert.That(Array.IndexOf(order, token), isBehind ? Is.GreaterThan(place) : Is.EqualTo(place), $"{uniform} of {golden.GetProperty("parameters")}");
        }
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

    private static int[] Draw(ITensorBackend ops, SampleRow[] rows, float[] logits, int vocab, double[] uniform)
    {
        LogitsPlan plan = new(drawsOnDevice: true);
        plan.Make(rows);
        RowDraws draws = new(vocab);
        draws.Make(rows, plan, rows.Length);
        DrawParameters[] parameters = MemoryMarshal.Cast<int, DrawParameters>(draws.Parameters).ToArray();
        for (int i = 0; i < rows.Length; i++)
        {
            ulong fraction = (ulong)(uniform[i] * Math.Pow(2, 64));
            (parameters[i].UniformLow, parameters[i].UniformHigh) = ((uint)fraction, (uint)(fraction >> 32));
        }
        long mark = ops.Mark();
        Tensor x = ops.Rent(rows.Length, vocab), how = ops.Rent(rows.Length, DrawParameters.Words, ElementType.Int32), chosen = ops.Rent(rows.Length, 1, ElementType.Int32);
        Tensor edits = ops.Rent(draws.Edits.Length / LogitEdit.Words, LogitEdit.Words, ElementType.Int32);
        ops.Upload<float>(logits, x);
        ops.Upload(MemoryMarshal.Cast<DrawParameters, int>(parameters.AsSpan()), how);
        ops.Upload(draws.Edits, edits);
        ops.Sampler!.DrawWhole(x, edits, how, chosen);
        int[] tokens = new int[rows.Length];
        ops.Download<int>(chosen, tokens);
        ops.Release(mark);
        return tokens;
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
