using System.Numerics;

namespace TpServe.Grammar.Masks;

/// <summary>A set of tokens that is kept: as ids where there are few, else as bits.</summary>
internal sealed class TokenBits
{
    private readonly int[]? _few;
    private readonly ulong[]? _many;

    public TokenBits(List<int> tokens, int words)
    {
        // An id takes half a word; up to the size of the bits the list is smaller, and quicker to add well below it.
        if (tokens.Count < words / 2)
        {
            _few = [.. tokens];
            return;
        }
        _many = new ulong[words];
        foreach (int token in tokens)
            _many[token >> 6] |= 1ul << (token & 63);
    }

    public TokenBits(ulong[] bits) => _many = bits;

    public long Bytes => _few is null ? _many!.Length * 8L : _few.Length * 4L;

    public void AddTo(Span<ulong> mask)
    {
        if (_few is not null)
        {
            foreach (int token in _few)
                mask[token >> 6] |= 1ul << (token & 63);
            return;
        }
        ReadOnlySpan<ulong> from = _many;
        mask = mask[..from.Length];
        int i = 0;
        for (; i + Vector<ulong>.Count <= from.Length; i += Vector<ulong>.Count)
            (new Vector<ulong>(mask[i..]) | new Vector<ulong>(from[i..])).CopyTo(mask[i..]);
        for (; i < from.Length; i++)
            mask[i] |= from[i];
    }
}
