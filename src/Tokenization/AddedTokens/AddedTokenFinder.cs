using System.Text;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.AddedTokens;

/// <summary>Cuts a text at its added tokens: from left to right, the longest at each place.</summary>
/// <remarks>
/// Cost     characters × the longest added token.
/// Source   the tokenizers library's AddedVocabulary: a token that is found but may not stand there (single_word, or special in text that is
///          not trusted) is passed over as a whole.
/// </remarks>
internal sealed class AddedTokenFinder
{
    private static readonly CodePointSet Word = UnicodeClasses.RustWord;

    private readonly List<AddedToken> _tokens = [];
    private readonly TextTrie _trie = new();

    /// <summary>True where there is nothing to find.</summary>
    public bool IsEmpty => _trie.IsEmpty;

    /// <summary>True where a special token is among those to find.</summary>
    public bool HasSpecial { get; private set; }

    /// <summary>Adds a token under the text it is looked for by; an empty text is never found. Before any search.</summary>
    public void Add(AddedToken token, string text)
    {
        if (text.Length == 0)
            return;
        HasSpecial |= token.Special;
        _trie.Add(text, _tokens.Count);
        _tokens.Add(token);
    }

    /// <summary>The text in stretches, in order; special tokens only where trusted.</summary>
    public List<TextOrToken> Cut(string text, TrustedRanges trusted)
    {
        List<TextOrToken> stretches = [];
        int given = 0; // text before this is in a stretch
        for (int at = IsEmpty ? text.Length : 0; at < text.Length;)
        {
            int skip = text.AsSpan(at).IndexOfAny(_trie.FirstUnits);
            if (skip < 0)
                break;
            at += skip;
            AddedToken? token = LongestAt(text, at, trusted, out int end, out int next);
            if (token is null || (token.SingleWord && TouchesWord(text, at, end)))
            {
                at = next;
                continue;
            }
            int start = at;
            while (token.StripsLeft && start > given && IsSpace(text[start - 1]))
                start--;
            while (token.StripsRight && end < text.Length && IsSpace(text[end]))
                end++;
            if (start > given)
                stretches.Add(new(given, start, -1));
            stretches.Add(new(start, end, token.Id));
            given = end;
            at = next;
        }
        if (given < text.Length)
            stretches.Add(new(given, text.Length, -1));
        return stretches;
    }

    // The longest token here that may stand here; next is where the search goes on, found or not. A special token that reaches from trusted into
    // other text does not count as found at all, or text that a user sends could take a template's own token with it.
    private AddedToken? LongestAt(string text, int start, TrustedRanges trusted, out int end, out int next)
    {
        AddedToken? longest = null;
        end = 0;
        next = start + 1;
        int node = TextTrie.Root;
        for (int at = start; at < text.Length && (node = _trie.Step(node, text[at])) >= 0;)
        {
            at++;
            int value = _trie.ValueAt(node);
            if (value < 0)
                continue;
            AddedToken token = _tokens[value];
            bool allowed = !token.Special || trusted.Covers(start, at);
            if (!allowed && trusted.Touches(start, at))
                continue;
            longest = allowed ? token : null;
            (end, next) = (at, at);
        }
        return longest;
    }

    private static bool TouchesWord(string text, int start, int end)
    {
        Rune.DecodeLastFromUtf16(text.AsSpan(0, start), out Rune before, out int beforeLength);
        Rune.DecodeFromUtf16(text.AsSpan(end), out Rune after, out int afterLength);
        return (beforeLength > 0 && Word.Contains(before.Value)) || (afterLength > 0 && Word.Contains(after.Value));
    }

    private static bool IsSpace(char unit) => UnicodeClasses.WhiteSpace.Contains(unit);
}

/// <summary>A stretch of text: an added token, or what lies between two.</summary>
/// <param name="Start">First UTF-16 unit.</param>
/// <param name="End">After the last.</param>
/// <param name="TokenId">The token's id; -1 for text.</param>
internal readonly record struct TextOrToken(int Start, int End, int TokenId);
