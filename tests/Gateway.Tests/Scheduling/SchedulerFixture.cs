using Google.Protobuf;
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

/// <summary>A text of which three of every five tokens are forced, and which is whole after some; a mask is the number of tokens before it.</summary>
internal sealed class ForcedText(int whole) : ITokenConstraint
{
    private readonly int[] _forced = [.. Enumerable.Range(0, 64).TakeWhile(at => at < whole).Select(at => TokenAt(at) ?? -1)];
    private int _taken;

    public ByteString Allowed => AllowedAfter(0);

    public ReadOnlySpan<int> Forced
    {
        get
        {
            ReadOnlySpan<int> rest = _forced.AsSpan(Math.Min(_taken, _forced.Length));
            int free = rest.IndexOf(-1);
            return free < 0 ? rest : rest[..free];
        }
    }

    public bool IsComplete => _taken == whole;

    public string? Fault { get; private set; }

    /// <summary>The forced token at a place of the text; null where there is a choice.</summary>
    public static int? TokenAt(int at) => at % 5 is 1 or 2 or 3 ? 100 + at : null;

    public ByteString AllowedAfter(int forced) => ByteString.CopyFrom((byte)(_taken + forced));

    public void Take(int token)
    {
        if (TokenAt(_taken) is { } only && token != only)
            Fault = $"{token} in place of {only}";
        _taken++;
    }
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
    private readonly Dictionary<ulong, int> _prompts = [];

    /// <summary>Runs a plan as ranks do: forget, copy, compute, sample as its masks and those that followed it say, take guesses while they are right.</summary>
    public StepResult Run(StepPlan plan, StepMasks? followed = null)
    {
        if ((plan.Epoch, plan.Step) != (followed?.Epoch ?? plan.Epoch, followed?.Step ?? plan.Step) || plan.Sequences.Any(rows => rows.AllowedFollows) != followed is not null)
            throw new InvalidOperationException($"step {plan.Step} is followed by masks of step {followed?.Step}");
        StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step };
        foreach (ulong id in plan.Finished)
            if (!_sequences.Remove(id))
                throw new InvalidOperationException($"sequence {id} ends and was not there");
        foreach (NewSequence added in plan.NewSequences)
        {
            _sequences.Add(added.SequenceId, ([.. added.TokenIds], []));
            _computed[added.SequenceId] = added.ComputedTokens;
            _prompts[added.SequenceId] = added.Sampling.PromptTokens;
            if (added.Drafts)
                _drafts.Add(added.SequenceId);
        }
        foreach (BlockCopy copy in plan.Copies)
            _cache[copy.Destination] = [.. Block(copy.Source)];
        foreach (SequenceStep rows in plan.Sequences)
            result.Sequences.Add(Run(rows, rows.AllowedFollows ? followed!.Masks.FirstOrDefault(mask => mask.SequenceId == rows.SequenceId)?.Allowed : rows.Allowed));
        int passes = plan.Sequences.Max(rows => rows.DraftTokens);
        result.DraftMicroseconds = 10 * passes;
        result.DraftRows = passes * plan.Sequences.Count(rows => rows.DraftTokens > 0);
        result.StepMicroseconds = 100 + result.DraftMicroseconds + plan.Sequences.Sum(rows => rows.Tokens + rows.DraftIds.Count + rows.DraftTokens);
        return result;
    }

    private SequenceResult Run(SequenceStep rows, ByteString? allowed)
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
            int token = Sampled(rows, tokens, right, allowed);
            tokens.Add(token);
            answer.TokenIds.Add(token);
            if (right == guesses.Count || guesses[right] != token)
                break;
            right++;
        }
        _computed[rows.SequenceId] = rows.StartPosition + rows.Tokens + right;
        return answer;
    }

    private int Sampled(SequenceStep rows, List<int> tokens, int row, ByteString? allowed)
    {
        int generated = tokens.Count - _prompts[rows.SequenceId];
        if (rows.Forced && row < rows.DraftIds.Count)
            return rows.DraftIds[row];
        if (allowed is not { IsEmpty: false })
            return next(tokens); // nothing constrains it, or it has ended
        if (allowed[0] != generated)
            throw new InvalidOperationException($"sequence {rows.SequenceId}: the mask after {allowed[0]} tokens came for the one after {generated}");
        return ForcedText.TokenAt(generated) ?? next(tokens);
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
