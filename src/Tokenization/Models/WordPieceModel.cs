using System.Text;

namespace TpServe.Tokenization.Models;

/// <summary>The longest token first, again and again; a word that does not come out even is one unknown token.</summary>
/// <remarks>
/// Cost     characters × the longest token.
/// Source   Wu et al. 2016; BERT's WordpieceTokenizer.
/// </remarks>
internal sealed class WordPieceModel : ITokenModel
{
    private readonly TextTrie _trie = new();
    private readonly int _continuation; // the node after the prefix; -1 where no token continues a word
    private readonly int _unknownId;
    private readonly int _maxCharactersPerWord;

    public WordPieceModel(Vocabulary vocabulary, int unknownId, string continuingSubwordPrefix, int maxCharactersPerWord)
    {
        Vocabulary = vocabulary;
        _unknownId = unknownId;
        _maxCharactersPerWord = maxCharactersPerWord;
        for (int id = 0; id < vocabulary.Size; id++)
            if (vocabulary.TextOf(id) is { Length: > 0 } text && !vocabulary.IsReserved(id))
                _trie.Add(text, vocabulary.IdOf(text));
        foreach (char unit in continuingSubwordPrefix)
            _continuation = _continuation < 0 ? -1 : _trie.Step(_continuation, unit);
    }

    public Vocabulary Vocabulary { get; }

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        int mark = ids.Count;
        if (CodePoints(piece) <= _maxCharactersPerWord && TryEncode(piece, ids))
            return;
        ids.RemoveRange(mark, ids.Count - mark);
        ids.Add(_unknownId);
    }

    private bool TryEncode(ReadOnlySpan<char> word, List<int> ids)
    {
        for (int start = 0; start < word.Length;)
        {
            int node = start == 0 ? TextTrie.Root : _continuation;
            int longest = -1, end = start;
            for (int at = start; node >= 0 && at < word.Length;)
            {
                node = _trie.Step(node, word[at++]);
                if (node >= 0 && _trie.ValueAt(node) is >= 0 and int id)
                    (longest, end) = (id, at);
            }
            if (longest < 0)
                return false;
            ids.Add(longest);
            start = end;
        }
        return true;
    }

    private static int CodePoints(ReadOnlySpan<char> text)
    {
        int count = 0;
        foreach (Rune _ in text.EnumerateRunes())
            count++;
        return count;
    }
}
