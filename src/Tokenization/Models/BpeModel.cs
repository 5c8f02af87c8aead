using System.Buffers;
using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Models;

/// <summary>Byte-pair encoding over characters, which a ByteLevel step may have made of bytes.</summary>
/// <remarks>
/// Numerics with fuse_unk false each unknown character is an unknown token; without an unknown token it vanishes.
/// Source   the tokenizers library's BPE: characters (with prefix and suffix) → ids, bytes where a character is unknown, then merges.
/// </remarks>
internal sealed class BpeModel : ITokenModel
{
    private readonly MergeTable _merges;
    private readonly BpeOptions _options;
    private readonly int[] _characterIds = new int[0x10000];
    private readonly int[]? _byteIds;

    public BpeModel(Vocabulary vocabulary, MergeTable merges, BpeOptions options)
    {
        Vocabulary = vocabulary;
        _merges = merges;
        _options = options;
        for (int unit = 0; unit < _characterIds.Length; unit++)
            _characterIds[unit] = vocabulary.IdOf([(char)unit]);
        if (options.ByteFallback)
            _byteIds = vocabulary.ByteIds();
    }

    public Vocabulary Vocabulary { get; }

    public bool LosesNothing(bool ofBytes) =>
        (ofBytes && _options is { ContinuingSubwordPrefix: "", EndOfWordSuffix: "" } && ByteAlphabet.All.All(character => _characterIds[character] >= 0))
        || _byteIds?.All(id => id >= 0) == true || _options is { UnknownId: not null, FuseUnknown: false };

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (_options.IgnoreMerges && Vocabulary.EncodableIdOf(piece) is >= 0 and int whole)
        {
            ids.Add(whole);
            return;
        }
        // A character gives at most one symbol, or its UTF-8 bytes: three per UTF-16 unit; and one unknown may be waiting.
        int most = (piece.Length * 3) + 1;
        int[]? rented = most > 256 ? ArrayPool<int>.Shared.Rent(most) : null;
        Span<int> symbols = rented ?? stackalloc int[256];
        int count = Symbols(piece, symbols);
        count = _merges.Apply(symbols[..count]);
        ids.AddRange(symbols[..count]);
        if (rented is not null)
            ArrayPool<int>.Shared.Return(rented);
    }

    private int Symbols(ReadOnlySpan<char> piece, Span<int> symbols)
    {
        int count = 0;
        bool unknownWaits = false; // the reference adds an unknown only before the next known character, so bytes may overtake it
        Span<byte> bytes = stackalloc byte[4];
        for (int at = 0; at < piece.Length;)
        {
            Rune.DecodeFromUtf16(piece[at..], out Rune rune, out int length);
            int id = IdOf(piece.Slice(at, length), isFirst: at == 0, isLast: at + length == piece.Length);
            at += length;
            if (id >= 0)
            {
                if (unknownWaits)
                    symbols[count++] = _options.UnknownId!.Value;
                unknownWaits = false;
                symbols[count++] = id;
            }
            else if (_byteIds is not null && AddBytes(bytes[..rune.EncodeToUtf8(bytes)], symbols[count..]))
            {
                count += rune.Utf8SequenceLength;
            }
            else if (_options.UnknownId is int unknown)
            {
                if (unknownWaits && !_options.FuseUnknown)
                    symbols[count++] = unknown;
                unknownWaits = true;
            }
        }
        if (unknownWaits)
            symbols[count++] = _options.UnknownId!.Value;
        return count;
    }

    private int IdOf(ReadOnlySpan<char> character, bool isFirst, bool isLast)
    {
        string prefix = isFirst ? "" : _options.ContinuingSubwordPrefix;
        string suffix = isLast ? _options.EndOfWordSuffix : "";
        if (prefix.Length + suffix.Length > 0)
            return Vocabulary.IdOf(string.Concat(prefix, character, suffix));
        return character.Length == 1 ? _characterIds[character[0]] : Vocabulary.IdOf(character);
    }

    private bool AddBytes(ReadOnlySpan<byte> bytes, Span<int> symbols)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            symbols[i] = _byteIds![bytes[i]];
            if (symbols[i] < 0)
                return false;
        }
        return true;
    }
}

/// <summary>The switches of a BPE model.</summary>
internal sealed record BpeOptions
{
    /// <summary>The token of unknown characters; null = they vanish.</summary>
    public int? UnknownId { get; init; }

    /// <summary>Neighbouring unknown characters are one token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>Unknown characters become byte pieces where the vocabulary has them.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A piece that is a token as a whole is that token, whatever the merges make of it.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Stands before every character but a word's first; empty = none.</summary>
    public string ContinuingSubwordPrefix { get; init; } = "";

    /// <summary>Stands after a word's last character; empty = none.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}
