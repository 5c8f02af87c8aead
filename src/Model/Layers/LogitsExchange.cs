using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Sampling;

namespace TpServe.Model.Layers;

/// <summary>Brings what the sampler needs of the ranks' logits to rank 0, and its choices back to all.</summary>
/// <remarks>
/// Shapes   hidden [m, hidden] after the final norm. What comes back lies on rank 0's host; on other ranks the spans are left as they are.
/// Traffic  candidates: one Gather of 2 · m · k elements of each rank; nuclei: one Gather of m times the words of <see cref="Sampling.NucleusLayout"/>; whole rows:
///          one Gather of m · vocab in all; choices: one Broadcast of m ids. The same whether the device draws or the host.
/// </remarks>
/// <param name="model">Head and hidden states.</param>
/// <param name="vocabBoundaries">Rank r holds the logits [vocabBoundaries[r], vocabBoundaries[r + 1]).</param>
/// <param name="ops">The rank's device.</param>
/// <param name="comm">The rank's group.</param>
public sealed class LogitsExchange(DenseTransformer model, IReadOnlyList<int> vocabBoundaries, ITensorBackend ops, ICommunicator comm)
{
    private readonly NucleusLayout _nucleus = new(vocabBoundaries);
    private int[] _candidateFirsts = [];
    private float[] _logits = [];
    private float[] _best = [];
    private int[] _bestIds = [];
    private float[] _words = [];

    /// <summary>True where the sampler runs: rank 0.</summary>
    public bool Samples => comm.Rank == 0;

    /// <summary>Draws a token for each row on rank 0's device, into chosen [m, 1] Int32, which every rank passes; only enqueues where the group does.</summary>
    /// <param name="hidden">[m, hidden] after the final norm.</param>
    /// <param name="candidates">Candidates of each rank; 0 = draw from whole rows.</param>
    /// <param name="likeliest">Likeliest tokens of each row to keep; only with whole rows.</param>
    /// <param name="parameters">How each row is drawn; rank 0.</param>
    /// <param name="edits">What changes their logits first; rank 0.</param>
    /// <param name="chosen">Receives the tokens on rank 0.</param>
    public DrawnRows Draw(Tensor hidden, int candidates, int likeliest, Tensor parameters, Tensor edits, Tensor chosen)
    {
        int m = hidden.Rows;
        if (candidates > 0)
        {
            long before = ops.Mark();
            Tensor found = Candidates(hidden, candidates);
            if (Samples)
                ops.Sampler!.Draw(found.RowSlice(0, m), AsIntegers(found.RowSlice(m, m)), parameters, chosen);
            ops.Release(before);
            return default;
        }
        DrawnRows drawn = !Samples ? default : new(
            ops.Rent(m, DrawnLikelihood.Words, ElementType.Int32), ops.Rent(m, likeliest), ops.Rent(m, likeliest, ElementType.Int32));
        long mark = ops.Mark();
        Tensor logits = Samples ? ops.Rent(m, vocabBoundaries[^1]) : default;
        Tensor local = model.Logits(hidden);
        comm.For(CollectivePurpose.Logits);
        comm.Gather(local, vocabBoundaries, logits);
        if (Samples)
        {
            ops.Sampler!.DrawWhole(logits, edits, parameters, chosen);
            ops.Sampler.Likelihoods(logits, parameters, chosen, drawn.Likelihoods);
            if (likeliest > 0)
                ops.TopK(logits, likeliest, firstId: 0, drawn.LikeliestLogits, drawn.LikeliestIds);
        }
        ops.Release(mark);
        return drawn;
    }

    /// <summary>Rank 0's drawn tokens on every rank's device; only enqueues where the group does.</summary>
    public void ShareDrawn(Tensor chosen)
    {
        if (comm.Degree == 1)
            return;
        comm.For(CollectivePurpose.Choices);
        comm.Broadcast(chosen, root: 0);
    }

    /// <summary>Brings the k best of each rank for each row to rank 0's device, rented there; default elsewhere. Only enqueues where the group does.</summary>
    /// <remarks>Shapes   [2 · m, degree · k]: m rows of values, then m rows of ids with the bits of floats, a row's candidates side by side; id −1 = none.</remarks>
    public Tensor Candidates(Tensor hidden, int k)
    {
        int m = hidden.Rows;
        Tensor gathered = Samples ? ops.Rent(2 * m, k * comm.Degree) : default;
        long mark = ops.Mark();
        Tensor logits = model.Logits(hidden), best = ops.Rent(2 * m, k);
        ops.TopK(logits, k, vocabBoundaries[comm.Rank], best.RowSlice(0, m), AsIntegers(best.RowSlice(m, m)));
        comm.For(CollectivePurpose.Candidates);
        comm.Gather(best, FirstsOf(k), gathered);
        ops.Release(mark);
        return gathered;
    }

    /// <summary>Values and ids of the first <paramref name="rows"/> rows of what <see cref="Candidates"/> gathered, on rank 0.</summary>
    public void Read(Tensor gathered, int rows, Span<float> values, Span<int> ids)
    {
        int m = gathered.Rows / 2, count = rows * gathered.Columns;
        ops.Download(gathered.RowSlice(0, rows), values[..count]);
        ops.Download(AsIntegers(gathered.RowSlice(m, rows)), ids[..count]);
    }

    /// <summary>How rank 0 reads what <see cref="Nuclei"/> brings.</summary>
    internal NucleusLayout NucleusLayout => _nucleus;

    /// <summary>Brings each rank's best tokens, and the mass of all it has, to rank 0: m rows of words. What they are of stays with the caller, who may need whole rows of it.</summary>
    /// <param name="logits">This rank's, [m, localVocab].</param>
    /// <param name="temperatures">Of each row.</param>
    /// <param name="words">Room for the rows on rank 0.</param>
    internal void Nuclei(Tensor logits, ReadOnlySpan<float> temperatures, Span<float> words)
    {
        const int k = LogitsPlan.MostCandidates;
        int m = logits.Rows, localVocab = logits.Columns, width = _nucleus.WordsOf(comm.Rank);
        Reserve(ref _logits, m * localVocab);
        Reserve(ref _best, m * k);
        Reserve(ref _bestIds, m * k);
        Reserve(ref _words, m * width);
        long mark = ops.Mark();
        Tensor best = ops.Rent(m, k), ids = ops.Rent(m, k, ElementType.Int32), mine = ops.Rent(m, width);
        ops.TopK(logits, k, vocabBoundaries[comm.Rank], best, ids);
        ops.Download(best, _best.AsSpan(0, m * k));
        ops.Download(ids, _bestIds.AsSpan(0, m * k));
        if (localVocab > 0)
            ops.Download(logits, _logits.AsSpan(0, m * localVocab));
        for (int i = 0; i < m; i++)
            _nucleus.Pack(
                comm.Rank, _logits.AsSpan(i * localVocab, localVocab), temperatures[i], _best.AsSpan(i * k, k), _bestIds.AsSpan(i * k, k), _words.AsSpan(i * width, width));
        ops.Upload<float>(_words.AsSpan(0, m * width), mine);
        Tensor all = Samples ? ops.Rent(m, _nucleus.Firsts[^1]) : default;
        comm.For(CollectivePurpose.Candidates);
        comm.Gather(mine, _nucleus.Firsts, all);
        if (Samples)
            ops.Download(all, words[..(m * _nucleus.Firsts[^1])]);
        ops.Release(mark);
    }

    /// <summary>One row of logits [vocab] of which each rank has its part [1, localVocab].</summary>
    internal void Row(Tensor part, Span<float> logits)
    {
        long mark = ops.Mark();
        Tensor gathered = Samples ? ops.Rent(1, vocabBoundaries[^1]) : default;
        comm.For(CollectivePurpose.Logits);
        comm.Gather(part, vocabBoundaries, gathered);
        if (Samples)
            ops.Download(gathered, logits[..vocabBoundaries[^1]]);
        ops.Release(mark);
    }

    private static void Reserve<T>(ref T[] array, int elements)
    {
        if (array.Length < elements)
            array = new T[elements];
    }

    /// <summary>Whole rows of logits [m, vocab].</summary>
    public void Rows(Tensor hidden, Span<float> logits)
    {
        long mark = ops.Mark();
        Tensor local = model.Logits(hidden);
        Tensor gathered = Samples ? ops.Rent(hidden.Rows, vocabBoundaries[^1]) : default;
        comm.For(CollectivePurpose.Logits);
        comm.Gather(local, vocabBoundaries, gathered);
        if (Samples)
            ops.Download(gathered, logits[..(hidden.Rows * vocabBoundaries[^1])]);
        ops.Release(mark);
    }

    /// <summary>Rank 0's choices on every rank.</summary>
    public void Share(Span<int> tokenIds)
    {
        if (comm.Degree == 1)
            return;
        long mark = ops.Mark();
        Tensor ids = ops.Rent(tokenIds.Length, 1, ElementType.Int32);
        if (Samples)
            ops.Upload<int>(tokenIds, ids);
        comm.For(CollectivePurpose.Choices);
        comm.Broadcast(ids, root: 0);
        if (!Samples)
            ops.Download(ids, tokenIds);
        ops.Release(mark);
    }

    private int[] FirstsOf(int k)
    {
        if (_candidateFirsts.Length == 0 || _candidateFirsts[1] != k)
        {
            // No lambda: what it captures would be made anew in every step.
            _candidateFirsts = new int[comm.Degree + 1];
            for (int rank = 0; rank <= comm.Degree; rank++)
                _candidateFirsts[rank] = rank * k;
        }
        return _candidateFirsts;
    }

    private static Tensor AsIntegers(Tensor floats) =>
        new(floats.Buffer, floats.OffsetBytes, floats.Rows, floats.Columns, floats.RowStride, ElementType.Int32);
}

/// <summary>What logprobs of drawn rows follow from, on rank 0's device; default elsewhere.</summary>
/// <param name="Likelihoods">[m, words] Int32: a <see cref="DrawnLikelihood"/> of each row that asks for one.</param>
/// <param name="LikeliestLogits">[m, k]: the k largest logits of each row.</param>
/// <param name="LikeliestIds">[m, k] Int32: theirs.</param>
public readonly record struct DrawnRows(Tensor Likelihoods, Tensor LikeliestLogits, Tensor LikeliestIds);
