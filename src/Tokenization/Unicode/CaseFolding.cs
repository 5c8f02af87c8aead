using System.Text;

namespace TpServe.Tokenization.Unicode;

/// <summary>Which code points are one letter to a case-insensitive pattern: those whose lower case has the same upper case.</summary>
/// <remarks>
/// Source   Unicode simple case folding, which this grouping equals for letters without special rules: s, S and U+017F are one; dotted and dotless i are not.
/// </remarks>
internal static class CaseFolding
{
    private const int LastCased = 0x1E943; // Adlam; no later letter has case

    private static readonly Lazy<List<int[]>> Groups = new(FindGroups);

    /// <summary>The set with every other case of each of its letters.</summary>
    public static CodePointSet Close(CodePointSet set)
    {
        List<(int, int)> added = [.. set.Ranges];
        foreach (int[] group in Groups.Value)
            if (group.Any(set.Contains))
                added.AddRange(group.Select(codePoint => (codePoint, codePoint)));
        return CodePointSet.FromRanges(added);
    }

    private static List<int[]> FindGroups()
    {
        Dictionary<int, List<int>> byKey = [];
        for (int codePoint = 'A'; codePoint <= LastCased; codePoint++)
        {
            if (!Rune.IsValid(codePoint))
                continue;
            Rune rune = new(codePoint);
            Rune lower = Rune.ToLowerInvariant(rune);
            int key = Rune.ToUpperInvariant(lower).Value;
            if (key == codePoint && lower == rune)
                continue;
            Add(key, key);
            Add(key, codePoint);
        }
        return [.. byKey.Values.Where(group => group.Count > 1).Select(group => group.ToArray())];

        void Add(int key, int codePoint)
        {
            if (!byKey.TryGetValue(key, out List<int>? group))
                byKey[key] = group = [];
            if (!group.Contains(codePoint))
                group.Add(codePoint);
        }
    }
}
