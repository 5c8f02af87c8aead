using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Adapters;

/// <summary>The adapters of a step as one layer's products meet them; the default is none.</summary>
/// <remarks>
/// Column-parallel: every rank has x whole, and so computes t = A · x whole, the same bits everywhere; B is split as the rows of W.
/// Row-parallel: A is split by the leaves of W's columns, and t is summed over them by the canonical tree in a small sum of its own, r numbers a row. Adding B · t_leaf to each
/// leaf's partial sum would need no such sum, but B once for each leaf instead of once, and W's own kernel to stop at every leaf; adding it to a rank's pieces would
/// tie the bits to the split. So B, whole on every rank, is applied once, to the finished sum of W, row by row as those rows are handed on.
/// Rows without an adapter, and products that no adapter of the step changes, run exactly what they run in a step without adapters.
/// Traffic  row-parallel: one SumTree of pieces · rows · r elements, rows and r being those that adapters change. Column-parallel: none.
/// Numerics float32, on activations that are not rounded; the same bits at every degree, in every batch.
/// </remarks>
/// <param name="Batch">Which rows go through which adapter; null = none does.</param>
/// <param name="Layer">Which block it is.</param>
public readonly record struct LoraOfLayer(LoraBatch? Batch, int Layer)
{
    /// <summary>Whether any row of the step is changed at a place: the same on every rank.</summary>
    public bool Touches(LoraPlace place) => Batch is not null && Batch.At(Layer, place).Rows > 0;

    /// <summary>Adds what adapters add to a column-parallel product.</summary>
    /// <param name="place">Which product.</param>
    /// <param name="x">[n, in], whole.</param>
    /// <param name="y">[n, outputs of this rank].</param>
    /// <param name="ops">The rank's device.</param>
    public void AddTo(LoraPlace place, Tensor x, Tensor y, ITensorBackend ops)
    {
        if (Batch is null || y.Columns == 0 || Batch.At(Layer, place) is not { Rows: > 0 } size)
            return;
        long mark = ops.Mark();
        Tensor t = ops.Rent(size.Rows, size.Ranks);
        Down(place, x, t, size.Rows, ops);
        Up(place, t, y, firstRow: 0, ops);
        ops.Release(mark);
    }

    /// <summary>t of a row-parallel product, summed over all ranks, in scratch memory of the caller's mark. Every rank of the group calls it.</summary>
    /// <param name="place">Which product.</param>
    /// <param name="x">[n, in of this rank].</param>
    /// <param name="share">Who owns which leaves.</param>
    /// <param name="ops">The rank's device.</param>
    /// <param name="comm">The rank's group.</param>
    public Tensor Sum(LoraPlace place, Tensor x, LeafShare share, ITensorBackend ops, ICommunicator comm)
    {
        (int rows, int ranks) = Batch!.At(Layer, place);
        Tensor t = ops.Rent(rows, ranks);
        if (comm.Degree == 1 && share.Pieces == 1) // the one piece of a single rank is the sum
        {
            Down(place, x, t, rows, ops);
            return t;
        }
        Tensor pieces = ops.Rent(share.Count == 0 ? 0 : share.Pieces * rows, ranks);
        if (share.Count > 0)
            Down(place, x, pieces, rows, ops);
        comm.SumTree(pieces, share, t);
        return t;
    }

    /// <summary>Adds B · t to the rows of y, which are rows [firstRow, firstRow + y.Rows) of the step.</summary>
    public void Up(LoraPlace place, Tensor t, Tensor y, int firstRow, ITensorBackend ops)
    {
        int first = 0;
        foreach (LoraGroup group in Batch!.Groups)
        {
            if (group.Adapter.Site(Layer, place) is not { } site)
                continue;
            (int start, int count) = group.Within(firstRow, y.Rows);
            if (count > 0)
                foreach (LoraPart part in site.Parts)
                    ops.LoraUp(
                        t.RowSlice(first + start, count).ColumnSlice(part.FirstRank, part.B.Rows), group.Rows.Slice(start, count), firstRow, part.B, part.Scale,
                        y.ColumnSlice(part.FirstOutput, part.B.Columns));
            first += group.Rows.Length;
        }
    }

    private void Down(LoraPlace place, Tensor x, Tensor pieces, int rows, ITensorBackend ops)
    {
        int first = 0;
        foreach (LoraGroup group in Batch!.Groups)
        {
            if (group.Adapter.Site(Layer, place) is not { } site)
                continue;
            ops.LoraDown(x, group.Rows, site.A!.Value, site.Leaves!, pieces, first, rows);
            first += group.Rows.Length;
        }
    }
}

/// <summary>Adds what adapters add to a row-parallel product to its rows as they are finished, and hands them on.</summary>
internal sealed class LoraSumEnd(ITensorBackend ops) : ISumConsumer
{
    private LoraOfLayer _lora;
    private LoraPlace _place;
    private Tensor _t;
    private ISumConsumer? _next;

    /// <summary>Says what the coming sum meets.</summary>
    public LoraSumEnd Begin(LoraOfLayer lora, LoraPlace place, Tensor t, ISumConsumer next)
    {
        (_lora, _place, _t, _next) = (lora, place, t, next);
        return this;
    }

    /// <inheritdoc/>
    public void Take(Tensor sums, int first)
    {
        _lora.Up(_place, _t, sums, first, ops);
        _next!.Take(sums, first);
    }
}
