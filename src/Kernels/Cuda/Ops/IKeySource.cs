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
    public ulong Key(int i)
    {
        // 1. One zero, and the NaNs below everything but the absent keys.
        float value = DeviceMath.Add(x[row + first + i], 0f);
        value = float.IsNaN(value) ? float.NegativeInfinity : value;

        // 2. Bits that order as the values do: negative numbers descend, so all of their bits flip; of the others the sign alone.
        uint bits = Interop.FloatAsInt(value);
        bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
        return ((ulong)bits << 32) | ~(uint)(first + i);
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
