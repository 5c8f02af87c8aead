using System.Buffers;
using System.Globalization;
using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Decoders;

/// <summary>Characters of the byte alphabet → bytes → text; all tokens together are one.</summary>
internal sealed class ByteLevelStage : WholeTokenStage
{
    private readonly Utf8Decoding _text = new();

    public override void Finish()
    {
        Next.Accept(_text.Flush(), endsToken: true);
        Next.Finish();
    }

    protected override void AcceptToken(string token) => Next.Accept(_text.Push(ByteAlphabet.Decode(token)), endsToken: false);
}

/// <summary>SentencePiece's way with byte pieces: they are bytes of the text, valid or not, each character given out when complete.</summary>
internal sealed class BytePiecesStage : WholeTokenStage
{
    private readonly Utf8Decoding _text = new();

    public override void Finish()
    {
        Next.Accept(_text.Flush(), endsToken: true);
        Next.Finish();
    }

    protected override void AcceptToken(string token) =>
        Next.Accept(_text.Push(BytePiece.TryParse(token, out byte value) ? [value] : Encoding.UTF8.GetBytes(token)), endsToken: false);
}

/// <summary>A run of byte pieces → its text where all of it is valid UTF-8, else U+FFFD for every byte.</summary>
/// <remarks>
/// Since a byte may spoil the characters before it, a run is given out only when it has ended.
/// </remarks>
internal sealed class ByteFallbackStage : WholeTokenStage
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private readonly List<byte> _run = [];

    public override void Finish()
    {
        EndRun();
        Next.Finish();
    }

    protected override void AcceptToken(string token)
    {
        if (BytePiece.TryParse(token, out byte value))
        {
            _run.Add(value);
            return;
        }
        EndRun();
        Next.Accept(token, endsToken: true);
    }

    private void EndRun()
    {
        if (_run.Count == 0)
            return;
        byte[] bytes = [.. _run];
        _run.Clear();
        if (System.Text.Unicode.Utf8.IsValid(bytes))
        {
            Next.Accept(Strict.GetString(bytes), endsToken: true);
            return;
        }
        for (int i = 0; i < bytes.Length; i++)
            Next.Accept("\uFFFD", endsToken: true);
    }
}

/// <summary>The spelling of byte pieces, "&lt;0x41&gt;".</summary>
internal static class BytePiece
{
    /// <summary>The byte a token stands for; false where it is no byte piece.</summary>
    public static bool TryParse(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' &&
            byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}

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
