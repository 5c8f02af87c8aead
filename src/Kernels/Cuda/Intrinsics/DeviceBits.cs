using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Bit work on packed bytes.</summary>
internal static class DeviceBits
{
    /// <summary>Four bytes of the eight of high:low, chosen by the low three bits of the selector's four low nibbles; their fourth bits are zero.</summary>
    [IntrinsicImplementation]
    [Ptx("prmt.b32 {0}, {1}, {2}, {3};")]
    public static uint Permute(uint low, uint high, uint selector)
    {
        ulong bytes = low | ((ulong)high << 32);
        uint result = 0;
        for (int i = 0; i < 4; i++)
            result |= (uint)((bytes >> (8 * (int)((selector >> (4 * i)) & 7))) & 0xFF) << (8 * i);
        return result;
    }

    /// <summary>Signed byte <paramref name="index"/> (0..3) of a word.</summary>
    public static int SignedByte(uint word, int index) => (int)(word << (24 - (8 * index))) >> 24;
}
