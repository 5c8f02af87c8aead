using System.Text;
using TpServe.Checkpoint;
using TpServe.Tokenization.AddedTokens;
using TpServe.Tokenization.Decoders;
using TpServe.Tokenization.Loading;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.PreTokenizers;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization;

/// <summary>Text ↔ token ids, exactly as the model's own library does it.</summary>
/// <remarks>
/// Threads  immutable; any thread may call.
/// Cost     encoding is near linear in the text, also without any white space; patterns are bounded in steps.
/// Errors   <see cref="TokenizerException"/> from <see cref="Create"/> for malformed files, from encoding where a file's pattern backtracks
///          without bound or its model has no token for a character.
/// Source   the pipeline of the Hugging Face tokenizers library: added tokens, normalizer, pre-tokenizer, model, post-processor, decoder.
/// Oracle   that library's results on the golden vectors, id for id and character for character.
/// </remarks>
public sealed class Tokenizer
{
    private const int LongWord = 256;

    private readonly TokenizerParts _parts;
    private readonly byte[]?[] _tokenBytes;
    private readonly Lazy<int?> _anchor;
    private readonly TokenCosts? _costs; // null = a piece may have fewer ids than its length tells
    private readonly bool _costsBytes; // the same holds for the bytes of a whole text

    private Tokenizer(TokenizerParts parts, TokenizerFiles files)
    {
        _parts = parts;
        BosTokenId = parts.BosTokenId;
        if (files.BosToken is string bos)
            BosTokenId ??= parts.Added.IdOf(bos) ?? (parts.Model.Vocabulary.IdOf(bos) is >= 0 and int id ? id : null);
        if (BosTokenId is null && parts.Template.Before is [int first, ..])
            BosTokenId = first;
        if (files.AddBosToken is bool wanted)
            _parts = parts with { Template = WithBos(parts.Template, wanted) };
        VocabularySize = Math.Max(parts.Model.Vocabulary.Size, parts.Added.LargestId + 1);
        if (parts.Template.Before.Concat(parts.Template.After).FirstOrDefault(id => TokenText(id) is null, -1) is >= 0 and int stray)
            throw new TokenizerException($"The post-processor adds the id {stray}, which has no token.");
        _tokenBytes = new byte[]?[VocabularySize];
        _anchor = new Lazy<int?>(FindAnchor);
        bool ofBytes = parts.PreTokenizer?.WritesBytes == true || parts.Normalizer?.WritesBytes == true;
        if (parts.Model.LosesNothing(ofBytes))
            _costs = new TokenCosts(parts.Model.Vocabulary, parts.Added.SoughtTexts);
        _costsBytes = _costs is not null && ofBytes && parts is { Normalizer: null or { KeepsText: true }, PreTokenizer: null or { KeepsText: true }, Added.StripsSpace: false };
    }

    /// <summary>One more than the largest id. Some ids below it may have no token.</summary>
    public int VocabularySize { get; }

    /// <summary>The token that begins a text; null = none.</summary>
    public int? BosTokenId { get; }

    /// <summary>A tokenizer from tokenizer.json, or from the vocabulary of a GGUF file.</summary>
    /// <exception cref="TokenizerException">The files are malformed, or ask for something that is not supported.</exception>
    public static Tokenizer Create(TokenizerFiles files)
    {
        TokenizerParts parts = files switch
        {
            { TokenizerJson: ReadOnlyMemory<byte> json, Vocabulary: null } => TokenizerJsonReader.Read(json),
            { TokenizerJson: null, Vocabulary: GgufVocabulary vocabulary } => GgufTokenizerReader.Read(vocabulary),
            _ => throw new TokenizerException("A tokenizer needs exactly one of tokenizer.json and a GGUF vocabulary."),
        };
        return new Tokenizer(parts, files);
    }

    /// <summary>The ids of a text. Lone surrogates count as U+FFFD.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Puts the model's beginning and end tokens around it.</param>
    /// <param name="parseSpecialTokens">False: text that looks like a special token is ordinary text. Other added tokens are always recognised.</param>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens, bool parseSpecialTokens) =>
        EncodeWithin(text, addSpecialTokens, parseSpecialTokens, int.MaxValue)!;

    /// <summary>The ids of the segments' texts put together; special tokens are recognised only where they lie within trusted segments.</summary>
    public IReadOnlyList<int> Encode(IReadOnlyList<TextSegment> segments, bool addSpecialTokens) => EncodeWithin(segments, addSpecialTokens, int.MaxValue)!;

    /// <summary>As <see cref="Encode(string, bool, bool)"/>; null where there are more than so many ids, which is known as soon as there are.</summary>
    /// <exception cref="OperationCanceledException">Nobody waits for them any more.</exception>
    public IReadOnlyList<int>? EncodeWithin(string text, bool addSpecialTokens, bool parseSpecialTokens, int mostIds, CancellationToken cancellation = default) =>
        Encode(text, parseSpecialTokens ? TrustedRanges.All : TrustedRanges.None, addSpecialTokens, new BoundedIds(mostIds, cancellation));

    /// <summary>As <see cref="Encode(IReadOnlyList{TextSegment}, bool)"/>; null where there are more than so many ids, which is known as soon as there are.</summary>
    /// <exception cref="OperationCanceledException">Nobody waits for them any more.</exception>
    public IReadOnlyList<int>? EncodeWithin(IReadOnlyList<TextSegment> segments, bool addSpecialTokens, int mostIds, CancellationToken cancellation = default)
    {
        TrustedRanges trusted = TrustedRanges.Of(segments.Select(segment => (segment.Text.Length, segment.ParseSpecial)));
        return Encode(string.Concat(segments.Select(segment => segment.Text)), trusted, addSpecialTokens, new BoundedIds(mostIds, cancellation));
    }

    /// <summary>A number of ids that the text has at least, by its characters alone. 0 where the vocabulary or its pipeline gives no such bound.</summary>
    public int LeastIds(string text) => _costsBytes ? _costs!.OfBytes(text) : 0;

    /// <summary>The text of ids; ids without a token are passed over.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecialTokens">Drops special tokens.</param>
    public string Decode(IReadOnlyList<int> ids, bool skipSpecialTokens)
    {
        StringBuilder text = new();
        DecoderStage stream = _parts.Decoder.Begin(text);
        foreach (int id in ids)
            if (TextToDecode(id, skipSpecialTokens) is string token)
                stream.Accept(token, endsToken: true);
        stream.Finish();
        return text.ToString();
    }

    /// <summary>The vocabulary's own text of a token, as the file writes it; null where the id has none.</summary>
    public string? TokenText(int id) => _parts.Added.TextOf(id) ?? _parts.Model.Vocabulary.TextOf(id);

    /// <summary>The bytes that a token contributes in the middle of a text; none where the id has no token.</summary>
    public ReadOnlyMemory<byte> TokenBytes(int id)
    {
        if (TextToDecode(id, skipSpecialTokens: false) is not string text)
            return ReadOnlyMemory<byte>.Empty;
        return _tokenBytes[id] ??= FindBytes(id, text);
    }

    /// <summary>The id of a token by the vocabulary's own text; null = no such token.</summary>
    public int? IdOf(string tokenText) =>
        _parts.Added.IdOf(tokenText) ?? (_parts.Model.Vocabulary.IdOf(tokenText) is >= 0 and int id ? id : null);

    /// <summary>True for tokens that steer the model and that decoding may drop.</summary>
    public bool IsSpecial(int id) => TokenText(id) is string text && _parts.Added.IsSpecial(text);

    internal DecoderStage BeginDecoding(StringBuilder sink) => _parts.Decoder.Begin(sink);

    internal string? TextToDecode(int id, bool skipSpecialTokens) =>
        (_parts.Added.TextToDecode(id) ?? _parts.Model.Vocabulary.TextOf(id)) is string text && !(skipSpecialTokens && _parts.Added.IsSpecial(text)) ? text : null;

    private List<int>? Encode(string text, TrustedRanges trusted, bool addSpecialTokens, BoundedIds bounded)
    {
        // 1. Well-formed UTF-16, so that no later step meets half a character; lengths stay as they are.
        text = WellFormed(text);
        List<int> ids = bounded.Ids;
        if (addSpecialTokens)
            ids.AddRange(_parts.Template.Before);

        // 2. Added tokens of the raw text; what lies between them is normalized by itself.
        foreach (TextOrToken stretch in _parts.Added.InRawText.Cut(text, trusted))
        {
            if (stretch.TokenId >= 0)
                ids.Add(stretch.TokenId);
            else
                EncodeRaw(text, stretch.Start, stretch.End, trusted, bounded);
            if (bounded.IsExceeded)
                return null;
        }
        if (addSpecialTokens)
            ids.AddRange(_parts.Template.After);
        return bounded.IsExceeded ? null : ids;
    }

    private void EncodeRaw(string text, int start, int end, TrustedRanges trusted, BoundedIds bounded)
    {
        string raw = text[start..end];
        string normalized = _parts.Normalizer?.Normalize(raw) ?? raw;

        // 3. Added tokens of the normalized text.
        AddedTokenFinder finder = _parts.Added.InNormalizedText;
        TrustedRanges trustedHere = finder.HasSpecial ? TrustAfterNormalizing(raw, normalized, trusted.Cut(start, end)) : TrustedRanges.None;
        foreach (TextOrToken stretch in finder.Cut(normalized, trustedHere))
        {
            if (stretch.TokenId >= 0)
                bounded.Ids.Add(stretch.TokenId);
            else
                EncodeNormalized(new TextPiece(normalized, stretch.Start, stretch.End - stretch.Start, start == 0 && stretch.Start == 0), bounded);
            if (bounded.IsExceeded)
                return;
        }
    }

    // Where trusted text lies after normalizing: each part is normalized by itself, and if the parts together give the whole, their bounds hold.
    // If not (characters composed across a bound), nothing is trusted: a special token may be missed, none is ever made of other text.
    private TrustedRanges TrustAfterNormalizing(string raw, string normalized, IEnumerable<(int Length, bool Trusted)> parts)
    {
        List<(int Length, bool Trusted)> bounds = [.. parts];
        if (bounds is [(_, bool trusted)])
            return trusted ? TrustedRanges.All : TrustedRanges.None;
        StringBuilder whole = new(normalized.Length);
        int at = 0;
        for (int i = 0; i < bounds.Count; i++)
        {
            string part = raw.Substring(at, bounds[i].Length);
            string rewritten = _parts.Normalizer is null ? part : at == 0 ? _parts.Normalizer.Normalize(part) : _parts.Normalizer.NormalizeContinuation(part);
            whole.Append(rewritten);
            at += part.Length;
            bounds[i] = (rewritten.Length, bounds[i].Trusted);
        }
        return whole.Equals(normalized) ? TrustedRanges.Of(bounds) : TrustedRanges.None;
    }

    // 4. The pre-tokenizer's pieces, each encoded by the model before the next one is cut.
    private void EncodeNormalized(TextPiece text, BoundedIds bounded)
    {
        if (_parts.PreTokenizer is null)
            EncodePiece(text);
        else
            _parts.PreTokenizer.Split(text, EncodePiece);

        bool EncodePiece(TextPiece piece)
        {
            // A piece without end is not even begun; words are too short for that to be worth a look.
            if (bounded.Allows(_costs is not null && piece.Length > LongWord ? _costs.OfPiece(piece.Span) : 0))
                _parts.Model.Encode(piece.Span, bounded.Ids);
            return !bounded.IsExceeded;
        }
    }

    /// <summary>The ids of an encoding, while they are no more than wanted.</summary>
    private sealed class BoundedIds(int most, CancellationToken cancellation)
    {
        private bool _exceeded;

        public List<int> Ids { get; } = [];

        public bool IsExceeded => _exceeded || Ids.Count > most;

        /// <summary>Whether so many more may come; if not, there are too many.</summary>
        /// <exception cref="OperationCanceledException">Nobody waits for them any more.</exception>
        public bool Allows(int more)
        {
            cancellation.ThrowIfCancellationRequested();
            _exceeded |= more > most - Ids.Count;
            return !_exceeded;
        }
    }

    private static string WellFormed(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF'))
            return text;
        StringBuilder? repaired = null;
        for (int at = 0; at < text.Length; at++)
        {
            if (!char.IsSurrogate(text[at]))
                continue;
            if (at + 1 < text.Length && char.IsSurrogatePair(text[at], text[at + 1]))
                at++;
            else
                (repaired ??= new StringBuilder(text))[at] = '\uFFFD';
        }
        return repaired?.ToString() ?? text;
    }

    private SpecialTokenTemplate WithBos(SpecialTokenTemplate template, bool wanted)
    {
        if (BosTokenId is not int bos)
            return template;
        bool has = template.Before is [int first, ..] && first == bos;
        if (has == wanted)
            return template;
        return template with { Before = wanted ? [bos, .. template.Before] : [.. template.Before.Skip(1)] };
    }

    private byte[] FindBytes(int id, string text)
    {
        if (_parts.Decoder.IsByteLevel)
            return ByteAlphabet.Decode(text);
        if (_parts.Decoder.HasBytePieces && BytePiece.TryParse(text, out byte value))
            return [value];
        // Decoders treat a text's first token in their own way, so the token is decoded after another, whose text is then cut off.
        if (_anchor.Value is not int anchor)
            return Encoding.UTF8.GetBytes(text);
        string before = Decode([anchor], skipSpecialTokens: false);
        string both = Decode([anchor, id], skipSpecialTokens: false);
        return Encoding.UTF8.GetBytes(both.StartsWith(before, StringComparison.Ordinal) ? both[before.Length..] : text);
    }

    private int? FindAnchor()
    {
        for (int id = 0; id < VocabularySize; id++)
            if (TokenText(id) is { Length: > 0 } text && text.All(char.IsAsciiLetter) && !_parts.Added.IsSpecial(text))
                return id;
        return null;
    }
}

/// <summary>A run of a prompt that comes from one author.</summary>
/// <param name="Text">The characters.</param>
/// <param name="ParseSpecial">True where special tokens may be recognised: template text, never user text.</param>
public readonly record struct TextSegment(string Text, bool ParseSpecial);

/// <summary>A tokenizer cannot be built from its files, or a hostile one ran past its bounds. The message names thing, value and limit.</summary>
public sealed class TokenizerException : Exception
{
    /// <summary>A fault with its reason.</summary>
    public TokenizerException(string message) : base(message) { }

    /// <summary>A fault with what caused it.</summary>
    public TokenizerException(string message, Exception inner) : base(message, inner) { }
}
