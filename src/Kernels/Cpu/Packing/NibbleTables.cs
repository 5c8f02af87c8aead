namespace TpServe.Kernels.Cpu.Packing;

/// <summary>What the 4-bit indices of <see cref="CodeLayout.NibbleTable"/> stand for, by format.</summary>
/// <remarks>Source   ggml-common.h (llama.cpp); the 4-bit floats are OCP Microscaling Formats 1.0, table 5, doubled so that they are integers.</remarks>
internal static class NibbleTables
{
    /// <summary>IQ4_NL, IQ4_XS.</summary>
    public static readonly sbyte[] NonLinear4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    /// <summary>E2M1, twice its value: MXFP4, NVFP4.</summary>
    public static readonly sbyte[] Float4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>Level and sign of the 2-bit codebooks: IQ2_XXS, IQ2_XS, IQ2_S.</summary>
    public static readonly sbyte[] TwoBits = [8, 25, 43, 0, 0, 0, 0, 0, -8, -25, -43, 0, 0, 0, 0, 0];

    /// <summary>Level and sign: IQ3_XXS.</summary>
    public static readonly sbyte[] ThreeBits = [4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62];

    /// <summary>Level and sign: IQ3_S.</summary>
    public static readonly sbyte[] Odd = [1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15];

    /// <summary>Eight times −1, 0 or 1 shifted up by an eighth, then down: IQ1_S, IQ1_M.</summary>
    public static readonly sbyte[] Shifted = [-7, 1, 9, 0, 0, 0, 0, 0, -9, -1, 7, 0, 0, 0, 0, 0];
}
