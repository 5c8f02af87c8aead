using System.Diagnostics;
using System.Runtime;
using Google.Protobuf;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>Steps that nobody asked for, before the rank says that it is ready: what the first request needs is compiled and its memory touched.</summary>
/// <remarks>
/// 1. A prompt and decode steps of each way to choose a token, as plans that come from the wire; where there is a draft model the last step of each guesses.
/// 2. Rounds of decode steps and rest, until one compiles next to nothing or they have taken long enough: what was called often (Worker.csproj says how often) the
///    runtime compiles a second time, well, on a thread that shares the ranks' processors. Rank 0 says when it is enough.
/// Writes the first blocks of the cache, which belong to nobody yet. Every rank of the group calls it.
/// </remarks>
internal sealed class FirstSteps
{
    private const int Prompt = 32, ShortPrompt = 8, FewDecodeSteps = 3, DecodeSteps = 16, Guesses = 4;

    /// <summary>Methods compiled in a round that are not worth another one.</summary>
    private const int FewMethods = 8;

    /// <summary>A rest ends when nothing was compiled for so long.</summary>
    private static readonly TimeSpan s_quiet = TimeSpan.FromMilliseconds(30), s_look = TimeSpan.FromMilliseconds(10);

    /// <summary>After this no further step is begun: where steps are slow, their first ones cost little beside them.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromMilliseconds(400);

    private static readonly SamplingParameters s_greedy = new() { TopP = 1, RepetitionPenalty = 1 };

    private static readonly SamplingParameters[] s_kinds =
        [s_greedy, new() { Temperature = 1, TopP = 0.95f, RepetitionPenalty = 1 }, new() { Temperature = 1, TopP = 1, TopK = 40, RepetitionPenalty = 1 }];

    private readonly LoadRequest _request;
    private readonly LoadedShard _shard;
    private readonly StepLoop _loop;
    private readonly long _start = Stopwatch.GetTimestamp();
    private ulong _life;
    private long _step;

    private FirstSteps(LoadedShard shard, LoadRequest request)
    {
        _shard = shard;
        _request = request;
        _loop = new StepLoop(shard, request.Epoch, request.BlockTokens);
    }

    /// <summary>Runs them on the rank's thread.</summary>
    /// <exception cref="GroupLostException">A peer is lost.</exception>
    public static void Run(LoadedShard shard, LoadRequest request) => new FirstSteps(shard, request).Run();

    private void Run()
    {
        int room = Math.Min(Math.Min(_request.MaxModelLen, _request.MaxStepTokens), _request.KvBlocks * _request.BlockTokens);
        if (room < 2)
            return;
        foreach (SamplingParameters kind in s_kinds)
        {
            if (!Live(kind, Math.Min(kind == s_greedy ? Prompt : ShortPrompt, room - 1), FewDecodeSteps, room))
                return;
        }
        bool settled = false;
        while (!Agreed(settled))
        {
            long before = JitInfo.GetCompiledMethodCount();
            if (!Live(s_greedy, Math.Min(ShortPrompt, room - 1), DecodeSteps, room))
                return;
            Rest();
            settled = JitInfo.GetCompiledMethodCount() - before <= FewMethods;
        }
    }

    private bool IsLong => Stopwatch.GetElapsedTime(_start) > s_longest;

    private void Rest()
    {
        long compiled = JitInfo.GetCompiledMethodCount(), since = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(since) < s_quiet && !IsLong)
        {
            Thread.Sleep(s_look);
            if (JitInfo.GetCompiledMethodCount() != compiled)
                (compiled, since) = (JitInfo.GetCompiledMethodCount(), Stopwatch.GetTimestamp());
        }
    }

    /// <summary>One sequence from its prompt to its end. False where it has taken long enough and no further step is to be begun.</summary>
    private bool Live(SamplingParameters sampling, int prompt, int decodeSteps, int room)
    {
        ulong id = ++_life;
        NewSequence sequence = new() { SequenceId = id, TopLogprobs = -1, PromptLogprobs = -1, Sampling = sampling.Clone(), Drafts = _shard.DraftPasses is not null };
        sequence.Sampling.PromptTokens = prompt;
        for (int i = 0; i < prompt; i++)
            sequence.TokenIds.Add(i % _shard.Rank.Model.Config.Vocab);
        int blocks = 0, end = Math.Min(room, prompt + decodeSteps);
        for (int computed = 0; computed < end;)
        {
            StepPlan plan = new() { Epoch = _request.Epoch, Step = ++_step };
            SequenceStep step = new() { SequenceId = id, StartPosition = computed, Tokens = computed == 0 ? prompt : 1, Sample = true };
            computed += step.Tokens;
            if (sequence.Drafts && computed == end && step.StartPosition > 0)
                step.DraftTokens = Math.Clamp(Math.Min(room, _request.Draft.MaxModelLen) - end, 0, Guesses); // how far it comes then, nobody needs to know
            while (blocks * _request.BlockTokens < computed + step.DraftTokens)
                step.NewBlocks.Add(blocks++);
            plan.Sequences.Add(step);
            if (step.StartPosition == 0)
            {
                plan.NewSequences.Add(sequence);
                if (id > 1)
                    plan.Finished.Add(id - 1);
            }
            _loop.Run(StepPlan.Parser.ParseFrom(plan.ToByteArray()))?.ToByteArray();
            if (Agreed(IsLong))
                return false;
        }
        return true;
    }

    /// <summary>What rank 0 says: the ranks must run the same steps.</summary>
    private bool Agreed(bool ends)
    {
        if (_request.Degree == 1)
            return ends;
        ITensorBackend ops = _shard.Ops;
        long mark = ops.Mark();
        Tensor word = ops.Rent(1, 1, ElementType.Int32);
        int[] said = [ends ? 1 : 0];
        ops.Upload<int>(said, word);
        _shard.Relay.Broadcast(word, root: 0);
        ops.Download<int>(word, said);
        ops.Release(mark);
        return said[0] != 0;
    }
}
