namespace TpServe.Tokenization.Models;

/// <summary>Token texts and their ids. Several ids may have one text; the last of them is its id.</summary>
/// <remarks>
/// Special tokens of more than one character are reserved: text is never encoded to one by the model itself, or a user could write it. Those of
/// one character are not, since nothing else might stand for that character.
/// Errors   <see cref="TokenizerException"/> for ids out of range and texts too long.
/// </remarks>
internal sealed class Vocabulary
{
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _spans;
    private readonly HashSet<int> _reserved = [];
    private readonly string?[] _texts;

    /// <param name="tokens">Texts and ids.</param>
    /// <param name="special">Texts of special tokens.</param>
    /// <param name="source">What messages call the vocabulary.</param>
    public Vocabulary(IReadOnlyCollection<KeyValuePair<string, int>> tokens, IReadOnlySet<string> special, string source)
    {
        _ids = new Dictionary<string, int>(StringComparer.Ordinal);
        List<string?> texts = [];
        int largest = TokenizerLimits.LargestIdOf(tokens.Count);
        foreach ((string text, int id) in tokens)
        {
            if (id < 0 || id > largest)
                throw new TokenizerException($"{source}: token '{Shorten(text)}' has id {id}; ids run from 0 to {largest} where there are {tokens.Count} tokens.");
            if (text.Length > TokenizerLimits.TokenCharacters)
                throw new TokenizerException($"{source}: token {id} has {text.Length} characters; the limit is {TokenizerLimits.TokenCharacters}.");
            _ids[text] = id;
            while (texts.Count <= id)
                texts.Add(null);
            texts[id] = text;
            if (text.Length > 1 && special.Contains(text) && !(text.Length == 2 && char.IsSurrogatePair(text[0], text[1])))
                _reserved.Add(id);
            Longest = Math.Max(Longest, text.Length);
        }
        _texts = [.. texts];
        _spans = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>One more than the largest id.</summary>
    public int Size => _texts.Length;

    /// <summary>UTF-16 units of the longest text.</summary>
    public int Longest { get; }

    public string? TextOf(int id) => (uint)id < (uint)_texts.Length ? _texts[id] : null;

    /// <summary>The id of a text, or -1.</summary>
    public int IdOf(ReadOnlySpan<char> text) => text.Length <= Longest && _spans.TryGetValue(text, out int id) ? id : -1;

    /// <summary>As <see cref="IdOf"/>, but -1 for reserved tokens: what a model may encode text to.</summary>
    public int EncodableIdOf(ReadOnlySpan<char> text) => IdOf(text) is >= 0 and int id && !_reserved.Contains(id) ? id : -1;

    /// <summary>True where the model itself must not give the id out.</summary>
    public bool IsReserved(int id) => _reserved.Contains(id);

    /// <summary>Ids of the pieces "&lt;0x00&gt;" to "&lt;0xFF&gt;", -1 where the vocabulary lacks one.</summary>
    public int[] ByteIds() => [.. Enumerable.Range(0, 256).Select(value => IdOf($"<0x{value:X2}>"))];

    public static string Shorten(string text) => text.Length <= 40 ? text : string.Concat(text.AsSpan(0, 37), "...");
}
