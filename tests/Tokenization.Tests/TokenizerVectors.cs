using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Tokenization.Tests;

/// <summary>Reads the golden vectors of one tokenizer and holds a tokenizer against them; every difference is reported, the first ones in words.</summary>
internal static class TokenizerVectors
{
    private const int Shown = 8;

    /// <summary>Encoding with and without special tokens, and decoding both, row by row.</summary>
    public static void CheckVectors(Tokenizer tokenizer, string file)
    {
        List<string> faults = [];
        int rows = 0;
        foreach (JsonElement row in Rows(file))
        {
            rows++;
            string text = row.GetProperty("text").GetString()!;
            int[] ids = Ids(row, "ids"), special = Ids(row, "ids_special");
            Compare(faults, text, "ids", ids, tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true));
            Compare(faults, text, "ids_special", special, tokenizer.Encode(text, addSpecialTokens: true, parseSpecialTokens: true));
            Compare(faults, text, "decoded", row.GetProperty("decoded").GetString()!, tokenizer.Decode(ids, skipSpecialTokens: false));
            if (row.TryGetProperty("decoded_skip", out JsonElement skipped))
                Compare(faults, text, "decoded_skip", skipped.GetString()!, tokenizer.Decode(special, skipSpecialTokens: true));
        }
        Report(faults, rows, file);
    }

    /// <summary>Decoding of arbitrary ids.</summary>
    public static void CheckDecodes(Tokenizer tokenizer, string file)
    {
        List<string> faults = [];
        int rows = 0;
        foreach (JsonElement row in Rows(file))
        {
            rows++;
            int[] ids = Ids(row, "ids");
            string name = string.Join(',', ids);
            Compare(faults, name, "decoded", row.GetProperty("decoded").GetString()!, tokenizer.Decode(ids, skipSpecialTokens: false));
            Compare(faults, name, "decoded_skip", row.GetProperty("decoded_skip").GetString()!, tokenizer.Decode(ids, skipSpecialTokens: true));
        }
        Report(faults, rows, file);
    }

    /// <summary>Decoding token by token: every prefix as the reference has it; what is pushed is never taken back and adds up to the whole.</summary>
    public static void CheckStreams(Tokenizer tokenizer, string file)
    {
        List<string> faults = [];
        int rows = 0;
        foreach (JsonElement row in Rows(file))
        {
            rows++;
            int[] ids = Ids(row, "ids");
            string[] prefixes = [.. row.GetProperty("prefix_decodes").EnumerateArray().Select(prefix => prefix.GetString()!)];
            StreamingDetokenizer stream = new(tokenizer, skipSpecialTokens: false);
            string pushed = "";
            for (int k = 1; k <= ids.Length; k++)
            {
                Compare(faults, prefixes[^1], $"prefix {k}", prefixes[k - 1], tokenizer.Decode(ids[..k], skipSpecialTokens: false));
                pushed += stream.Push(ids[k - 1]);
                for (int later = k; later <= ids.Length; later++)
                    if (!prefixes[later - 1].StartsWith(pushed, StringComparison.Ordinal))
                        faults.Add($"after {k} tokens {Quote(pushed)} was pushed, but {later} tokens are {Quote(prefixes[later - 1])}");
            }
            Compare(faults, prefixes[^1], "pushed and flushed", prefixes[^1], pushed + stream.Flush());
        }
        Report(faults, rows, file);
    }

    public static IEnumerable<JsonElement> Rows(string file)
    {
        foreach (string line in File.ReadLines(file))
            yield return JsonSerializer.Deserialize<JsonElement>(line);
    }

    public static int[] Ids(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];

    public static string Golden(string relative) => TestData.FindOrIgnore(Path.Combine("tokenizers", relative));

    private static void Compare(List<string> faults, string text, string what, IReadOnlyList<int> expected, IReadOnlyList<int> actual)
    {
        if (!expected.SequenceEqual(actual))
            faults.Add($"{Quote(text)} {what}: expected {string.Join(',', expected.Take(30))} but was {string.Join(',', actual.Take(30))}");
    }

    private static void Compare(List<string> faults, string text, string what, string expected, string actual)
    {
        if (expected != actual)
            faults.Add($"{Quote(text)} {what}: expected {Quote(expected)} but was {Quote(actual)}");
    }

    private static string Quote(string text) => JsonSerializer.Serialize(text.Length > 80 ? text[..80] : text);

    private static void Report(List<string> faults, int rows, string file)
    {
        Assert.That(rows, Is.GreaterThan(0), $"{file} holds rows");
        Assert.That(faults, Is.Empty, $"{faults.Count} differences in {rows} rows of {file}:\n{string.Join('\n', faults.Take(Shown))}");
    }
}
