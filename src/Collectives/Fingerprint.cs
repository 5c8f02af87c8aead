namespace TpServe.Collectives;

/// <summary>FNV-1a over 32-bit words: a short name for data that all ranks must agree on. Not for security.</summary>
internal static class Fingerprint
{
    /// <summary>The hash of nothing.</summary>
    public const ulong Empty = 14695981039346656037UL;

    /// <summary>The hash of what came before and one more number.</summary>
    public static ulong With(this ulong hash, int value) => (hash ^ (uint)value) * 1099511628211UL;

    /// <summary>The hash of what came before, a length, and so many numbers.</summary>
    public static ulong With(this ulong hash, IReadOnlyList<int> values)
    {
        hash = hash.With(values.Count);
        for (int i = 0; i < values.Count; i++)
            hash = hash.With(values[i]);
        return hash;
    }
}
