using System.Globalization;
using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Tests;

/// <summary>Whole classes against the reference's, code point by code point.</summary>
public sealed class UnicodeClassesTests
{
    private JsonElement _classes;

    [OneTimeSetUp]
    public void ReadClasses() => _classes = JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(TokenizerVectors.Golden("unicode-classes.json")));

    [Test]
    public void Pattern_EveryClass_HasTheReferencesMembers()
    {
        foreach (JsonProperty group in _classes.GetProperty("regex").EnumerateObject())
        {
            Pattern pattern = Pattern.Parse(group.Name);
            CheckMembers(group.Name, group.Value, codePoint =>
            {
                List<(int, int)> matches = [];
                pattern.FindAll(char.ConvertFromUtf32(codePoint), matches);
                return matches.Count == 1;
            });
        }
    }

    [Test]
    public void PreTokenizers_EveryClass_HasTheReferencesMembers()
    {
        JsonElement group = _classes.GetProperty("pre_tokenizers");
        CheckMembers("Punctuation", group.GetProperty("Punctuation"), OlderUnicode.Punctuation.Contains);
        CheckMembers("Digits", group.GetProperty("Digits"), UnicodeClasses.Numeric.Contains);
        CheckMembers("WhitespaceSplit", group.GetProperty("WhitespaceSplit"), UnicodeClasses.WhiteSpace.Contains);
        CheckMembers("BertPreTokenizer", group.GetProperty("BertPreTokenizer"), OlderUnicode.Punctuation.Union(UnicodeClasses.WhiteSpace).Contains);
        CheckMembers("Whitespace", group.GetProperty("Whitespace word characters"), UnicodeClasses.RustWord.Contains);
    }

    [Test]
    public void Normalizers_EveryClass_HasTheReferencesMembers()
    {
        JsonElement group = _classes.GetProperty("normalizers");
        RemoveNormalizer accents = new(OlderUnicode.CombiningMark);
        BertNormalizer clean = new(cleanText: true, handleChineseCharacters: false, stripAccents: false, lowercase: false);
        BertNormalizer chinese = new(cleanText: false, handleChineseCharacters: true, stripAccents: false, lowercase: false);
        StripNormalizer strip = new(left: true, right: true);
        CheckMembers("StripAccents", group.GetProperty("StripAccents removes"), codePoint => accents.Normalize(Text(codePoint)).Length == 0);
        CheckMembers("Strip", group.GetProperty("Strip removes"), codePoint => strip.Normalize(Text(codePoint)).Length == 0);
        CheckMembers("clean_text", group.GetProperty("BertNormalizer clean_text removes"), codePoint => clean.Normalize(Text(codePoint)).Length == 0);
        CheckMembers("spaces", group.GetProperty("BertNormalizer clean_text turns into a space"), codePoint => clean.Normalize(Text(codePoint)) == " ");
        CheckMembers("chinese", group.GetProperty("BertNormalizer handle_chinese_chars surrounds with spaces"),
            codePoint => chinese.Normalize(Text(codePoint)) == $" {Text(codePoint)} ");
        CheckMembers("strip_accents", group.GetProperty("BertNormalizer strip_accents removes"), OlderUnicode.NonspacingMark.Contains);
    }

    [Test]
    public void Lowercase_PairsOfYoungUnicode_AreMapped()
    {
        LowercaseNormalizer lowercase = new();
        foreach (int codePoint in Members(_classes.GetProperty("normalizers").GetProperty("Lowercase differs from Unicode 14 per-character lowercase")))
            Assert.That(lowercase.Normalize(Text(codePoint)), Is.Not.EqualTo(Text(codePoint)), $"U+{codePoint:X4}");
        Assert.That(lowercase.Normalize("ΟΔΟΣ İ"), Is.EqualTo("οδοσ i\u0307"));
    }

    [TestCase("NFD", NormalizationForm.FormD)]
    [TestCase("NFKC", NormalizationForm.FormKC)]
    [TestCase("NFKD", NormalizationForm.FormKD)]
    public void UnicodeForm_CharactersTheReferenceDoesNotKnow_StayAsTheyAre(string name, NormalizationForm form)
    {
        UnicodeFormNormalizer normalizer = new(form);
        foreach (int codePoint in Members(_classes.GetProperty("normalizers").GetProperty($"{name} of the single character differs from Unicode 14")))
            Assert.That(normalizer.Normalize("a" + Text(codePoint) + "b"), Is.EqualTo("a" + Text(codePoint) + "b"), $"U+{codePoint:X4}");
    }

    private static string Text(int codePoint) => char.ConvertFromUtf32(codePoint);

    private static IEnumerable<int> Members(JsonElement ranges) => ranges.EnumerateArray().SelectMany(range =>
    {
        string[] ends = range.GetString()!.Split('-');
        int first = int.Parse(ends[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return Enumerable.Range(first, int.Parse(ends[^1], NumberStyles.HexNumber, CultureInfo.InvariantCulture) - first + 1);
    });

    private static void CheckMembers(string name, JsonElement ranges, Func<int, bool> contains)
    {
        HashSet<int> expected = [.. Members(ranges)];
        List<string> differing = [];
        for (int codePoint = 0; codePoint < 0x110000; codePoint++)
            if (Rune.IsValid(codePoint) && contains(codePoint) != expected.Contains(codePoint))
                differing.Add($"U+{codePoint:X4}");
        Assert.That(differing, Is.Empty, $"{name}: {differing.Count} code points differ");
    }
}
