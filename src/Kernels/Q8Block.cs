namespace TpServe.Kernels;

/// <summary>The numbers of 8 bits, of a Q8 KV cache and on the wire: 32 consecutive elements of one row as codes in −127..127 and one binary16 scale.</summary>
/// <remarks>
/// Numerics an element is scale · code, which float32 holds exactly (11 and 7 bits). scale = max|x| / 127, rounded to float32 and then to binary16, both to
///          nearest even. code = x / scale, rounded to float32 and then to the nearest integer, ties to even, and held within ±127: what a scale below
///          2^-14 lacks in digits may push the quotient beyond.
///          max|x| up to 127 · 2^-25 (3.8e-6) has the scale 0 and is a block of zeros. Nothing that is no finite number becomes one: with a NaN or an
///          infinity in it a block's scale is NaN, from max|x| of 127 · 65520 (8.3e6) on infinity; the codes are zeros then, so every element is NaN.
///          A block is by itself: no other head, row, position or step has a part in it.
/// </remarks>
public static class Q8Block
{
    /// <summary>Elements of a block.</summary>
    public const int Elements = 32;

    /// <summary>Bytes of its scale.</summary>
    public const int ScaleBytes = 2;

    /// <summary>Bytes of the block, scale included.</summary>
    public const int Bytes = Elements + ScaleBytes;

    /// <summary>The scale of a block whose largest magnitude is given; NaN where that is no finite number.</summary>
    public static Half Scale(float largest) => float.IsFinite(largest) ? (Half)(largest / 127f) : Half.NaN;

    /// <summary>Whether x / scale gives codes; without that they are zeros.</summary>
    public static bool HasCodes(Half scale) => Half.IsFinite(scale) && scale > Half.Zero;

    /// <summary>Codes of a block, one after the other.</summary>
    /// <returns>Its scale.</returns>
    public static Half Quantize(ReadOnlySpan<float> block, Span<sbyte> codes)
    {
        float largest = 0;
        foreach (float x in block)
            largest = float.IsFinite(x) ? Math.Max(largest, Math.Abs(x)) : float.NaN; // a NaN stays: it is the larger one for Math.Max
        Half scale = Scale(largest);
        for (int i = 0; i < block.Length; i++)
            codes[i] = HasCodes(scale) ? (sbyte)Math.Clamp(MathF.Round(block[i] / (float)scale, MidpointRounding.ToEven), -127f, 127f) : (sbyte)0;
        return scale;
    }
}
