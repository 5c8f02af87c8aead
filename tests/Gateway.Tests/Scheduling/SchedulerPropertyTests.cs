using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Scheduling.SchedulerFixture;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Random requests, ends, aborts, pipelining and lost groups against the promises of the scheduler.</summary>
public sealed class SchedulerPropertyTests
{
    private enum Act
    {
        Add,
        Next,
        Apply,
        Abort,
        LoseGroup,
    }

    private sealed record Move(Act Act, int Prompt, int MaxNew, int Pick);

    private sealed record World(int StepTokens, int Chunk, int Sequences, int Blocks, int BlockTokens, Move[] Moves);

    private static readonly Gen<Move> s_move = Gen.Select(
        Gen.Frequency((4, Gen.Const(Act.Add)), (8, Gen.Const(Act.Next)), (8, Gen.Const(Act.Apply)), (1, Gen.Const(Act.Abort))),
        Gen.Int[1, 30], Gen.Int[0, 8], Gen.Int[0, 99],
        (act, prompt, maxNew, pick) => new Move(act == Act.Abort && pick < 10 ? Act.LoseGroup : act, prompt, maxNew, pick));

    private static readonly Gen<World> s_world =
        from stepTokens in Gen.Int[1, 16]
        from chunk in Gen.Int[1, 16]
        from sequences in Gen.Int[1, stepTokens]
        from blocks in Gen.Int[10, 30]
        from blockTokens in Gen.Int[4, 8]
        from moves in s_move.Array[1, 150]
        select new World(stepTokens, chunk, sequences, blocks, blockTokens, moves);

    [Test]
    public void Scheduler_AnyHistory_KeepsItsPromises() => s_world.Sample(Run, iter: 2000);

    private static void Run(World world)
    {
        Scheduler scheduler = new(new SchedulerSettings(world.StepTokens, world.Chunk, world.Sequences, QueueLimit: 1000));
        long epoch = 1;
        scheduler.StartLife(epoch, world.Blocks, world.BlockTokens);
        Queue<StepPlan> inFlight = new();
        List<Sequence> all = [];
        List<ulong> admitted = [];

        void Plan()
        {
            if (inFlight.Count < 2 && scheduler.Next() is { } plan)
            {
                Check(world, scheduler, plan, admitted);
                inFlight.Enqueue(plan);
            }
        }

        void Apply()
        {
            if (inFlight.TryDequeue(out StepPlan? plan))
                scheduler.Apply(Answer(plan, id => (int)((id * 31 + (ulong)plan.Step) % 11))); // token 3 ends
        }

        foreach (Move move in world.Moves)
            switch (move.Act)
            {
                case Act.Add:
                    all.Add(Sequence((ulong)all.Count + 1, move.Prompt, move.MaxNew, endTokens: 3));
                    Assert.That(scheduler.CanEverFit(all[^1]), Is.True, "the worlds are made so");
                    scheduler.Add(all[^1]);
                    break;
                case Act.Next:
                    Plan();
                    break;
                case Act.Apply:
                    Apply();
                    break;
                case Act.Abort when all.Count > 0:
                    scheduler.Abort(all[move.Pick % all.Count]);
                    break;
                case Act.LoseGroup:
                    scheduler.EndLife();
                    inFlight.Clear();
                    scheduler.StartLife(++epoch, world.Blocks, world.BlockTokens);
                    break;
            }

        // Every sequence finishes: each round plans at least one row, and there are only so many rows to compute.
        int bound = all.Sum(sequence => sequence.MaxComputedTokens) + 2;
        for (int round = 0; scheduler.Waiting.Count + scheduler.Running.Count + inFlight.Count > 0; round++)
        {
            Assert.That(round, Is.LessThan(bound), "no progress");
            Plan();
            Apply();
        }
        Assert.That(all.All(sequence => sequence.State == SequenceState.Finished), Is.True);
        Assert.That(all.All(sequence => sequence.Generated.Count <= sequence.Spec.MaxNewTokens), Is.True);
        Assert.That(scheduler.UsedBlocks, Is.Zero, "a block leaked");
        Assert.That(admitted, Is.Ordered, "first come, first served");
    }

    private static void Check(World world, Scheduler scheduler, StepPlan plan, List<ulong> admitted)
    {
        Assert.That(plan.Sequences.Sum(rows => rows.Tokens), Is.InRange(1, world.StepTokens), "tokens of a step");
        Assert.That(plan.Sequences.All(rows => rows.Tokens <= world.Chunk), Is.True, "tokens of a chunk");
        Assert.That(plan.Sequences.Select(rows => rows.SequenceId), Is.Unique);
        Assert.That(scheduler.Running, Has.Count.LessThanOrEqualTo(world.Sequences));

        BlockId[] owned = [.. scheduler.Running.SelectMany(sequence => sequence.Blocks.ToArray())];
        Assert.That(owned, Is.Unique, "a block has two owners");
        Assert.That(owned, Has.Length.EqualTo(scheduler.UsedBlocks));
        foreach (Sequence sequence in scheduler.Running)
            Assert.That(sequence.Blocks.Length * world.BlockTokens, Is.GreaterThanOrEqualTo(sequence.MaxComputedTokens));
        admitted.AddRange(plan.NewSequences.Select(sequence => sequence.SequenceId));
    }
}
