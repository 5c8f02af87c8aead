using TpServe.Gateway.Tokenization.Models;

namespace TpServe.Gateway.Tokenization.Loading;

/// <summary>Collects merges in order of rank; a merge given twice has its later rank.</summary>
/// <param name="vocabulary">Holds both sides and the result of every merge.</param>
/// <param name="continuingPrefix">What a right side loses when it joins a left one.</param>
internal sealed class MergeTableBuilder(Vocabulary vocabulary, string continuingPrefix)
{
    private readonly Dictionary<long, MergeTable.Merge> _merges = [];
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
        _merges[MergeTable.Key(leftId, rightId)] = new(_rank++, Id(joined, path));
    }

    public MergeTable Build() => new(_merges);

    private int Id(string token, string path)
    {
        int id = vocabulary.IdOf(token);
        return id >= 0 ? id : throw new TokenizerException($"{path}: merge {_rank} needs the token '{Vocabulary.Shorten(token)}', which is not in the vocabulary.");
    }
}
