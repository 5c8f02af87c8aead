using System.Buffers;
using System.Text;

namespace TpServe.Tokenization.Decoders;

/// <summary>Bytes that arrive in parts → text: a character is given out when complete, U+FFFD for each maximal invalid part.</summary>
/// <remarks>
/// Source   Unicode 16, section 3.9, "U+FFFD substitution of maximal subparts".
/// </remarks>
internal sealed class Utf8Decoding
{
    private readonly byte[] _pending = new byte[4];
    private int _pendingCount;

    /// <summary>Takes bytes; returns the characters that they complete.</summary>
    public string Push(ReadOnlySpan<byte> bytes)
    {
        byte[] joined = new byte[_pendingCount + bytes.Length];
        _pending.AsSpan(0, _pendingCount).CopyTo(joined);
        bytes.CopyTo(joined.AsSpan(_pendingCount));
        int complete = joined.Length - IncompleteTail(joined);
        _pendingCount = joined.Length - complete;
        joined.AsSpan(complete).CopyTo(_pending);
        return Encoding.UTF8.GetString(joined, 0, complete); // its replacement is the one wanted here
    }

    /// <summary>The stream has ended: U+FFFD where a character was begun.</summary>
    public string Flush()
    {
        string rest = Encoding.UTF8.GetString(_pending, 0, _pendingCount);
        _pendingCount = 0;
        return rest;
    }

    // The bytes at the end, at most three, that begin a character and may yet be completed.
    private static int IncompleteTail(ReadOnlySpan<byte> bytes)
    {
        for (int length = Math.Min(3, bytes.Length); length > 0; length--)
            if (bytes[^length] >= 0xC2 && Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == OperationStatus.NeedMoreData)
                return length;
        return 0;
    }
}
