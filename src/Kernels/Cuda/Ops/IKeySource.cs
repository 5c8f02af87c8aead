using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>Numbered keys, all different but for zeros, which stand for no key.</summary>
internal interface IKeySource
{
    /// <summary>Key number i.</summary>
    ulong Key(int i);
}

/// <summary>The keys of a row's values: the upper half orders by value, the lower by index, descending.</summary>
/// <param name="x">Rows of values.</param>
/// <param name="row">Where the row starts.</param>
/// <param name="first">The first index of the part that is looked at.</param>
internal readonly struct RowKeys(ArrayView<float> x, long row, int first) : IKeySource
{
    /// <inheritdoc/>
    public ulong Key(int i) => Of(x[row + first + i], first + i);

    /// <summary>The key of a value and its index, which is at least 0.</summary>
    public static ulong Of(float value, int index)
    {
        // 1. One zero, and the NaNs below everything but the absent keys.
        value = DeviceMath.Add(value, 0f);
        value = float.IsNaN(value) ? float.NegativeInfinity : value;

        // 2. Bits that order as the values do: negative numbers descend, so all of their bits flip; of the others the sign alone.
        uint bits = Interop.FloatAsInt(value);
        bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
        return ((ulong)bits << 32) | ~(uint)index;
    }

    /// <summary>The value in a key; of an absent key a NaN.</summary>
    public static float Value(ulong key)
    {
        uint bits = (uint)(key >> 32);
        return Interop.IntAsFloat((bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits);
    }

    /// <summary>The index in a key.</summary>
    public static int Index(ulong key) => (int)~(uint)key;
}

/// <summary>Keys in memory.</summary>
internal readonly struct StoredKeys(ArrayView<ulong> keys, long first) : IKeySource
{
    /// <inheritdoc/>
    public ulong Key(int i) => keys[first + i];
}

/// <summary>The keys of values that come with their indices, of which −1 stands for none.</summary>
/// <param name="values">Rows of values.</param>
/// <param name="valuesRow">Where the row of values starts.</param>
/// <param name="ids">Rows of indices.</param>
/// <param name="idsRow">Where the row of indices starts.</param>
internal readonly struct ListedKeys(ArrayView<float> values, long valuesRow, ArrayView<int> ids, long idsRow) : IKeySource
{
    /// <inheritdoc/>
    public ulong Key(int i)
    {
        int id = ids[idsRow + i];
        return id < 0 ? 0 : RowKeys.Of(values[valuesRow + i], id);
    }
}
