using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Model.Layers;
using TpServe.Model.Sampling;

namespace TpServe.Model;

/// <summary>Brings a batch's integers to the device in one copy.</summary>
/// <remarks>
/// One after the other in one tensor: token ids, positions, slots, sequences, rotary rows, wanted rows, block tables. A recorded step is padded with
/// rows of token 0 at position 0, each a sequence of its own on the cache's spare block.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class StepUpload(ModelConfig config, ModelLimits limits, KvCache cache, ITensorBackend ops)
{
    private int[] _integers = [];

    /// <summary>Uploads a batch as it is. Wanted rows: of the samples by candidates, of the samples by whole rows, of the prompts.</summary>
    public (StepContext Step, Tensor WantedRows) Exact(StepBatch batch, LogitsPlan plan)
    {
        int n = batch.Rows, wanted = batch.Samples.Count + batch.PromptLogprobs.Count;
        Span<int> integers = Lay(batch, n, wanted, batch.Sequences, batch.MostBlocks);
        Span<int> rows = integers.Slice(5 * n, wanted);
        int at = 0;
        foreach (int sample in plan.CandidateSamples)
            rows[at++] = batch.Samples[sample].Row;
        foreach (int sample in plan.WholeSamples)
            rows[at++] = batch.Samples[sample].Row;
        foreach (PromptLogprobRow prompt in batch.PromptLogprobs)
            rows[at++] = prompt.Row;
        return Send(integers, n, wanted, batch.Sequences, batch.MostBlocks);
    }

    /// <summary>Uploads a batch of one row a sequence, padded to so many rows and so many columns of the block tables.</summary>
    public StepContext Padded(StepBatch batch, int rows, int tableBlocks)
    {
        Span<int> integers = Lay(batch, rows, 0, rows, tableBlocks);
        for (int row = batch.Rows; row < rows; row++)
        {
            integers[row] = integers[rows + row] = integers[4 * rows + row] = 0;
            integers[2 * rows + row] = cache.SpareBlock * cache.BlockTokens;
            integers[3 * rows + row] = row;
            integers[5 * rows + row * tableBlocks] = cache.SpareBlock;
        }
        return Send(integers, rows, 0, rows, tableBlocks).Step;
    }

    private Span<int> Lay(StepBatch batch, int n, int wanted, int sequences, int tableBlocks)
    {
        int count = 5 * n + wanted + sequences * tableBlocks;
        if (_integers.Length < count)
            _integers = new int[Math.Max(count, 2 * _integers.Length)];
        Span<int> integers = _integers.AsSpan(0, count);
        batch.TokenIds.CopyTo(integers);
        batch.Positions.CopyTo(integers[n..]);
        batch.Slots.CopyTo(integers[(2 * n)..]);
        batch.SequenceOfRow.CopyTo(integers[(3 * n)..]);
        RopeConfig rope = config.Rope;
        for (int row = 0; row < batch.Rows; row++)
            integers[4 * n + row] = RotaryTable.Row(rope, limits.MaxModelLength, batch.Positions[row], batch.LongRope(batch.SequenceOfRow[row]));
        Span<int> blocks = integers[(5 * n + wanted)..];
        blocks.Fill(-1);
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            batch.BlockTable(sequence).CopyTo(blocks[(sequence * tableBlocks)..]);
        return integers;
    }

    private (StepContext Step, Tensor WantedRows) Send(ReadOnlySpan<int> integers, int n, int wanted, int sequences, int tableBlocks)
    {
        Tensor all = ops.Rent(integers.Length, 1, ElementType.Int32);
        ops.Upload(integers, all);
        StepTensors tensors = new(
            all.RowSlice(0, n), all.RowSlice(n, n), all.RowSlice(2 * n, n), all.RowSlice(3 * n, n),
            all.RowSlice(5 * n + wanted, sequences * tableBlocks).Reshape(sequences, tableBlocks));
        return (new StepContext(tensors, all.RowSlice(4 * n, n), cache), all.RowSlice(5 * n, wanted));
    }
}

/// <summary>What all layers share in one step.</summary>
/// <param name="Tensors">Which token stands where.</param>
/// <param name="RotaryRows">[n, 1] Int32: each token's row of the rotary tables; its position, except for LongRoPE.</param>
/// <param name="Cache">Keys and values of this rank.</param>
public sealed record StepContext(StepTensors Tensors, Tensor RotaryRows, KvCache Cache);
