namespace TpServe.Gateway.Tokenization.Models;

/// <summary>Token texts and their ids. Several ids may have one text; the last of them is its id.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> for ids out of range and texts too long.
/// </remarks>
internal sealed class Vocabulary
{
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _spans;
    private readonly string?[] _texts;

    public Vocabulary(IEnumerable<KeyValuePair<string, int>> tokens, string source)
    {
        _ids = new Dictionary<string, int>(StringComparer.Ordinal);
        List<string?> texts = [];
        foreach ((string text, int id) in tokens)
        {
            if (id is < 0 or >= TokenizerLimits.VocabularyTokens)
                throw new TokenizerException($"{source}: token '{Shorten(text)}' has id {id}; ids run from 0 to {TokenizerLimits.VocabularyTokens - 1}.");
            if (text.Length > TokenizerLimits.TokenCharacters)
                throw new TokenizerException($"{source}: token {id} has {text.Length} characters; the limit is {TokenizerLimits.TokenCharacters}.");
            _ids[text] = id;
            while (texts.Count <= id)
                texts.Add(null);
            texts[id] = text;
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

    /// <summary>Ids of the pieces "&lt;0x00&gt;" to "&lt;0xFF&gt;", -1 where the vocabulary lacks one.</summary>
    public int[] ByteIds() => [.. Enumerable.Range(0, 256).Select(value => IdOf($"<0x{value:X2}>"))];

    public static string Shorten(string text) => text.Length <= 40 ? text : string.Concat(text.AsSpan(0, 37), "...");
}
