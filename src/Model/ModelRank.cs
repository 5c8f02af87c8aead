using System.Runtime.InteropServices;
using TpServe.Checkpoint.Config;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Layers;
using TpServe.Model.Sampling;
using TpServe.Sharding;

namespace TpServe.Model;

/// <summary>One rank ready to run steps: its part of the model, its part of the KV cache, and on rank 0 the sampler.</summary>
/// <remarks>
/// A step:
/// 1. The batch's integers go to the device in one copy.
/// 2. The forward pass is enqueued: hidden states of every row.
/// 3. Rows that need only each rank's best tokens send those to rank 0.
/// 4. Rows that need whole logits send them in batches of <see cref="RowsAtATime"/>, so that a long prompt's logprobs need no memory of its length.
/// 5. Rank 0 chooses; everyone gets the choices.
/// Numerics a row's result has the same bits at every degree, in every batch and chunk.
/// Threads  the rank's thread; every rank of the group runs the same batches in the same order.
/// Errors   whatever a collective or a kernel throws leaves the peers waiting: the caller gives up the epoch.
/// </remarks>
public sealed class ModelRank(DenseTransformer model, KvCache cache, ShardPlan plan, ITensorBackend ops, ICommunicator comm)
{
    /// <summary>Most whole rows of logits brought to rank 0 at once.</summary>
    public const int RowsAtATime = 16;

    /// <summary>Most rows whose candidates are brought to rank 0 at once: bounds the logits held on a rank.</summary>
    private const int CandidateRowsAtATime = 64;

    private readonly LogitsExchange _exchange = new(model, plan.Partition.VocabBoundaries, ops, comm);
    private readonly LogitsPlan _logits = new();
    private readonly Sampler _sampler = new();
    private readonly StepOutput _output = new();
    private int[] _integers = [];
    private float[] _values = [];
    private int[] _ids = [];

    /// <summary>This rank's part of the model.</summary>
    public DenseTransformer Model => model;

    /// <summary>This rank's keys and values.</summary>
    public KvCache Cache => cache;

    /// <summary>Runs one step. The result is overwritten by the next.</summary>
    /// <exception cref="ArgumentException">The batch is empty or beyond the model's limits.</exception>
    public StepOutput Run(StepBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Rows < 1 || batch.Rows > model.Limits.MaxStepTokens)
            throw new ArgumentException($"A step of {batch.Rows} tokens is not within 1..{model.Limits.MaxStepTokens}.", nameof(batch));
        if (batch.HighestPosition >= model.Limits.MaxModelLength)
            throw new ArgumentException($"Position {batch.HighestPosition} is beyond the longest sequence of {model.Limits.MaxModelLength} tokens.", nameof(batch));
        comm.BeginStep(batch.Step);
        Span<int> chosen = _output.Reset(batch.Samples.Count);
        _logits.Make(batch.Samples);

        long mark = ops.Mark();
        (StepContext step, Tensor wantedRows) = Upload(batch);
        Tensor hidden = model.Forward(step);
        if (wantedRows.Rows > 0)
        {
            ChooseByCandidates(batch, hidden, wantedRows, chosen);
            ReadWholeRows(batch, hidden, wantedRows, chosen);
        }
        if (chosen.Length > 0)
            _exchange.Share(chosen);
        ops.Release(mark);
        return _output;
    }

    /// <summary>Token ids, positions, slots, sequences, rotary rows, wanted rows, block tables: one after the other in one tensor.</summary>
    private (StepContext Step, Tensor WantedRows) Upload(StepBatch batch)
    {
        int n = batch.Rows, wanted = batch.Samples.Count + batch.PromptLogprobs.Count, tables = batch.Sequences * batch.MostBlocks;
        int count = 5 * n + wanted + tables;
        if (_integers.Length < count)
            _integers = new int[Math.Max(count, 2 * _integers.Length)];
        Span<int> integers = _integers.AsSpan(0, count);
        batch.TokenIds.CopyTo(integers);
        batch.Positions.CopyTo(integers[n..]);
        batch.Slots.CopyTo(integers[(2 * n)..]);
        batch.SequenceOfRow.CopyTo(integers[(3 * n)..]);
        RopeConfig rope = model.Config.Rope;
        for (int row = 0; row < n; row++)
            integers[4 * n + row] = RotaryTable.Row(rope, model.Limits.MaxModelLength, batch.Positions[row], batch.PromptTokens(batch.SequenceOfRow[row]));

        // Wanted rows: of the samples by candidates, of the samples by whole rows, of the prompts.
        Span<int> rows = integers.Slice(5 * n, wanted);
        int at = 0;
        foreach (int sample in _logits.CandidateSamples)
            rows[at++] = batch.Samples[sample].Row;
        foreach (int sample in _logits.WholeSamples)
            rows[at++] = batch.Samples[sample].Row;
        foreach (PromptLogprobRow prompt in batch.PromptLogprobs)
            rows[at++] = prompt.Row;

        Span<int> blocks = integers[(5 * n + wanted)..];
        blocks.Fill(-1);
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            batch.BlockTable(sequence).CopyTo(blocks[(sequence * batch.MostBlocks)..]);

        Tensor all = ops.Rent(count, 1, ElementType.Int32);
        ops.Upload<int>(integers, all);
        StepTensors tensors = new(
            all.RowSlice(0, n), all.RowSlice(n, n), all.RowSlice(2 * n, n), all.RowSlice(3 * n, n),
            all.RowSlice(5 * n + wanted, tables).Reshape(batch.Sequences, batch.MostBlocks));
        return (new StepContext(tensors, all.RowSlice(4 * n, n), cache), all.RowSlice(5 * n, wanted));
    }

    private void ChooseByCandidates(StepBatch batch, Tensor hidden, Tensor wantedRows, Span<int> chosen)
    {
        int k = _logits.Candidates, width = k * comm.Degree, total = _logits.CandidateSamples.Count;
        Reserve(ref _values, Math.Min(total, CandidateRowsAtATime) * width);
        Reserve(ref _ids, Math.Min(total, CandidateRowsAtATime) * width);
        for (int first = 0; first < total; first += CandidateRowsAtATime)
        {
            int m = Math.Min(CandidateRowsAtATime, total - first);
            long mark = ops.Mark();
            _exchange.Candidates(Gather(hidden, wantedRows.RowSlice(first, m)), k, _values, _ids);
            ops.Release(mark);
            if (!_exchange.Samples)
                continue;
            for (int i = 0; i < m; i++)
            {
                int sample = _logits.CandidateSamples[first + i];
                chosen[sample] = _sampler.ChooseAmong(_values.AsSpan(i * width, width), _ids.AsSpan(i * width, width), batch.Samples[sample]);
            }
        }
    }

    private void ReadWholeRows(StepBatch batch, Tensor hidden, Tensor wantedRows, Span<int> chosen)
    {
        int vocab = model.Config.Vocab, samples = _logits.WholeSamples.Count, total = samples + batch.PromptLogprobs.Count;
        if (_exchange.Samples)
        {
            Reserve(ref _values, Math.Min(total, RowsAtATime) * vocab);
            CollectionsMarshal.SetCount(_output.SampleLogprobs, batch.Samples.Count);
            CollectionsMarshal.AsSpan(_output.SampleLogprobs).Clear();
        }
        for (int first = 0; first < total; first += RowsAtATime)
        {
            int m = Math.Min(RowsAtATime, total - first);
            long mark = ops.Mark();
            _exchange.Rows(Gather(hidden, wantedRows.RowSlice(_logits.CandidateSamples.Count + first, m)), _values);
            ops.Release(mark);
            if (!_exchange.Samples)
                continue;
            for (int i = 0; i < m; i++)
            {
                ReadOnlySpan<float> logits = _values.AsSpan(i * vocab, vocab);
                if (first + i >= samples)
                {
                    PromptLogprobRow prompt = batch.PromptLogprobs[first + i - samples];
                    _output.RowLogprobs.Add(_sampler.Logprobs(logits, prompt.TokenId, prompt.TopLogprobs));
                    continue;
                }
                int sample = _logits.WholeSamples[first + i];
                SampleRow row = batch.Samples[sample];
                chosen[sample] = _sampler.Choose(logits, row);
                if (row.TopLogprobs >= 0)
                    _output.SampleLogprobs[sample] = _sampler.Logprobs(logits, chosen[sample], row.TopLogprobs);
            }
        }
    }

    private Tensor Gather(Tensor hidden, Tensor rows)
    {
        Tensor picked = ops.Rent(rows.Rows, hidden.Columns);
        ops.GatherRows(hidden, rows, picked);
        return picked;
    }

    private static void Reserve<T>(ref T[] array, int elements)
    {
        if (array.Length < elements)
            array = new T[elements];
    }
}
