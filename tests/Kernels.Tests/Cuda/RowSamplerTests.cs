using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Tokens drawn on the device against the reference backend's sampler, and the same ones whatever lies beside a row and however it came.</summary>
[TestFixtureSource(typeof(CudaDevices), nameof(CudaDevices.All))]
public sealed class RowSamplerTests(string device) : CudaFixture(device)
{
    private static readonly (float Temperature, int TopK, double TopP, float MinP)[] Settings =
    [
        (1f, 1, 1, 0), (1f, 0, 1, 0), (0.7f, 0, 1, 0.02f), (1.3f, 40, 1, 0), (1f, 64, 0.9, 0), (0.8f, 65, 1, 0), (1.1f, 300, 0.8, 0.01f), (1f, 0, 0.9, 0),
        (1f, 0, 0.5, 0.1f), (2f, 0, 0.999, 0), (1f, 0, 1e-9, 0), (1f, 0, 0, 0), (1f, 20, 0, 0), (1f, 0, 1, 1f), (1e-5f, 0, 0.9, 0), (50f, 0, 0.95, 0), (1f, 1_000_000, 1, 0),
    ];

    private static readonly (string Name, Func<int, int, float[]> Make)[] Kinds =
    [
        ("random", (count, seed) => [.. Numbers.Uniform(count, seed).Select(v => 12 * v)]),
        ("peaked", (count, seed) => [.. Numbers.Uniform(count, seed).Select(v => 40 * v * MathF.Abs(v))]),
        ("ties", (count, seed) => [.. Numbers.Uniform(count, seed).Select(v => MathF.Round(3 * v))]),
        ("equal", (count, _) => new float[count]),
        ("zeros of both signs", (count, _) => [.. Enumerable.Range(0, count).Select(i => i % 2 == 0 ? -0f : 0f)]),
        ("negative", (count, seed) => [.. Numbers.Uniform(count, seed).Select(v => (20 * v) - 500)]),
        ("mostly excluded", (count, seed) => [.. Numbers.Uniform(count, seed).Select((v, i) => i % 50 == 7 ? v : float.NegativeInfinity)]),
        ("NaN among others", (count, seed) => [.. Numbers.Uniform(count, seed).Select((v, i) => i % 3 == 0 ? float.NaN : 5 * v)]),
    ];

    private static IEnumerable<string> Names => Kinds.Select(kind => kind.Name);

    [Test]
    public void DrawWhole_AnyRowAndSettings_GivesTheOraclesTokens([ValueSource(nameof(Names))] string name, [Values(1, 77, 4500)] int columns)
    {
        DrawRows rows = new(columns);
        Random random = new(columns);
        // The emulator takes a tenth of a second a row: there each of the two wide rows sees every other setting.
        foreach ((float temperature, int topK, double topP, float minP) in Settings.Where((_, i) => columns == 1 || !IsEmulated || i % 2 == columns % 2))
            for (int draw = 0; draw < (columns < 1000 ? 3 : 1); draw++)
                rows.Add(Kinds.Single(kind => kind.Name == name).Make(columns, rows.Count), temperature, topK, topP, minP, draw == 1 ? 0 : draw == 2 ? 0.9999 : random.NextDouble());
        int[] drawn = rows.Draw(Backend);
        Assert.That(drawn, Is.EqualTo(rows.Draw(Oracle)));
    }

    [Test]
    public void Draw_RowsOfASmallTopK_GiveTheSameTokensFromCandidatesAndWhole([Values(1, 2, 3)] int parts, [Values("random", "ties", "NaN among others")] string name)
    {
        const int columns = 500;
        DrawRows rows = new(columns);
        Random random = new(parts);
        foreach ((float temperature, int topK, double topP, float minP) in Settings.Where(each => each.TopK is >= 1 and <= 64))
            for (int draw = 0; draw < 5; draw++)
                rows.Add(Kinds.Single(kind => kind.Name == name).Make(columns, rows.Count), temperature, topK, topP, minP, random.NextDouble());
        int[] whole = rows.Draw(Backend);
        Assert.That(rows.DrawFromCandidates(Backend, 64, parts), Is.EqualTo(whole));
        Assert.That(rows.DrawFromCandidates(Oracle, 64, parts), Is.EqualTo(whole));
    }

    [Test]
    public void DrawWhole_RowsTogetherOrAlone_GiveTheSameTokens()
    {
        const int columns = 5000;
        DrawRows all = new(columns);
        int[] alone = [.. Settings.Select((each, i) =>
        {
            float[] logits = Kinds[i % 3].Make(columns, i);
            LogitEdit[] edits = [new() { TokenId = i, Add = 3f }, new() { TokenId = 4100 + i, Kind = LogitEdit.Repeats, Subtract = 0.5f }];
            DrawRows one = new(columns);
            foreach (DrawRows rows in new[] { one, all })
                rows.Add(logits, each.Temperature, each.TopK, each.TopP, each.MinP, uniform: 0.3, repetition: 1.5f, edits: edits);
            return one.Draw(Backend)[0];
        })];
        Assert.That(all.Draw(Backend), Is.EqualTo(alone));
    }

    [TestCase(float.NaN, float.NaN)]
    [TestCase(float.NegativeInfinity, float.NaN)]
    [TestCase(1f, float.PositiveInfinity)]
    public void Draw_NothingFiniteToDrawBy_IsNoTokenAndLeavesItsNeighbours(float all, float one)
    {
        const int columns = 4200;
        DrawRows rows = new(columns), good = new(columns);
        float[] bad = [.. Enumerable.Repeat(all, columns)];
        bad[4150] = one;
        foreach ((float temperature, int topK, double topP, float minP) in Settings.Where((_, i) => !IsEmulated || i % 3 == 1))
        {
            float[] logits = Kinds[0].Make(columns, rows.Count);
            rows.Add(bad, temperature, topK, topP, minP, uniform: 0.7, reports: true);
            rows.Add(logits, temperature, topK, topP, minP, uniform: 0.7, reports: true);
            good.Add(logits, temperature, topK, topP, minP, uniform: 0.7, reports: true);
        }
        int[] drawn = rows.Draw(Backend);
        Assert.That(drawn.Where((_, row) => row % 2 == 0), Is.All.EqualTo(-1));
        Assert.That(drawn.Where((_, row) => row % 2 == 1), Is.EqualTo(good.Draw(Backend)));
        DrawnLikelihood[] found = rows.Likelihoods(Backend, drawn);
        Assert.That(found.Where((_, row) => row % 2 == 0).Select(each => each.Rank), Is.All.Zero, "a row without a choice has no likelihood");
        Assert.That(found.Where((_, row) => row % 2 == 1), Is.EqualTo(good.Likelihoods(Backend, good.Draw(Backend))));
    }

    [Test]
    public void DrawWhole_Edits_ChangeWhatTheyName()
    {
        const int columns = 9000;
        DrawRows rows = new(columns);
        for (int seed = 0; seed < 8; seed++)
        {
            float[] logits = Kinds[seed % 2].Make(columns, seed);
            int best = Array.IndexOf(logits, logits.Max());
            LogitEdit[] many = [.. Enumerable.Range(0, 700).Select(i => new LogitEdit
            {
                TokenId = (i * 11) + seed, Kind = i % 3 == 0 ? LogitEdit.Repeats : i % 41 == 0 ? LogitEdit.Excludes : 0, Subtract = i % 5 * 0.25f, Add = i % 7 * 0.5f,
            })];
            rows.Add(logits, topK: 1, edits: new LogitEdit { TokenId = best, Kind = LogitEdit.Excludes });
            rows.Add(logits, topK: 1, edits: new LogitEdit { TokenId = 8999, Add = 100f });
            rows.Add(logits, topK: 1, restricts: true, edits: [new() { TokenId = 5 }, new() { TokenId = 8000 }]);
            rows.Add(logits, uniform: 0.9, repetition: 1.7f, edits: many);
            rows.Add(logits, topK: 30, uniform: 0.6, repetition: 0.6f, restricts: true, edits: many);
            rows.Add(logits, topK: 1, restricts: true);
        }
        int[] drawn = rows.Draw(Backend);
        Assert.That(drawn, Is.EqualTo(rows.Draw(Oracle)));
        for (int row = 0; row < drawn.Length; row += 6)
        {
            Assert.That(drawn[row + 1], Is.EqualTo(8999));
            Assert.That(drawn[row + 2], Is.EqualTo(5).Or.EqualTo(8000));
            Assert.That(drawn[row + 5], Is.EqualTo(-1), "nothing is allowed");
        }
    }

    [Test]
    public void Likelihoods_AnyRow_MatchThePlainSum([ValueSource(nameof(Names))] string name, [Values(1, 500, 9001)] int columns)
    {
        DrawRows rows = new(columns);
        for (int row = 0; row < 4; row++)
            rows.Add(Kinds.Single(kind => kind.Name == name).Make(columns, row), reports: row != 2);
        int[] choices = [.. Enumerable.Range(0, 4).Select(row => (row * 997 + 7) % columns)];
        DrawnLikelihood[] actual = rows.Likelihoods(Backend, choices), expected = rows.Likelihoods(Oracle, choices);
        for (int row = 0; row < 4; row++)
        {
            Assert.That((actual[row].Rank, actual[row].Logit, actual[row].Largest), Is.EqualTo((expected[row].Rank, expected[row].Logit, expected[row].Largest)));
            if (row != 2)
                Assert.That(actual[row].LogSum, Is.EqualTo(expected[row].LogSum).Within(1e-6));
        }
        Assert.That(actual[2], Is.EqualTo(default(DrawnLikelihood)), "it did not ask");
    }

    [Test]
    public void Draw_WrongShapes_AreRefused()
    {
        Tensor logits = Device.Empty(2, 10), parameters = Device.Empty(2, DrawParameters.Words, ElementType.Int32), chosen = Device.Empty(2, 1, ElementType.Int32);
        Tensor edits = Device.Empty(1, LogitEdit.Words, ElementType.Int32), ids = Device.Empty(2, 10, ElementType.Int32);
        IRowSampler sampler = Backend.Sampler;
        Assert.That(() => sampler.DrawWhole(logits.RowSlice(0, 1), edits, parameters, chosen), Throws.ArgumentException.With.Message.Contains("logits is 1 x 10"));
        Assert.That(() => sampler.DrawWhole(logits, ids, parameters, chosen), Throws.ArgumentException.With.Message.Contains("edits is 2 x 10"));
        Assert.That(() => sampler.Draw(logits, ids, edits, chosen), Throws.ArgumentException.With.Message.Contains("parameters is 1 x 4"));
        Assert.That(() => sampler.Draw(logits, logits, parameters, chosen), Throws.ArgumentException.With.Message.Contains("ids is 2 x 10"));
        Assert.That(() => sampler.Likelihoods(logits, parameters, chosen, chosen), Throws.ArgumentException.With.Message.Contains("found is 2 x 1"));
    }
}
