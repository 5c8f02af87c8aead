using System.Runtime.InteropServices;
using TpServe.Model.Adapters;
using TpServe.Model.Sampling;

namespace TpServe.Model;

/// <summary>One forward pass as plain data: which tokens, where they stand, where their keys and values go, and what is asked of which row.</summary>
/// <remarks>
/// Rows of one sequence follow each other in ascending position; a sequence appears once in a step. The same on every rank.
/// Reused: <see cref="Clear"/> empties it and keeps its memory.
/// Threads  one at a time.
/// </remarks>
/// <param name="blockTokens">Tokens a KV block holds.</param>
public sealed class StepBatch(int blockTokens)
{
    private readonly List<int> _tokenIds = [], _positions = [], _slots = [], _sequenceOfRow = [], _blocks = [], _blockEnds = [];
    private readonly List<bool> _longRope = [];

    /// <summary>Number of the step; grows by one from step to step.</summary>
    public long Step { get; private set; }

    /// <summary>Tokens in the step.</summary>
    public int Rows => _tokenIds.Count;

    /// <summary>Sequences in the step.</summary>
    public int Sequences => _blockEnds.Count;

    /// <summary>Blocks of the sequence that has most.</summary>
    public int MostBlocks { get; private set; }

    /// <summary>Highest position of any token; −1 where there is none.</summary>
    public int HighestPosition { get; private set; } = -1;

    /// <summary>Token of each row.</summary>
    public ReadOnlySpan<int> TokenIds => CollectionsMarshal.AsSpan(_tokenIds);

    /// <summary>Position of each row in its sequence.</summary>
    public ReadOnlySpan<int> Positions => CollectionsMarshal.AsSpan(_positions);

    /// <summary>Where each row's key and value go.</summary>
    public ReadOnlySpan<int> Slots => CollectionsMarshal.AsSpan(_slots);

    /// <summary>Sequence of each row.</summary>
    public ReadOnlySpan<int> SequenceOfRow => CollectionsMarshal.AsSpan(_sequenceOfRow);

    /// <summary>KV blocks to copy before the rows are computed, in this order.</summary>
    public List<(int Source, int Destination)> Copies { get; } = [];

    /// <summary>Rows to sample from; several of a sequence where it guesses ahead.</summary>
    public List<SampleRow> Samples { get; } = [];

    /// <summary>Rows whose distribution is asked about the prompt's next token.</summary>
    public List<PromptLogprobRow> PromptLogprobs { get; } = [];

    /// <summary>Rows whose hidden states are pooled; those of one sequence follow each other in ascending position.</summary>
    public List<PooledRow> Pooled { get; } = [];

    /// <summary>Which rows go through which adapter; null = none does.</summary>
    public LoraBatch? Lora { get; private set; }

    /// <summary>Fills in the masks that follow, waiting for them: called once by the rank that samples, when the rows are computed. Null = none follows.</summary>
    public Action? AwaitMasks { get; set; }

    /// <summary>Empties the batch for the step of the given number.</summary>
    public void Clear(long step)
    {
        Step = step;
        ReadOnlySpan<List<int>> lists = [_tokenIds, _positions, _slots, _sequenceOfRow, _blocks, _blockEnds];
        foreach (List<int> list in lists)
            list.Clear();
        _longRope.Clear();
        Copies.Clear();
        Samples.Clear();
        PromptLogprobs.Clear();
        Pooled.Clear();
        AwaitMasks = null;
        Lora = null;
        MostBlocks = 0;
        HighestPosition = -1;
    }

    /// <summary>Adds the tokens a sequence computes in this step; returns the row of the first.</summary>
    /// <param name="tokens">At least one.</param>
    /// <param name="startPosition">Position of the first of them: tokens computed before.</param>
    /// <param name="blockTable">Physical block of each logical block, up to and including these tokens.</param>
    /// <param name="longRope">LongRoPE: rotated by the factors of sequences beyond the original context.</param>
    /// <param name="lora">The adapter its rows go through; null = none.</param>
    /// <exception cref="ArgumentException">No token, or a block table that does not reach the last of them.</exception>
    public int AddSequence(ReadOnlySpan<int> tokens, int startPosition, ReadOnlySpan<int> blockTable, bool longRope = false, LoraAdapter? lora = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(startPosition);
        if (tokens.IsEmpty)
            throw new ArgumentException("A sequence in a step computes at least one token.", nameof(tokens));
        int end = startPosition + tokens.Length, needed = (end + blockTokens - 1) / blockTokens;
        if (blockTable.Length < needed)
            throw new ArgumentException($"A block table of {blockTable.Length} blocks does not hold {end} tokens; expected {needed} blocks.", nameof(blockTable));
        int first = Rows, sequence = Sequences;
        for (int i = 0; i < tokens.Length; i++)
        {
            int position = startPosition + i;
            _tokenIds.Add(tokens[i]);
            _positions.Add(position);
            _slots.Add(blockTable[position / blockTokens] * blockTokens + position % blockTokens);
            _sequenceOfRow.Add(sequence);
        }
        if (lora is not null)
            (Lora ??= new LoraBatch()).Add(lora, first, tokens.Length);
        _longRope.Add(longRope);
        _blocks.AddRange(blockTable[..needed]);
        _blockEnds.Add(_blocks.Count);
        MostBlocks = Math.Max(MostBlocks, needed);
        HighestPosition = Math.Max(HighestPosition, end - 1);
        return first;
    }

    /// <summary>Physical blocks of a sequence, up to its last token of this step.</summary>
    public ReadOnlySpan<int> BlockTable(int sequence)
    {
        int start = sequence == 0 ? 0 : _blockEnds[sequence - 1];
        return CollectionsMarshal.AsSpan(_blocks)[start.._blockEnds[sequence]];
    }

    /// <summary>Whether a sequence is rotated by LongRoPE's factors for long ones.</summary>
    public bool LongRope(int sequence) => _longRope[sequence];
}
