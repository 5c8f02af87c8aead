using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>The arithmetic of one 32-block in one instruction set; the numerics are <see cref="PanelKernel"/>'s.</summary>
/// <remarks>Shapes   acc [rows, panel outputs], values [32, panel outputs], a: one block of an activation tile.</remarks>
internal unsafe interface IBlockMath
{
    /// <summary>Codes, scales and minima of a block of a quantised panel.</summary>
    static abstract void Decode(PanelFormat format, byte* unit, int block, DecodedBlock* decoded);

    /// <summary>Exact float32 weights of a decoded block.</summary>
    static abstract void Values(PanelFormat format, DecodedBlock* decoded, float* values);

    /// <summary>Exact float32 weights of a block of a binary16 or bfloat16 panel.</summary>
    static abstract void Widen(CodeLayout layout, byte* codes, float* values);

    /// <summary>Integer products.</summary>
    static abstract void Integers<TCodes>(PanelFormat format, DecodedBlock* weights, byte* a, int rows, float* acc) where TCodes : struct, ICodeRange;

    /// <summary>float32 products.</summary>
    static abstract void Floats(float* values, int outputs, float* a, int rows, float* acc);

    /// <summary>bfloat16 products; scratch has room for 32 × 32 floats.</summary>
    static abstract void BFloats(byte* codes, byte* a, int rows, float* acc, float* scratch);

    /// <summary>lower += upper.</summary>
    static abstract void Merge(float* lower, float* upper, int count);
}
