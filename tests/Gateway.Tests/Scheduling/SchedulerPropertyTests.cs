using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Random requests, ends, aborts, pauses, pipelining, guesses, constraints and lost groups over a cache that is too small, against the promises of the scheduler.</summary>
public sealed class SchedulerPropertyTests
{
    private enum Act
    {
        Add,
        AddOutputs,
        Next,
        Apply,
        Abort,
        Suspend,
        Resume,
        Flush,
        LoseGroup,
    }

    private sealed record Move(Act Act, int Prompt, int MaxNew, int Pick);

    private sealed record World(int StepTokens, int Chunk, int Sequences, int Blocks, int BlockTokens, int Border, bool Cache, int? Draft, Move[] Moves);

    private static readonly Gen<Move> s_move = Gen.Select(
        Gen.Frequency(
            (4, Gen.Const(Act.Add)), (1, Gen.Const(Act.AddOutputs)), (10, Gen.Const(Act.Next)), (10, Gen.Const(Act.Apply)), (1, Gen.Const(Act.Abort)),
            (1, Gen.Const(Act.Suspend)), (1, Gen.Const(Act.Resume)), (1, Gen.Const(Act.LoseGroup))),
        Gen.Int[1, 30], Gen.Int[0, 12], Gen.Int[0, 99],
        (act, prompt, maxNew, pick) => new Move(act == Act.Abort && pick < 20 ? Act.Flush : act, prompt, maxNew, pick));

    private static readonly Gen<World> s_world =
        from stepTokens in Gen.Int[1, 16]
        from chunk in Gen.Int[1, 16]
        from sequences in Gen.Int[1, stepTokens]
        from blockTokens in Gen.Int[1, 8]
        from blocks in Gen.Int[41 / blockTokens + 1, 80 / blockTokens + 1]
        from border in Gen.Frequency((2, Gen.Const(0)), (1, Gen.Int[1, 30]))
        from cache in Gen.Bool
        from draft in Gen.Frequency((1, Gen.Const((int?)null)), (2, Gen.Int[1, 40].Select(most => (int?)most)))
        from moves in s_move.Array[1, 200]
        select new World(stepTokens, chunk, sequences, blocks, blockTokens, border, cache, draft, moves);

    [Test]
    public void Scheduler_AnyHistory_KeepsItsPromises() => s_world.Sample(Run, iter: 3000);

    /// <summary>The token after a log: few different ones, so that prefixes meet and guesses are sometimes right; 3 ends.</summary>
    private static int NextToken(IReadOnlyList<int> tokens)
    {
        int hash = 17;
        foreach (int token in tokens.Skip(tokens.Count - 4))
            hash = hash * 31 + token;
        return Math.Abs(hash) % 6 + (hash % 13 == 0 ? 0 : 4);
    }

    private static void Run(World world)
    {
        Scheduler scheduler = new(new SchedulerSettings(world.StepTokens, world.Chunk, world.Sequences, QueueLimit: 1000) { PrefixCache = world.Cache, LongRopeBeyond = world.Border, Draft = world.Draft is { } most ? new DraftSettings(most, 4) : null });
        long epoch = 1;
        scheduler.StartLife(epoch, world.Blocks, world.BlockTokens);
        NaiveWorkers workers = new(world.BlockTokens, NextToken, world.Draft);
        Queue<StepPlan> inFlight = new();
        StepMasks? followed = null;
        List<Sequence> all = [];
        Dictionary<Sequence, List<int>> told = [];
        HashSet<Sequence> aborted = [];

        void Plan(int catchUp = int.MaxValue)
        {
            if (inFlight.Count < 2 && scheduler.Next(catchUp) is { } plan)
            {
                Check(world, scheduler, plan);
                inFlight.Enqueue(plan);
            }
        }

        void Apply()
        {
            if (!inFlight.TryDequeue(out StepPlan? plan))
                return;
            foreach (SequenceProgress progress in scheduler.Apply(workers.Run(plan, followed)))
                told[progress.Sequence].AddRange(progress.Tokens);
            followed = scheduler.FollowingMasks();
        }

        void Add(Sequence sequence)
        {
            all.Add(sequence);
            told.Add(sequence, []);
            Assert.That(scheduler.CanEverFit(sequence), Is.True, "the worlds are made so");
        }

        foreach (Move move in world.Moves)
            switch (move.Act)
            {
                case Act.Add:
                    Add(new Sequence(Spec(move)));
                    scheduler.Add(all[^1]);
                    break;
                case Act.AddOutputs:
                    Add(new Sequence(Spec(move)));
                    Sequence leader = all[^1];
                    Add(new Sequence(Spec(move), leader));
                    Add(new Sequence(Spec(move), leader));
                    scheduler.Add(leader, all[^2], all[^1]);
                    break;
                case Act.Next:
                    Plan(move.Pick < 50 ? 1 + move.Pick % 5 : int.MaxValue);
                    break;
                case Act.Apply:
                    Apply();
                    break;
                case Act.Abort when all.Count > 0:
                    if (scheduler.Abort(all[move.Pick % all.Count]))
                        aborted.Add(all[move.Pick % all.Count]);
                    break;
                case Act.Suspend when all.Count > 0:
                    scheduler.Suspend(all[move.Pick % all.Count]);
                    break;
                case Act.Resume when all.Count > 0:
                    scheduler.Resume(all[move.Pick % all.Count]);
                    break;
                case Act.Flush:
                    scheduler.FlushCache();
                    break;
                case Act.LoseGroup:
                    IReadOnlyList<Sequence> caught = scheduler.EndLife();
                    if (move.Pick < 50)
                        Scheduler.Suspect(caught);
                    inFlight.Clear();
                    followed = null;
                    workers = new NaiveWorkers(world.BlockTokens, NextToken, world.Draft);
                    scheduler.StartLife(++epoch, world.Blocks, world.BlockTokens);
                    break;
            }

        // Every sequence finishes: the first in order moves on in every step, however small the cache.
        all.ForEach(scheduler.Resume);
        int bound = all.Sum(sequence => 2 * sequence.MaxComputedTokens + 4) + 4;
        for (int round = 0; scheduler.Waiting.Count + scheduler.Running.Count + inFlight.Count > 0; round++)
        {
            Assert.That(round, Is.LessThan(bound), "no progress");
            Plan();
            Plan();
            Apply();
        }
        Assert.That(all.All(sequence => sequence.State == SequenceState.Finished), Is.True);
        Assert.That(scheduler.Imbalance(), Is.Null);
        Assert.That(scheduler.WaitingTokens, Is.Zero);

        // What was told of each is what it would have been alone: none twice, none missing, whatever happened on the way.
        foreach (Sequence sequence in all)
            Assert.That(told[sequence], Is.EqualTo(aborted.Contains(sequence) ? Alone(sequence.Spec).Take(told[sequence].Count) : Alone(sequence.Spec)));
    }

    private static SequenceSpec Spec(Move move) => new()
    {
        Prompt = [.. Enumerable.Range(0, move.Prompt).Select(i => move.Pick % 3 == 0 ? i % 4 : i / 8)],
        MaxNewTokens = move.MaxNew,
        Sampling = new SamplingParameters(),
        EndTokens = new HashSet<int> { 3 },
        Priority = move.Pick % 5 - 2,
        CacheSalt = move.Pick % 7 == 0 ? "salt" : "",
        BypassCache = move.Pick % 11 == 0,
        DraftTokens = move.Pick % 2 == 0 && !IsConstrained(move) ? move.Pick % 6 : 0,
        Constraint = IsConstrained(move) ? () => new ForcedText(1 + move.Pick % 13) : null,
        LooksUp = move.Pick % 4 == 0,
    };

    private static bool IsConstrained(Move move) => move.Pick % 3 == 1;

    private static List<int> Alone(SequenceSpec spec)
    {
        List<int> tokens = [.. spec.Prompt];
        ITokenConstraint? constraint = spec.Constraint?.Invoke();
        while (tokens.Count - spec.Prompt.Count < spec.MaxNewTokens && (tokens.Count == spec.Prompt.Count || tokens[^1] != 3) && constraint is not { IsComplete: true })
        {
            tokens.Add(constraint is not null && ForcedText.TokenAt(tokens.Count - spec.Prompt.Count) is { } forced ? forced : NextToken(tokens));
            if (tokens[^1] != 3)
                constraint?.Take(tokens[^1]);
        }
        return tokens[spec.Prompt.Count..];
    }

    private static void Check(World world, Scheduler scheduler, StepPlan plan)
    {
        Assert.That(plan.Sequences.Sum(rows => rows.Tokens + rows.DraftIds.Count + rows.DraftTokens), Is.InRange(1, world.StepTokens), "tokens of a step");
        Assert.That(plan.Sequences.All(rows => rows.Tokens <= world.Chunk), Is.True, "tokens of a chunk");
        Assert.That(plan.Sequences.Select(rows => rows.SequenceId), Is.Unique);
        Assert.That(scheduler.Running, Has.Count.LessThanOrEqualTo(world.Sequences));
        Assert.That(scheduler.Running.SelectMany(sequence => sequence.Blocks).Distinct().Count(), Is.EqualTo(scheduler.UsedBlocks), "blocks that are held are held by somebody");
        foreach (Sequence sequence in scheduler.Running)
        {
            Assert.That(sequence.Known, Is.GreaterThanOrEqualTo(sequence.Planned));
            Assert.That(sequence.Planned, Is.GreaterThanOrEqualTo(sequence.Computed));
            Assert.That(sequence.Blocks.Count * world.BlockTokens, Is.GreaterThanOrEqualTo(sequence.Planned));
        }
        Assert.That(scheduler.Running.Count(sequence => sequence.Unproven), Is.LessThanOrEqualTo(1), "suspects begin one at a time");
        ulong[] order = [.. scheduler.Running.Concat(scheduler.Waiting).Select(sequence => (ulong)(1000 - sequence.Spec.Priority))];
        Assert.That(order[..scheduler.Running.Count], Is.Ordered);
        Assert.That(order[scheduler.Running.Count..], Is.Ordered);
    }
}
