using System.Globalization;

namespace TpServe.Tokenization.Unicode;

/// <summary>An immutable set of Unicode code points; membership in constant time.</summary>
/// <remarks>
/// Threads  any; the lookup table is built on first use, and a race builds it twice with the same content.
/// </remarks>
internal sealed class CodePointSet
{
    public const int Limit = 0x110000;
    private const int PageBits = 8;

    // Inversion list: code point c is in the set where the number of bounds ≤ c is odd.
    private readonly int[] _bounds;
    private Table? _table;

    private CodePointSet(int[] bounds) => _bounds = bounds;

    public static CodePointSet Empty { get; } = new([]);

    public static CodePointSet All { get; } = new([0, Limit]);

    /// <summary>The code points from first to last, both inclusive.</summary>
    public static CodePointSet Range(int first, int last) => new([first, last + 1]);

    public static CodePointSet Of(int codePoint) => Range(codePoint, codePoint);

    /// <summary>Ranges in any order; first and last are inclusive.</summary>
    public static CodePointSet FromRanges(IEnumerable<(int First, int Last)> ranges)
    {
        List<int> bounds = [];
        foreach ((int first, int last) in ranges.OrderBy(range => range.First))
        {
            if (bounds.Count > 0 && first <= bounds[^1])
                bounds[^1] = Math.Max(bounds[^1], last + 1);
            else
                bounds.AddRange([first, last + 1]);
        }
        return new CodePointSet([.. bounds]);
    }

    /// <summary>Ranges as hexadecimal text, "0041-005A 00AA", as Unicode's own files write them.</summary>
    public static CodePointSet Parse(string ranges) =>
        FromRanges(ranges.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(range =>
        {
            string[] ends = range.Split('-');
            return (Hex(ends[0]), Hex(ends[^1]));
        }));

    /// <summary>The single code point of the set, or null.</summary>
    public int? Single => _bounds.Length == 2 && _bounds[1] == _bounds[0] + 1 ? _bounds[0] : null;

    public IEnumerable<(int First, int Last)> Ranges
    {
        get
        {
            for (int i = 0; i < _bounds.Length; i += 2)
                yield return (_bounds[i], _bounds[i + 1] - 1);
        }
    }

    public bool Contains(int codePoint) => (_table ??= new Table(_bounds)).Contains(codePoint);

    public CodePointSet Complement()
    {
        if (_bounds.Length == 0)
            return All;
        IEnumerable<int> bounds = _bounds[0] == 0 ? _bounds.Skip(1) : _bounds.Prepend(0);
        List<int> list = [.. bounds];
        if (list.Count > 0 && list[^1] == Limit)
            list.RemoveAt(list.Count - 1);
        else
            list.Add(Limit);
        return new CodePointSet([.. list]);
    }

    public CodePointSet Union(CodePointSet other) => FromRanges(Ranges.Concat(other.Ranges));

    public CodePointSet Intersect(CodePointSet other) => Complement().Union(other.Complement()).Complement();

    public CodePointSet Except(CodePointSet other) => Intersect(other.Complement());

    private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    // Two levels: the upper bits choose a page of 256 bits; equal pages are stored once.
    private sealed class Table
    {
        private const int Words = (1 << PageBits) / 64;
        private readonly ushort[] _pageOf = new ushort[Limit >> PageBits];
        private readonly ulong[] _bits;

        public Table(int[] bounds)
        {
            List<ulong> bits = [0, 0, 0, 0, ulong.MaxValue, ulong.MaxValue, ulong.MaxValue, ulong.MaxValue]; // page 0: none, page 1: all
            for (int i = 0; i < bounds.Length; i += 2)
                for (int page = bounds[i] >> PageBits; page <= (bounds[i + 1] - 1) >> PageBits; page++)
                    Mark(bits, page, Math.Max(bounds[i], page << PageBits), Math.Min(bounds[i + 1], (page + 1) << PageBits));
            _bits = [.. bits];
        }

        public bool Contains(int codePoint)
        {
            int page = _pageOf[codePoint >> PageBits];
            int offset = codePoint & ((1 << PageBits) - 1);
            return (_bits[(page * Words) + (offset >> 6)] >> (offset & 63) & 1) != 0;
        }

        private void Mark(List<ulong> bits, int page, int from, int to)
        {
            if (to - from == 1 << PageBits)
            {
                _pageOf[page] = 1;
                return;
            }
            if (_pageOf[page] == 0)
            {
                _pageOf[page] = (ushort)(bits.Count / Words);
                bits.AddRange([0, 0, 0, 0]);
            }
            for (int codePoint = from; codePoint < to; codePoint++)
            {
                int offset = codePoint & ((1 << PageBits) - 1);
                bits[(_pageOf[page] * Words) + (offset >> 6)] |= 1UL << (offset & 63);
            }
        }
    }
}
