using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda;

/// <summary>Bits of a whole warp.</summary>
internal static class WarpBits
{
    /// <summary>The bits that any lane has. All 32 lanes call together.</summary>
    [IntrinsicImplementation]
    [Ptx("redux.sync.or.b32 {0}, {1}, 0xffffffff;")]
    public static uint Or(uint bits)
    {
        for (int offset = 16; offset > 0; offset >>= 1)
            bits |= (uint)Warp.ShuffleXor((int)bits, offset);
        return bits;
    }
}
