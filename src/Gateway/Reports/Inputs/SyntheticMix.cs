using System.Globalization;

namespace TpServe.Gateway.Reports.Inputs;

/// <summary>Prompts where the user brings none: passages of the embedded text, short, middle and long in turn, from places that a seed chooses.</summary>
internal static class SyntheticMix
{
    private static readonly int[] s_words = [24, 64, 160];

    /// <summary>The text that lies in the program: English of the public domain (Carroll 1865, Lincoln 1863, Darwin 1859).</summary>
    public static string EmbeddedText { get; } = ReadEmbedded();

    /// <summary>The same prompts for the same seed, on every machine.</summary>
    public static IReadOnlyList<ReportPrompt> Create(ulong seed, int count)
    {
        string[] words = EmbeddedText.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        ulong state = seed;
        return [.. Enumerable.Range(0, count).Select(i =>
        {
            int length = s_words[i % s_words.Length], first = (int)(Next(ref state) % (ulong)(words.Length - length));
            return new ReportPrompt(string.Create(CultureInfo.InvariantCulture, $"synthetic prompt {i + 1}"), string.Join(' ', words.AsSpan(first, length).ToArray()));
        })];
    }

    /// <summary>Source   SplitMix64 (Steele, Lea and Flood 2014).</summary>
    private static ulong Next(ref ulong state)
    {
        unchecked
        {
            ulong z = state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }

    private static string ReadEmbedded()
    {
        using Stream stream = typeof(SyntheticMix).Assembly.GetManifestResourceStream("TpServe.Gateway.Reports.Inputs.Passages.txt")!;
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
