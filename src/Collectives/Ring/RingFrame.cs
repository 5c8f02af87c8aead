using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TpServe.Collectives.Ring;

/// <summary>What stands before every block on the wire: 64 bytes, little-endian, so that the block behind it is aligned as the frame is.</summary>
/// <remarks>
/// A receiver knows which frame must come next, to the byte: anything else is an error before a byte of it is used, and no length that a frame claims is
/// ever allocated.
/// </remarks>
/// <param name="Mark"><see cref="Block"/> or <see cref="Goodbye"/>.</param>
/// <param name="Bytes">Bytes of the block that follows.</param>
/// <param name="Round">Counts the blocks of the epoch, from 1: an operation takes one round or several.</param>
/// <param name="Header">The operation that the block belongs to.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct RingFrame(uint Mark, int Bytes, long Round, OperationHeader Header)
{
    /// <summary>"TPBK": one rank's part in one round.</summary>
    public const uint Block = 0x4B42_5054;

    /// <summary>"TPBY": the sender leaves the group in good order; nothing follows.</summary>
    public const uint Goodbye = 0x5942_5054;

    /// <summary>Bytes of a frame's head.</summary>
    public static int HeadBytes => Unsafe.SizeOf<RingFrame>();
}
