using ILGPU;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>The rotary table as kernels see it.</summary>
internal readonly struct RotaryTableView
{
    private readonly ArrayView<float> _table;
    private readonly int _positions;
    private readonly int _stride;

    /// <summary>Pairs of a head.</summary>
    public readonly int Half;

    /// <summary>A table for heads of this size.</summary>
    /// <exception cref="ArgumentException">The table does not fit the heads.</exception>
    public RotaryTableView(Tensor table, int headDim)
    {
        Require.Type(table, ElementType.Float32);
        Require.That(table.Columns % 2 == 0 && table.Columns <= headDim, $"A rotary width of {table.Columns} does not fit a head of {headDim}.");
        _table = table.View<float>();
        _positions = table.Rows;
        _stride = table.RowStride;
        Half = table.Columns / 2;
    }

    /// <summary>Rotates the pair whose first element lies at <paramref name="place"/>; a position beyond the table leaves it.</summary>
    public static void Rotate(RotaryTableView table, int position, int pair, ArrayView<float> x, int place)
    {
        if ((uint)position >= (uint)table._positions)
            return;
        long angle = (long)position * table._stride + pair;
        float cos = table._table[angle], sin = table._table[angle + table.Half];
        float a = x[place], b = x[place + table.Half];
        x[place] = DeviceMath.Fma(-b, sin, DeviceMath.Multiply(a, cos));
        x[place + table.Half] = DeviceMath.Fma(a, sin, DeviceMath.Multiply(b, cos));
    }
}
