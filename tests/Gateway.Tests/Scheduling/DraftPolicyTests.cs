using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>How many tokens are guessed, against machines whose times and guesses are known.</summary>
public sealed class DraftPolicyTests
{
    /// <summary>A machine and a text: what passes take, and how likely a guess is right.</summary>
    private sealed record World(double Step, double Row, double Pass, double Right, int Batch)
    {
        public double Target(int rows) => Step + Row * rows;

        /// <summary>Tokens a second where every sequence guesses so many.</summary>
        public double Rate(int guesses)
        {
            double tokens = 0;
            for (int ahead = 0; ahead <= guesses; ahead++)
                tokens += Math.Pow(Right, ahead);
            return Batch * tokens / (Target(Batch * (1 + guesses)) + guesses * Pass);
        }

        public double BestRate(int limit) => Enumerable.Range(0, limit + 1).Max(Rate);
    }

    /// <summary>Decodes with a policy; tokens and seconds of the second half, and how many steps of it had guesses.</summary>
    private static (double TokensPerSecond, double Guessing) Decode(World world, DraftPolicy policy, int seed, int steps = 4000, int limit = 8)
    {
        Random random = new(seed);
        DraftRecord[] records = [.. Enumerable.Range(0, world.Batch).Select(_ => policy.Attend() ?? new DraftRecord(right: 0))];
        int[] lengths = [.. Enumerable.Repeat(10, world.Batch)];
        double tokens = 0, seconds = 0;
        int guessing = 0;
        for (int step = 0; step < steps; step++)
        {
            policy.BeginStep(world.Batch, records);
            int[] guesses = [.. records.Select((record, i) => policy.Choose(record, lengths[i], limit))];
            int most = guesses.Max(), some = guesses.Count(count => count > 0), rows = world.Batch + guesses.Sum();
            double target = world.Target(rows) * (0.95 + 0.1 * random.NextDouble()), draft = most * world.Pass;
            if (random.Next(50) == 0)
                target *= 20; // something else ran
            policy.Observe(rows, target, some, most, guesses.Sum(), draft);
            for (int i = 0; i < records.Length; i++)
            {
                int right = 0;
                while (right < guesses[i] && random.NextDouble() < world.Right)
                    right++;
                if (guesses[i] > 0)
                    policy.Learn(records[i], guesses[i], right);
                lengths[i] += 1 + right;
                if (step >= steps / 2)
                    tokens += 1 + right;
            }
            if (step < steps / 2)
                continue;
            seconds += world.Target(rows) + draft;
            guessing += some > 0 ? 1 : 0;
        }
        return (tokens / seconds, guessing / (steps / 2.0));
    }

    private static DraftPolicy Policy(int maxTokens = int.MaxValue) => new(new DraftSettings(maxTokens, 16));

    private static readonly Gen<World> s_worlds =
        from row in Gen.Double[0, 0.2]
        from pass in Gen.Double[0.02, 1.2]
        from right in Gen.Double[0, 1]
        from batch in Gen.Int[1, 6]
        select new World(1 - row, row, pass, right, batch);

    [Test]
    public void Choose_AnyMachineAndText_ComesNearTheBestNumberOfGuesses() => s_worlds.Sample(world =>
    {
        double rate = Decode(world, Policy(), seed: 7).TokensPerSecond;
        return rate >= 0.88 * world.BestRate(8); // of 3,000 worlds half reach 0.994, one in a hundred less than 0.96, and the worst 0.918: where guesses hardly pay, it rests by bad luck
    }, iter: 100);

    [Test]
    public void Choose_DraftAsDearAsTheModel_GuessesHardlyEver()
    {
        (double rate, double guessing) = Decode(new World(0.9, 0.1, 1, Right: 1, Batch: 1), Policy(), seed: 3);
        Assert.That(guessing, Is.LessThan(0.02));
        Assert.That(rate, Is.GreaterThan(0.97));
    }

    [Test]
    public void Choose_GuessesAlwaysWrong_RestsForStretchesThatGrow()
    {
        (double _, double guessing) = Decode(new World(0.95, 0.05, 0.05, Right: 0, Batch: 1), Policy(), seed: 3);
        Assert.That(guessing, Is.InRange(0.001, 0.02), "it tries again, but seldom");
    }

    [Test]
    public void Choose_TextBecomesEasy_GuessesAgain()
    {
        DraftPolicy policy = Policy();
        World hard = new(0.95, 0.05, 0.1, Right: 0, Batch: 1), easy = hard with { Right = 0.95 };
        Decode(hard, policy, seed: 3);
        Assert.That(Decode(easy, policy, seed: 4, steps: 4000).Guessing, Is.GreaterThan(0.8));
    }

    [Test]
    public void Choose_NothingMeasured_FirstTakesAPlainStepThenGuesses()
    {
        DraftPolicy policy = Policy();
        DraftRecord record = policy.Attend()!;
        policy.BeginStep(1, [record]);
        Assert.That(policy.Choose(record, 10, 8), Is.Zero);
        policy.Observe(1, 0.01, 0, 0, 0, 0);
        policy.BeginStep(1, [record]);
        Assert.That(policy.Choose(record, 11, 8), Is.Positive);
    }

    [TestCase(18, 8, 3)]
    [TestCase(20, 8, 1)]
    [TestCase(21, 8, 0)]
    [TestCase(10, 2, 2)]
    [TestCase(10, 0, 0)]
    public void Choose_EndOfTheDraftsContextOrOfTheSequence_GuessesNoFurther(int tokens, int limit, int most)
    {
        DraftPolicy policy = Policy(maxTokens: 20);
        policy.Observe(1, 0.01, 0, 0, 0, 0);
        DraftRecord record = policy.Attend()!;
        policy.BeginStep(1, [record]);
        Assert.That(policy.Choose(record, tokens, limit), Is.EqualTo(most));
    }

    [Test]
    public void Choose_OneOfTheBatchGuessesBadly_HasFewerThanTheOthers()
    {
        DraftPolicy policy = Policy();
        DraftRecord good = policy.Attend()!, bad = policy.Attend()!;
        for (int step = 0; step < 200; step++)
        {
            policy.BeginStep(2, [good, bad]);
            int[] guesses = [policy.Choose(good, 10, 8), policy.Choose(bad, 10, 8)];
            policy.Observe(2 + guesses.Sum(), 0.8 + 0.1 * (2 + guesses.Sum()), guesses.Count(count => count > 0), guesses.Max(), guesses.Sum(), 0.05 * guesses.Max());
            policy.Learn(good, guesses[0], right: guesses[0]);
            policy.Learn(bad, guesses[1], right: 0);
        }
        policy.BeginStep(2, [good, bad]);
        Assert.That(policy.Choose(good, 10, 8), Is.GreaterThan(policy.Choose(bad, 10, 8) + 2));
    }

    [Test]
    public void Attend_GuessesPayForNobody_LeavesMostSequencesAlone()
    {
        DraftPolicy policy = Policy();
        Decode(new World(0.95, 0.05, 0.5, Right: 0.02, Batch: 1), policy, seed: 3);
        int attended = Enumerable.Range(0, 80).Count(_ => policy.Attend() is not null);
        Assert.That(attended, Is.InRange(1, 20));
    }

    [Test]
    public void PassTimes_RowsNotMeasured_LieOnTheLinesBetweenThoseThatWere()
    {
        PassTimes times = new();
        Assert.That((times.IsMeasured, times.Of(3)), Is.EqualTo((false, 0.0)));
        times.Observe(2, 0); // not measured
        times.Observe(1, 10);
        Assert.That((times.Of(1), times.Of(9)), Is.EqualTo((10.0, 10.0)), "nothing says that rows cost");
        times.Observe(5, 18);
        Assert.That((times.Of(1), times.Of(3), times.Of(5), times.Of(7)), Is.EqualTo((10.0, 14.0, 18.0, 22.0)));
        foreach (double seconds in new[] { 900.0, 18, 18, 900 })
            times.Observe(5, seconds);
        Assert.That(times.Of(5), Is.EqualTo(18.0), "the median");
    }
}
