using TpServe.Kernels;

namespace TpServe.Model.Weights;

/// <summary>Rows of several matrices of one format and width, one after the other: what becomes one packed matrix.</summary>
internal sealed class ConcatenatedRows : WeightRows
{
    private readonly IReadOnlyList<TensorRows> _parts;
    private readonly int[] _ends;

    /// <summary>The parts in order; at least one, all of the first one's format and width.</summary>
    public ConcatenatedRows(IReadOnlyList<TensorRows> parts)
    {
        _parts = parts;
        _ends = new int[parts.Count];
        for (int i = 0, end = 0; i < parts.Count; i++)
            _ends[i] = end += parts[i].Outputs;
    }

    /// <inheritdoc/>
    public override WeightFormat Format => _parts[0].Format;

    /// <inheritdoc/>
    public override int Outputs => _ends[^1];

    /// <inheritdoc/>
    public override int FileColumns => _parts[0].FileColumns;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        int part = 0;
        while (output >= _ends[part])
            part++;
        return _parts[part].Row(part == 0 ? output : output - _ends[part - 1]);
    }
}
