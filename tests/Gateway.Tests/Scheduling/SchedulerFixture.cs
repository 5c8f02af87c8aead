using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Sequences, and a worker that answers every plan as the protocol says.</summary>
internal static class SchedulerFixture
{
    public static Sequence Sequence(int prompt, int maxNew, params int[] endTokens) => new(Spec(prompt, maxNew) with { EndTokens = endTokens.ToHashSet() });

    public static SequenceSpec Spec(int prompt, int maxNew) => new()
    {
        Prompt = [.. Enumerable.Range(1, prompt)],
        MaxNewTokens = maxNew,
        Sampling = new SamplingParameters(),
    };

    /// <summary>Every guess is wrong, every sampled token is 7 or what <paramref name="token"/> says of the sequence.</summary>
    public static StepResult Answer(StepPlan plan, Func<ulong, int>? token = null)
    {
        StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step };
        foreach (SequenceStep rows in plan.Sequences)
        {
            SequenceResult answer = new() { SequenceId = rows.SequenceId };
            if (rows.Sample)
                answer.TokenIds.Add(token?.Invoke(rows.SequenceId) ?? 7);
            result.Sequences.Add(answer);
        }
        return result;
    }

    /// <summary>The rows of a plan as "id:start+tokens", a sampled one with "!", guesses with "?count", the draft model's with "~count".</summary>
    public static string Rows(StepPlan? plan) => plan is null
        ? "nothing"
        : string.Join(' ', plan.Sequences.Select(rows =>
            $"{rows.SequenceId}:{rows.StartPosition}+{rows.Tokens}{(rows.Sample ? "!" : "")}{(rows.DraftIds.Count > 0 ? $"?{rows.DraftIds.Count}" : "")}{(rows.DraftTokens > 0 ? $"~{rows.DraftTokens}" : "")}"));
}

/// <summary>The workers in miniature: what each block holds, token by token; every row checks that what it reads is what its log says.</summary>
/// <remarks>The oracle of shared blocks: a hit that was not one, a block with two owners or a copy too late shows as a token that is not there.</remarks>
/// <param name="blockTokens">Tokens of a block.</param>
/// <param name="next">The token after a log.</param>
/// <param name="draft">The draft model's longest sequence; null = there is none. It is right at two of three lengths of a log.</param>
internal sealed class NaiveWorkers(int blockTokens, Func<IReadOnlyList<int>, int> next, int? draft = null)
{
    private readonly Dictionary<int, int[]> _cache = [];
    private readonly Dictionary<ulong, (List<int> Tokens, List<int> Blocks)> _sequences = [];
    private readonly Dictionary<ulong, int> _computed = [];
    private readonly HashSet<ulong> _drafts = [];

    /// <summary>Runs a plan as ranks do: forget, copy, compute, sample, take guesses while they are right.</summary>
    public StepResult Run(StepPlan plan)
    {
        StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step };
        foreach (ulong id in plan.Finished)
            if (!_sequences.Remove(id))
                throw new InvalidOperationException($"sequence {id} ends and was not there");
        foreach (NewSequence added in plan.NewSequences)
        {
            _sequences.Add(added.SequenceId, ([.. added.TokenIds], []));
            _computed[added.SequenceId] = added.ComputedTokens;
            if (added.Drafts)
                _drafts.Add(added.SequenceId);
        }
        foreach (BlockCopy copy in plan.Copies)
            _cache[copy.Destination] = [.. Block(copy.Source)];
        foreach (SequenceStep rows in plan.Sequences)
            result.Sequences.Add(Run(rows));
        int passes = plan.Sequences.Max(rows => rows.DraftTokens);
        result.DraftMicroseconds = 10 * passes;
        result.DraftRows = passes * plan.Sequences.Count(rows => rows.DraftTokens > 0);
        result.StepMicroseconds = 100 + result.DraftMicroseconds + plan.Sequences.Sum(rows => rows.Tokens + rows.DraftIds.Count + rows.DraftTokens);
        return result;
    }

    private SequenceResult Run(SequenceStep rows)
    {
        (List<int> tokens, List<int> blocks) = _sequences[rows.SequenceId];
        blocks.AddRange(rows.NewBlocks);
        if (rows.StartPosition != _computed[rows.SequenceId])
            throw new InvalidOperationException($"sequence {rows.SequenceId} starts at {rows.StartPosition}, computed are {_computed[rows.SequenceId]}");
        List<int> guesses = [.. rows.DraftIds, .. Draft(rows, tokens)], laid = [.. tokens, .. guesses];
        for (int position = rows.StartPosition; position < rows.StartPosition + rows.Tokens + guesses.Count; position++)
            Block(blocks[position / blockTokens])[position % blockTokens] = laid[position];
        for (int position = 0; position < rows.StartPosition; position++)
            if (Block(blocks[position / blockTokens])[position % blockTokens] != tokens[position])
                throw new InvalidOperationException($"sequence {rows.SequenceId}: position {position} is not in block {blocks[position / blockTokens]}");

        SequenceResult answer = new() { SequenceId = rows.SequenceId };
        int right = 0;
        while (rows.Sample)
        {
            int token = next(tokens);
            tokens.Add(token);
            answer.TokenIds.Add(token);
            if (right == guesses.Count || guesses[right] != token)
                break;
            right++;
        }
        _computed[rows.SequenceId] = rows.StartPosition + rows.Tokens + right;
        return answer;
    }

    private List<int> Draft(SequenceStep rows, List<int> tokens)
    {
        if (rows.DraftTokens == 0)
            return [];
        if (draft is not { } most || !_drafts.Contains(rows.SequenceId) || rows.DraftIds.Count > 0 || !rows.Sample || rows.StartPosition + rows.Tokens != tokens.Count || tokens.Count + rows.DraftTokens - 1 > most)
            throw new InvalidOperationException($"the draft model cannot guess {rows.DraftTokens} tokens after {tokens.Count} of sequence {rows.SequenceId}");
        List<int> log = [.. tokens];
        for (int guess = 0; guess < rows.DraftTokens; guess++)
            log.Add(log.Count % 3 == 0 ? 1 : next(log));
        return log[tokens.Count..];
    }

    private int[] Block(int block) => _cache.TryGetValue(block, out int[]? content) ? content : _cache[block] = new int[blockTokens];
}
