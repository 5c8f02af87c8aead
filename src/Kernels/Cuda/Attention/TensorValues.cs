using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>Values as A operands of O^T = V^T · P: 16 elements × 16 positions.</summary>
internal static class TensorValues
{
    /// <summary>A lane's part of a square of the chunk; zeros at positions that no column sees, whatever lies there.</summary>
    public static UInt4 Load(
        ArrayView<UInt4> values, TensorPass pass, int start, int square, int warp, int lane, KvView cache, ArrayView<int> tables, AttentionNumbers numbers)
    {
        int position = start + 16 * square;
        UInt4 operand = default;
        if (16 * square >= numbers.Chunk)
            return operand;
        long place = TensorPass.SquareRow(pass, position, cache, tables, numbers);
        if (place < 0)
            return operand;
        operand = values[place + warp * 32 + lane];
        if (position < pass.MinFirst || position + KvView.Square - 1 > pass.MaxLast)
            operand = Sift(operand, position + lane % 4 * 2, pass.MinFirst, pass.MaxLast);
        return operand;
    }

    /// <summary>The operand with zeros at positions outside [first, last]; the lane has positions <paramref name="position"/>, the next, and those 8 behind.</summary>
    public static UInt4 Sift(UInt4 operand, int position, int first, int last)
    {
        uint low = Seen(position, first, last), high = Seen(position + 8, first, last);
        operand.A &= low;
        operand.B &= low;
        operand.C &= high;
        operand.D &= high;
        return operand;
    }

    /// <summary>Not zero where a value is infinite or NaN.</summary>
    public static uint Invalid<TElement>(UInt4 operand)
        where TElement : unmanaged, ITensorElement
    {
        // An exponent of ones is the only one that carries into the sign when its lowest bit is added.
        TElement type = default;
        uint exponents = type.InvalidExponents, lowest = exponents & ~(exponents << 1);
        return (((operand.A & exponents) + lowest) | ((operand.B & exponents) + lowest) | ((operand.C & exponents) + lowest) | ((operand.D & exponents) + lowest)) & 0x80008000u;
    }

    /// <summary>One column of a tile taken from another result; a lane has columns 2t (A, C) and 2t + 1 (B, D).</summary>
    public static Float4 TakeColumn(Float4 all, Float4 one, int column, int lane)
    {
        bool isEven = column == lane % 4 * 2, isOdd = column == lane % 4 * 2 + 1;
        return new()
        {
            A = isEven ? one.A : all.A,
            B = isOdd ? one.B : all.B,
            C = isEven ? one.C : all.C,
            D = isOdd ? one.D : all.D,
        };
    }

    /// <summary>Ones in the half of each of two positions that lies in [first, last].</summary>
    private static uint Seen(int position, int first, int last) =>
        (position >= first && position <= last ? 0xFFFFu : 0u) | (position + 1 >= first && position + 1 <= last ? 0xFFFF0000u : 0u);
}
