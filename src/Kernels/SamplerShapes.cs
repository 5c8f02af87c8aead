namespace TpServe.Kernels;

/// <summary>The checks of a sampler's operands, which are the same on every device.</summary>
internal static class SamplerShapes
{
    /// <summary>Operands of <see cref="IRowSampler.Draw"/>.</summary>
    public static void OfCandidates(Tensor values, Tensor ids, Tensor parameters, Tensor chosen)
    {
        Require.Shape(values, chosen.Rows, values.Columns);
        Require.Shape(ids, chosen.Rows, values.Columns, ElementType.Int32);
        OfRows(parameters, chosen);
    }

    /// <summary>Operands of <see cref="IRowSampler.DrawWhole"/>.</summary>
    public static void OfWhole(Tensor logits, Tensor edits, Tensor parameters, Tensor chosen)
    {
        OfLogits(logits, chosen);
        Require.Shape(edits, edits.Rows, LogitEdit.Words, ElementType.Int32);
        Require.Contiguous(edits);
        OfRows(parameters, chosen);
    }

    /// <summary>Operands of <see cref="IRowSampler.Likelihoods"/>.</summary>
    public static void OfLikelihoods(Tensor logits, Tensor parameters, Tensor chosen, Tensor found)
    {
        OfLogits(logits, chosen);
        Require.Shape(found, chosen.Rows, DrawnLikelihood.Words, ElementType.Int32);
        Require.Contiguous(found);
        OfRows(parameters, chosen);
    }

    private static void OfLogits(Tensor logits, Tensor chosen)
    {
        Require.Shape(logits, chosen.Rows, logits.Columns);
        Require.That(logits.Columns <= IRowSampler.MostColumns, $"A row of {logits.Columns} logits is longer than {IRowSampler.MostColumns}.");
    }

    private static void OfRows(Tensor parameters, Tensor chosen)
    {
        Require.Shape(chosen, chosen.Rows, 1, ElementType.Int32);
        Require.Contiguous(chosen);
        Require.Shape(parameters, chosen.Rows, DrawParameters.Words, ElementType.Int32);
        Require.Contiguous(parameters);
    }
}
