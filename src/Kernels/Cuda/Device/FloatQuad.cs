using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Four neighbouring values of a row: what one thread takes at a time.</summary>
/// <remarks>One access of 16 bytes where the row allows it, four of 4 bytes elsewhere: the same values in the same threads, so the same bits.</remarks>
internal struct FloatQuad
{
    /// <summary>Values in a quad.</summary>
    public const int Count = 4;

    public float A, B, C, D;

    /// <summary>Values [i, i + 4) of a row of <paramref name="count"/> values, zeros beyond its end. i is a multiple of 4.</summary>
    /// <param name="view">The tensor: ILGPU takes 16 bytes at once only from a view that was not cut at an unknown place.</param>
    /// <param name="row">Where the row starts in it.</param>
    /// <param name="i">First value.</param>
    /// <param name="count">Values in the row.</param>
    /// <param name="aligned">Not 0 where every row starts at a multiple of 16 bytes and is made of whole quads.</param>
    public static FloatQuad Load(ArrayView<float> view, int row, int i, int count, int aligned)
    {
        if (aligned != 0)
            return view.Cast<FloatQuad>()[(row + i) / Count];
        FloatQuad quad = default;
        quad.A = view[row + i];
        if (i + 1 < count)
            quad.B = view[row + i + 1];
        if (i + 2 < count)
            quad.C = view[row + i + 2];
        if (i + 3 < count)
            quad.D = view[row + i + 3];
        return quad;
    }

    /// <summary>Writes values [i, i + 4) of a row, as far as it goes; the parameters are <see cref="Load"/>'s.</summary>
    public static void Store(ArrayView<float> view, int row, int i, int count, int aligned, FloatQuad quad)
    {
        if (aligned != 0)
        {
            view.Cast<FloatQuad>()[(row + i) / Count] = quad;
            return;
        }
        view[row + i] = quad.A;
        if (i + 1 < count)
            view[row + i + 1] = quad.B;
        if (i + 2 < count)
            view[row + i + 2] = quad.C;
        if (i + 3 < count)
            view[row + i + 3] = quad.D;
    }

    /// <summary>sum + A² + B² + C² + D², in this order, each product fused.</summary>
    public static float AddSquares(FloatQuad quad, float sum)
    {
        sum = DeviceMath.Fma(quad.A, quad.A, sum);
        sum = DeviceMath.Fma(quad.B, quad.B, sum);
        sum = DeviceMath.Fma(quad.C, quad.C, sum);
        return DeviceMath.Fma(quad.D, quad.D, sum);
    }

    /// <summary>(quad · factor) · weight.</summary>
    public static FloatQuad Scaled(FloatQuad quad, float factor, FloatQuad weight)
    {
        quad.A = DeviceMath.Multiply(DeviceMath.Multiply(quad.A, factor), weight.A);
        quad.B = DeviceMath.Multiply(DeviceMath.Multiply(quad.B, factor), weight.B);
        quad.C = DeviceMath.Multiply(DeviceMath.Multiply(quad.C, factor), weight.C);
        quad.D = DeviceMath.Multiply(DeviceMath.Multiply(quad.D, factor), weight.D);
        return quad;
    }

    /// <summary>sum + scale · quad, fused.</summary>
    public static FloatQuad AddScaled(FloatQuad sum, float scale, FloatQuad quad)
    {
        sum.A = DeviceMath.Fma(scale, quad.A, sum.A);
        sum.B = DeviceMath.Fma(scale, quad.B, sum.B);
        sum.C = DeviceMath.Fma(scale, quad.C, sum.C);
        sum.D = DeviceMath.Fma(scale, quad.D, sum.D);
        return sum;
    }
}
