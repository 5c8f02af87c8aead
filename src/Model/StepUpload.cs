using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Model.Adapters;
using TpServe.Model.Layers;
using TpServe.Model.Sampling;

namespace TpServe.Model;

/// <summary>Brings a batch's integers, and how its rows are drawn, to the device in one copy.</summary>
/// <remarks>
/// One after the other in one tensor: token ids, positions, slots, sequences, rotary rows, wanted rows, block tables; on the rank that draws, parameters of the
/// drawn rows and their edits. A recorded step is padded with rows of token 0 at position 0, each a sequence of its own on the cache's spare block; it rents room for
/// all edits that its rows can have, so that its tensors lie at the same place every time, and copies those there are.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class StepUpload(ModelConfig config, ModelLimits limits, KvCache cache, ITensorBackend ops, bool draws)
{
    private readonly RowDraws _draws = new(config.Vocab);
    private readonly StepContext _context = new(new StepTensors(default, default, default, default, default), cache);
    private int[] _words = [];

    /// <summary>Uploads a batch as it is. Wanted rows: of the samples that the device draws, that the host chooses by candidates, by nuclei, by whole rows, of the prompts, of what is pooled.</summary>
    public UploadedStep Exact(StepBatch batch, LogitsPlan plan)
    {
        StepLayout layout = new(batch.Rows, batch.Samples.Count - plan.KnownSamples.Count + batch.PromptLogprobs.Count + batch.Pooled.Count, batch.Sequences, batch.MostBlocks, plan.DrawnSamples.Count);
        Span<int> words = Lay(batch, plan, layout, out int edits);
        Span<int> rows = words.Slice(layout.Wanted, layout.WantedRows);
        int at = 0;
        AddRows(batch, plan.DrawnSamples, rows, ref at);
        AddRows(batch, plan.CandidateSamples, rows, ref at);
        AddRows(batch, plan.NucleusSamples, rows, ref at);
        AddRows(batch, plan.WholeSamples, rows, ref at);
        foreach (PromptLogprobRow prompt in batch.PromptLogprobs)
            rows[at++] = prompt.Row;
        foreach (PooledRow pooled in batch.Pooled)
            rows[at++] = pooled.Row;
        return Send(words, layout, edits);
    }

    // By index: an enumerator behind an interface is garbage of every step.
    private static void AddRows(StepBatch batch, IReadOnlyList<int> samples, Span<int> rows, ref int at)
    {
        for (int i = 0; i < samples.Count; i++)
            rows[at++] = batch.Samples[samples[i]].Row;
    }

    /// <summary>Uploads a batch of one drawn row a sequence, padded to the sizes of a recording.</summary>
    public UploadedStep Padded(StepBatch batch, LogitsPlan plan, RecordingKey key)
    {
        StepLayout layout = new(key.Rows, 0, key.Rows, key.TableBlocks, key.Rows);
        Span<int> words = Lay(batch, plan, layout, out _);
        for (int row = batch.Rows; row < key.Rows; row++)
        {
            words[row] = words[layout.Positions + row] = words[layout.RotaryRows + row] = 0;
            // Each writes a slot of its own, or their stores would race; all read the first, which holds what each has written.
            words[layout.Slots + row] = cache.SpareBlock * cache.BlockTokens + (row - batch.Rows) % cache.BlockTokens;
            words[layout.SequenceOfRow + row] = row;
            words[layout.Tables + row * key.TableBlocks] = cache.SpareBlock;
        }
        return Send(words, layout, key.Candidates == 0 ? key.Rows * LogitsPlan.MostEdits : 0);
    }

    private Span<int> Lay(StepBatch batch, LogitsPlan plan, StepLayout layout, out int edits)
    {
        ReadOnlySpan<int> parameters = [], edited = [];
        if (draws)
        {
            _draws.Make(batch.Samples, plan, layout.DrawnRows);
            parameters = _draws.Parameters;
            edited = _draws.Edits;
        }
        edits = edited.Length / LogitEdit.Words;
        int count = layout.Parameters + parameters.Length + edited.Length;
        if (_words.Length < count)
            _words = new int[Math.Max(count, 2 * _words.Length)];
        Span<int> words = _words.AsSpan(0, count);
        batch.TokenIds.CopyTo(words);
        batch.Positions.CopyTo(words[layout.Positions..]);
        batch.Slots.CopyTo(words[layout.Slots..]);
        batch.SequenceOfRow.CopyTo(words[layout.SequenceOfRow..]);
        RopeConfig rope = config.Rope;
        for (int row = 0; row < batch.Rows; row++)
            words[layout.RotaryRows + row] = RotaryTable.Row(rope, limits.MaxModelLength, batch.Positions[row], batch.LongRope(batch.SequenceOfRow[row]));
        Span<int> blocks = words[layout.Tables..layout.Parameters];
        blocks.Fill(-1);
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            batch.BlockTable(sequence).CopyTo(blocks[(sequence * layout.TableBlocks)..]);
        parameters.CopyTo(words[layout.Parameters..]);
        edited.CopyTo(words[(layout.Parameters + parameters.Length)..]);
        return words;
    }

    /// <summary>Copies the words to a tensor with room for so many edits.</summary>
    private UploadedStep Send(ReadOnlySpan<int> words, StepLayout layout, int edits)
    {
        int drawn = draws ? layout.DrawnRows : 0, parameterWords = drawn * DrawParameters.Words;
        Tensor all = ops.Rent(layout.Parameters + parameterWords + (draws ? edits * LogitEdit.Words : 0), 1, ElementType.Int32);
        ops.Upload(words, all.RowSlice(0, words.Length));
        StepTensors tensors = _context.Tensors;
        tensors.TokenIds = all.RowSlice(0, layout.Rows);
        tensors.Positions = all.RowSlice(layout.Positions, layout.Rows);
        tensors.Slots = all.RowSlice(layout.Slots, layout.Rows);
        tensors.SequenceOfRow = all.RowSlice(layout.SequenceOfRow, layout.Rows);
        tensors.BlockTables = all.RowSlice(layout.Tables, layout.Sequences * layout.TableBlocks).Reshape(layout.Sequences, layout.TableBlocks);
        _context.RotaryRows = all.RowSlice(layout.RotaryRows, layout.Rows);
        UploadedStep step = new(_context, all.RowSlice(layout.Wanted, layout.WantedRows));
        if (!draws)
            return step;
        return step with
        {
            Parameters = all.RowSlice(layout.Parameters, parameterWords).Reshape(drawn, DrawParameters.Words),
            Edits = all.RowSlice(layout.Parameters + parameterWords, edits * LogitEdit.Words).Reshape(edits, LogitEdit.Words),
        };
    }

    /// <summary>Where each part of the upload begins, in words.</summary>
    private readonly record struct StepLayout(int Rows, int WantedRows, int Sequences, int TableBlocks, int DrawnRows)
    {
        public int Positions => Rows;

        public int Slots => 2 * Rows;

        public int SequenceOfRow => 3 * Rows;

        public int RotaryRows => 4 * Rows;

        public int Wanted => 5 * Rows;

        public int Tables => Wanted + WantedRows;

        public int Parameters => Tables + Sequences * TableBlocks;
    }
}

/// <summary>A step on the device.</summary>
/// <param name="Context">What the layers share.</param>
/// <param name="WantedRows">[wanted, 1] Int32: rows whose logits or hidden states are wanted.</param>
internal readonly record struct UploadedStep(StepContext Context, Tensor WantedRows)
{
    /// <summary>[drawn, words] Int32: how rows are drawn; default on ranks that do not draw.</summary>
    public Tensor Parameters { get; init; }

    /// <summary>[edits, words] Int32: what changes their logits; default on ranks that do not draw.</summary>
    public Tensor Edits { get; init; }
}

/// <summary>What all layers share in one step; laid anew for the next.</summary>
public sealed class StepContext(StepTensors tensors, KvCache cache)
{
    /// <summary>Which token stands where.</summary>
    public StepTensors Tensors => tensors;

    /// <summary>[n, 1] Int32: each token's row of the rotary tables; its position, except for LongRoPE.</summary>
    public Tensor RotaryRows { get; internal set; }

    /// <summary>Keys and values of this rank.</summary>
    public KvCache Cache => cache;

    /// <summary>Which rows go through which adapter; null = none does.</summary>
    public LoraBatch? Lora { get; internal set; }

    /// <summary>Where what is done is written down; null = nowhere.</summary>
    public StepTrace? Trace { get; internal set; }
}
