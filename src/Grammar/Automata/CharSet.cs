namespace TpServe.Grammar.Automata;

/// <summary>A set of symbols (code points, or bytes) as sorted, disjoint, non-adjacent ranges.</summary>
internal sealed class CharSet
{
    public const int LastCodePoint = 0x10FFFF;

    private CharSet((int Lo, int Hi)[] ranges) => Ranges = ranges;

    public static CharSet Empty { get; } = new([]);

    /// <summary>Every scalar value: code points without the surrogates.</summary>
    public static CharSet All { get; } = new([(0, 0xD7FF), (0xE000, LastCodePoint)]);

    public (int Lo, int Hi)[] Ranges { get; }

    public bool IsEmpty => Ranges.Length == 0;

    public static CharSet Of(int lo, int hi) => new([(lo, hi)]);

    public static CharSet Of(string characters) => Of(characters.Select(c => ((int)c, (int)c)));

    public static CharSet Of(IEnumerable<(int Lo, int Hi)> ranges)
    {
        List<(int Lo, int Hi)> merged = [];
        foreach ((int lo, int hi) in ranges.OrderBy(range => range.Lo))
        {
            if (merged.Count > 0 && lo <= merged[^1].Hi + 1)
                merged[^1] = (merged[^1].Lo, Math.Max(merged[^1].Hi, hi));
            else
                merged.Add((lo, hi));
        }
        return new([.. merged]);
    }

    public CharSet Union(CharSet other) => Of(Ranges.Concat(other.Ranges));

    /// <summary>The scalar values that are not in this set.</summary>
    public CharSet Negate() => All.Except(this);

    public CharSet Except(CharSet other)
    {
        List<(int, int)> left = [];
        int j = 0;
        foreach ((int lo, int hi) in Ranges)
        {
            int at = lo;
            while (j < other.Ranges.Length && other.Ranges[j].Hi < at)
                j++;
            for (int k = j; k < other.Ranges.Length && other.Ranges[k].Lo <= hi && at <= hi; k++)
            {
                if (other.Ranges[k].Lo > at)
                    left.Add((at, other.Ranges[k].Lo - 1));
                at = other.Ranges[k].Hi + 1;
            }
            if (at <= hi)
                left.Add((at, hi));
        }
        return new([.. left]);
    }

    public CharSet Intersect(CharSet other) => Except(Of([.. Complement(other)]));

    public bool Contains(int symbol) => Array.Exists(Ranges, range => range.Lo <= symbol && symbol <= range.Hi);

    // Over all integers that symbols can be, so that surrogates do not get lost on the way.
    private static IEnumerable<(int, int)> Complement(CharSet set)
    {
        int at = 0;
        foreach ((int lo, int hi) in set.Ranges)
        {
            if (lo > at)
                yield return (at, lo - 1);
            at = hi + 1;
        }
        yield return (at, int.MaxValue - 1);
    }
}
