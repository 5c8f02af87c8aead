using TpServe.Tokenization;

namespace TpServe.Grammar.Masks;

/// <summary>The byte strings of a vocabulary's tokens as a tree, laid out in preorder: a walk goes straight through memory and skips whole subtrees.</summary>
/// <remarks>
/// Special tokens stand under bytes of their own (<see cref="SpecialTokens"/>): only a grammar that names one allows it. Tokens without bytes are left out.
/// Built once for each vocabulary.
/// Threads  immutable.
/// Source   the layout of llguidance's token trie.
/// </remarks>
public sealed class TokenTrie
{
    private readonly byte[] _bytes;
    private readonly int[] _depths;
    private readonly int[] _ends;
    private readonly int[] _firstToken;
    private readonly int[] _tokens;
    private readonly byte[]?[] _tokenBytes;
    private readonly byte[] _classesBelow;
    private readonly int[] _heights;
    private readonly Lazy<StringTokens> _strings;

    private TokenTrie(byte[]?[] tokenBytes)
    {
        _tokenBytes = tokenBytes;
        VocabularySize = tokenBytes.Length;
        int[] ids = [.. Enumerable.Range(0, tokenBytes.Length).Where(id => tokenBytes[id] is { Length: > 0 })];
        Array.Sort(ids, (a, b) => tokenBytes[a].AsSpan().SequenceCompareTo(tokenBytes[b]) is int order and not 0 ? order : a.CompareTo(b));
        List<byte> bytes = [0];
        List<int> depths = [0], firsts = [0], ends = [0], path = [0];
        byte[] last = [];
        for (int i = 0; i < ids.Length; i++)
        {
            byte[] token = tokenBytes[ids[i]]!;
            int shared = token.AsSpan().CommonPrefixLength(last);
            Close(shared);
            for (int depth = shared + 1; depth <= token.Length; depth++)
            {
                path.Add(bytes.Count);
                bytes.Add(token[depth - 1]);
                depths.Add(depth);
                ends.Add(0);
                firsts.Add(i); // tokens of a node come before those of its children, after those of the nodes before it
            }
            last = token;
        }
        Close(0);
        ends[0] = bytes.Count;
        firsts.Add(ids.Length);
        _bytes = [.. bytes];
        _depths = [.. depths];
        _ends = [.. ends];
        _tokens = ids;
        _firstToken = FirstTokens(firsts, ids, tokenBytes);
        LongestToken = _depths.Max();
        (_classesBelow, _heights) = Subtrees();
        _strings = new Lazy<StringTokens>(() => new StringTokens(this));

        void Close(int depth)
        {
            for (; path.Count > depth + 1; path.RemoveAt(path.Count - 1))
                ends[path[^1]] = bytes.Count;
        }
    }

    /// <summary>One more than the largest id: the bits of a mask.</summary>
    public int VocabularySize { get; }

    /// <summary>Words of 64 bits that a mask has.</summary>
    public int MaskWords => (VocabularySize + 63) / 64;

    /// <summary>Bytes of the longest token.</summary>
    public int LongestToken { get; }

    /// <summary>Nodes, the root included.</summary>
    public int Nodes => _bytes.Length;

    internal ReadOnlySpan<byte> Bytes => _bytes;

    internal ReadOnlySpan<int> Depths => _depths;

    /// <summary>One past the last node of each node's subtree.</summary>
    internal ReadOnlySpan<int> Ends => _ends;

    /// <summary>For each node, the classes that hold every byte below it.</summary>
    internal ReadOnlySpan<byte> ClassesBelow => _classesBelow;

    /// <summary>For each node, the bytes of the longest path below it.</summary>
    internal ReadOnlySpan<int> Heights => _heights;

    /// <summary>All tokens in order of their bytes, so that those of a subtree stand together.</summary>
    internal ReadOnlySpan<int> Tokens => _tokens;

    /// <summary>Where in <see cref="Tokens"/> those of each node begin; one more entry than nodes.</summary>
    internal ReadOnlySpan<int> FirstToken => _firstToken;

    internal StringTokens Strings => _strings.Value;

    /// <summary>The trie of a tokenizer's tokens.</summary>
    public static TokenTrie Of(Tokenizer tokenizer)
    {
        byte[]?[] bytes = new byte[]?[tokenizer.VocabularySize];
        for (int id = 0; id < bytes.Length; id++)
            bytes[id] = tokenizer.IsSpecial(id) ? SpecialTokens.BytesOf(id) : tokenizer.TokenBytes(id).ToArray() is var text && !text.Contains(SpecialTokens.Lead) ? text : null;
        return Of(bytes);
    }

    /// <summary>The trie of tokens by their bytes; null or empty = never allowed.</summary>
    public static TokenTrie Of(IReadOnlyList<byte[]?> tokenBytes) => new([.. tokenBytes]);

    /// <summary>The bytes of a token; empty where it is in no text.</summary>
    public ReadOnlySpan<byte> BytesOf(int token) => (uint)token < (uint)_tokenBytes.Length ? _tokenBytes[token] : [];

    /// <summary>The tokens whose bytes end at a node.</summary>
    internal ReadOnlySpan<int> TokensAt(int node) => _tokens.AsSpan(_firstToken[node].._firstToken[node + 1]);

    /// <summary>The child of a node by its byte, -1 = none.</summary>
    internal int Child(int node, byte value)
    {
        for (int child = node + 1; child < _ends[node]; child = _ends[child])
            if (_bytes[child] == value)
                return child;
        return -1;
    }

    private (byte[] Classes, int[] Heights) Subtrees()
    {
        byte[] classes = new byte[_bytes.Length];
        int[] heights = new int[_bytes.Length];
        for (int node = _bytes.Length - 1; node >= 0; node--)
        {
            classes[node] = 0xFF;
            for (int child = node + 1; child < _ends[node]; child = _ends[child])
            {
                classes[node] &= (byte)(classes[child] & ByteClasses.Members[_bytes[child]]);
                heights[node] = Math.Max(heights[node], heights[child] + 1);
            }
        }
        return (classes, heights);
    }

    // A node's tokens are the run of sorted ids whose bytes are just its path; nodes on the way to a longer token have none.
    private int[] FirstTokens(List<int> firsts, int[] ids, byte[]?[] tokenBytes)
    {
        int[] result = [.. firsts];
        int next = ids.Length;
        for (int node = _bytes.Length - 1; node >= 0; node--)
        {
            int at = firsts[node];
            bool ends = at < ids.Length && node > 0 && tokenBytes[ids[at]]!.Length == _depths[node];
            result[node] = ends ? at : next;
            next = result[node];
        }
        return result;
    }
}
