using System.Numerics;

namespace TpServe.Gateway.Reports.TensorBoard;

/// <summary>CRC-32C of bytes, and the form in which record files hold it.</summary>
/// <remarks>Source   RFC 3720, appendix B.4 (reflected polynomial 0x1EDC6F41, initial and final inversion); the mask: TensorFlow's record format.</remarks>
internal static class Crc32C
{
    private const uint MaskDelta = 0xA282EAD8;

    /// <summary>The checksum.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte one in bytes)
            crc = BitOperations.Crc32C(crc, one);
        return ~crc;
    }

    /// <summary>The checksum rotated right by 15 bits, plus a constant modulo 2^32: a checksum of data that holds checksums stays a good one.</summary>
    public static uint Masked(ReadOnlySpan<byte> bytes) => unchecked(BitOperations.RotateRight(Of(bytes), 15) + MaskDelta);
}
