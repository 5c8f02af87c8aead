using System.Text;
using TpServe.Tokenization.Models;

namespace TpServe.Tokenization.Loading;

/// <summary>Collects merges in order of rank; a merge given twice has its later rank, one that makes a reserved token none.</summary>
/// <param name="vocabulary">Holds both sides and the result of every merge.</param>
/// <param name="continuingPrefix">What a right side loses when it joins a left one.</param>
internal sealed class MergeTableBuilder(Vocabulary vocabulary, string continuingPrefix)
{
    private readonly Dictionary<long, MergeTable.Merge> _merges = [];
    private readonly HashSet<long> _seams = [];
    private int _rank;

    /// <summary>Adds a merge spelled "left right".</summary>
    public void Add(string merge, string path)
    {
        int space = merge.IndexOf(' ', StringComparison.Ordinal);
        if (space < 0 || merge.IndexOf(' ', space + 1) >= 0)
            throw new TokenizerException($"{path}: merge {_rank} is '{Vocabulary.Shorten(merge)}'; it must be two tokens with one space between.");
        Add(merge[..space], merge[(space + 1)..], path);
    }

    public void Add(string left, string right, string path)
    {
        int leftId = Id(left, path);
        int rightId = Id(right, path);
        string joined = left + (right.StartsWith(continuingPrefix, StringComparison.Ordinal) ? right[continuingPrefix.Length..] : right);
        int joinedId = Id(joined, path);
        if (!vocabulary.IsReserved(joinedId))
            _merges[MergeTable.Key(leftId, rightId)] = new(_rank, joinedId);
        _rank++;
        foreach (int last in Ends(left, leftId, last: true))
            foreach (int first in Ends(right, rightId, last: false))
                _seams.Add(MergeTable.Key(last, first));
    }

    /// <summary>The table; with prefixes and suffixes its seams are not known.</summary>
    public MergeTable Build(bool plainCharacters) => new(_merges, plainCharacters ? _seams : null);

    // The symbol a token begins or ends with before any merge: its character there, or the token itself where it may be a symbol (a byte piece, the
    // unknown token).
    private IEnumerable<int> Ends(string token, int id, bool last)
    {
        if (token.Length == 0 || token[0] == '<')
            yield return id;
        Rune rune;
        int length;
        if (last)
            Rune.DecodeLastFromUtf16(token, out rune, out length);
        else
            Rune.DecodeFromUtf16(token, out rune, out length);
        int character = vocabulary.IdOf(last ? token.AsSpan(token.Length - length) : token.AsSpan(0, length));
        if (character >= 0)
            yield return character;
    }

    private int Id(string token, string path)
    {
        int id = vocabulary.IdOf(token);
        return id >= 0 ? id : throw new TokenizerException($"{path}: merge {_rank} needs the token '{Vocabulary.Shorten(token)}', which is not in the vocabulary.");
    }
}
