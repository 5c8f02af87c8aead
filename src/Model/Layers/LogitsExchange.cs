using TpServe.Collectives;
using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>Brings what the sampler needs of the ranks' logits to rank 0, and its choices back to all.</summary>
/// <remarks>
/// Shapes   hidden [m, hidden] after the final norm. What comes back lies on rank 0's host; on other ranks the spans are left as they are.
/// Traffic  candidates: one Gather of 2 · m · k elements of each rank; whole rows: one Gather of m · vocab in all; choices: one Broadcast of m ids.
/// </remarks>
/// <param name="model">Head and hidden states.</param>
/// <param name="vocabBoundaries">Rank r holds the logits [vocabBoundaries[r], vocabBoundaries[r + 1]).</param>
/// <param name="ops">The rank's device.</param>
/// <param name="comm">The rank's group.</param>
public sealed class LogitsExchange(DenseTransformer model, IReadOnlyList<int> vocabBoundaries, ITensorBackend ops, ICommunicator comm)
{
    private int[] _candidateFirsts = [];

    /// <summary>True where the sampler runs: rank 0.</summary>
    public bool Samples => comm.Rank == 0;

    /// <summary>The k best of each rank for each row: values and ids [m, degree · k], a row's candidates side by side; id −1 = none.</summary>
    public void Candidates(Tensor hidden, int k, Span<float> values, Span<int> ids)
    {
        long mark = ops.Mark();
        int m = hidden.Rows, all = k * comm.Degree;
        Tensor logits = model.Logits(hidden);

        // Values and ids travel as one tensor: m rows of floats, then m rows of integers with the bits of floats.
        Tensor best = ops.Rent(2 * m, k);
        ops.TopK(logits, k, vocabBoundaries[comm.Rank], best.RowSlice(0, m), AsIntegers(best.RowSlice(m, m)));
        Tensor gathered = Samples ? ops.Rent(2 * m, all) : default;
        comm.Gather(best, FirstsOf(k), gathered);
        if (Samples)
        {
            ops.Download(gathered.RowSlice(0, m), values[..(m * all)]);
            ops.Download(AsIntegers(gathered.RowSlice(m, m)), ids[..(m * all)]);
        }
        ops.Release(mark);
    }

    /// <summary>Whole rows of logits [m, vocab].</summary>
    public void Rows(Tensor hidden, Span<float> logits)
    {
        long mark = ops.Mark();
        Tensor local = model.Logits(hidden);
        Tensor gathered = Samples ? ops.Rent(hidden.Rows, vocabBoundaries[^1]) : default;
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
        comm.Broadcast(ids, root: 0);
        if (!Samples)
            ops.Download(ids, tokenIds);
        ops.Release(mark);
    }

    private int[] FirstsOf(int k)
    {
        if (_candidateFirsts.Length == 0 || _candidateFirsts[1] != k)
            _candidateFirsts = [.. Enumerable.Range(0, comm.Degree + 1).Select(rank => rank * k)];
        return _candidateFirsts;
    }

    private static Tensor AsIntegers(Tensor floats) =>
        new(floats.Buffer, floats.OffsetBytes, floats.Rows, floats.Columns, floats.RowStride, ElementType.Int32);
}
