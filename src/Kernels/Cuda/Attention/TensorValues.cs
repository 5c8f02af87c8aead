using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Values as A operands of O^T = V^T · P: 16 elements × 16 positions.</summary>
internal static class TensorValues
{
    /// <summary>A lane's part of the square at a position; zeros at positions that no column sees, whatever lies there.</summary>
    /// <param name="values">Values as operands.</param>
    /// <param name="pass">What the columns see.</param>
    /// <param name="position">Position of the square.</param>
    /// <param name="square">Where the squares of its 16 positions begin; −1 = nowhere.</param>
    /// <param name="warp">Which of them.</param>
    /// <param name="lane">The lane.</param>
    public static UInt4 Load(ArrayView<UInt4> values, TensorPass pass, int position, int square, int warp, int lane)
    {
        UInt4 operand = default;
        if (square < 0)
            return operand;
        operand = values[(long)(square + warp) * 32 + lane];
        if (position < pass.MinFirst || position + KvView.Square - 1 > pass.MaxLast)
            operand = Sift(operand, position + (lane & 3) * 2, pass.MinFirst, pass.MaxLast);
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

    /// <summary>One column of a tile taken from another result; a lane has columns 2t (A, C) and 2t + 1 (B, D).</summary>
    public static Float4 TakeColumn(Float4 all, Float4 one, int column, int lane)
    {
        bool isEven = column == (lane & 3) * 2, isOdd = column == (lane & 3) * 2 + 1;
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
