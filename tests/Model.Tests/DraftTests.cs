using NUnit.Framework;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Model.Sampling;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Steps that guess ahead give the tokens and logprobs of steps that do not, to the bit, whatever of the guesses is right.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class DraftTests
{
    private const int Vocab = 389;
    private const string Q8 = "cpu q8 cache"; // for heads of blocks of 32

    private static readonly Job[] Jobs =
    [
        new() { Prompt = [5, 10, 13, 2, 77], NewTokens = 30, TopLogprobs = 4 },
        new() { Prompt = [3, 1], NewTokens = 24, JoinsAt = 2 },
        new() { Prompt = [.. Enumerable.Range(20, 70)], Chunk = 16, NewTokens = 24, JoinsAt = 1, Settings = new() { Temperature = 1.1f, TopK = 30, TopP = 0.95f, Seed = 3 } },
        new() { Prompt = [8, 8, 8], NewTokens = 24, TopLogprobs = 0, Settings = new() { Temperature = 0.9f, Seed = 4, MinP = 0.01f } },
        // What the penalties count differs from row to row: a guess is part of the history of the rows after it.
        new() { Prompt = [6, 7, 6], NewTokens = 24, JoinsAt = 1, Settings = new() { Temperature = 1.2f, TopP = 0.9f, Seed = 5, RepetitionPenalty = 1.3f, FrequencyPenalty = 0.4f, PresencePenalty = 0.2f } },
        new() { Prompt = [1, 2], NewTokens = 20, TopLogprobs = 2, Settings = new() { FrequencyPenalty = 1.5f, EndTokenIds = [0, 3], MinTokens = 15, LogitBias = [new(9, 2f)] } },
    ];

    private static readonly (string Name, RankSetup Setup)[] Setups =
    [
        .. Enum.GetValues<IsaPath>().Where(path => path.IsSupported()).Select(path => (
            $"cpu {path.Name()}", RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 1, path) })),
        ("cpu float32", RankSetup.CpuFloat32),
        ("cpu bfloat16 cache", RankSetup.CpuDefault with { KvType = ElementType.BFloat16 }),
        (Q8, RankSetup.CpuDefault with { KvType = ElementType.Q8 }),
        ("reference", RankSetup.Reference),
    ];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach ((string setup, _) in Setups)
            yield return new TestCaseData(setup, setup == Q8 ? "llama-q8_0" : "llama", 1);
        foreach (string model in OddModels.Names)
            yield return new TestCaseData(Setups[^5].Name, model, 2);
        yield return new TestCaseData("reference", "gemma2", 1);
    }

    [TestCaseSource(nameof(Cases))]
    public void Steps_ThatGuess_GiveTheBitsOfStepsThatDoNot(string setup, string model, int degree)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(model);
        RankSetup ranks = Setups.Single(each => each.Name == setup).Setup;
        JobResult[] plain = Run(Jobs);
        int asked = 0, right = 0;
        JobResult[] guessed = Run([.. Jobs.Select((job, i) => job with { Guesses = tokens => Guess(job, plain[i], tokens) })]);
        Assert.That(guessed.Select(result => result.ToString()), Is.EqualTo(plain.Select(result => result.ToString())));
        Assert.That(right, Is.InRange(1, asked - 1), "some guesses are right and some are not");

        JobResult[] Run(Job[] jobs) => RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), ranks, jobs)[0];

        // Up to four tokens of what will be sampled; at every third place another one.
        int[] Guess(Job job, JobResult result, int[] tokens)
        {
            int done = tokens.Length - job.Prompt.Count;
            int[] next = [.. result.Tokens.Skip(done).Take(1 + tokens.Length % 4).Select((token, i) => (done + i) % 3 == 2 ? (token + 1) % Vocab : token)];
            Interlocked.Add(ref asked, next.Length);
            Interlocked.Add(ref right, next.Where((token, i) => token == result.Tokens[done + i]).Count());
            return next;
        }
    }

    [Test]
    public void Steps_ThatGuessTheWrongTokensAlways_AreWhollyRolledBack()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("llama-grouped");
        JobResult[] plain = RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, Jobs);
        Job[] wrong = [.. Jobs.Select((job, i) => job with
        {
            Guesses = tokens => [.. Enumerable.Range(0, 5).Select(ahead => (plain[i].Tokens.ElementAtOrDefault(tokens.Length - job.Prompt.Count + ahead) + 7) % Vocab)],
        })];
        Assert.That(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, wrong).Select(result => result.ToString()), Is.EqualTo(plain.Select(result => result.ToString())));
    }
}
