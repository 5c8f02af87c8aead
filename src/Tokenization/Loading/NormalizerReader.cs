using System.Text;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Loading;

/// <summary>Builds the normalizer of tokenizer.json.</summary>
internal static class NormalizerReader
{
    public static INormalizer Read(JsonPart part) => new NormalizerSequence([.. part.Flatten("normalizers").Select(ReadStep)]);

    /// <summary>A Replace, which decoders have too.</summary>
    public static ReplaceNormalizer ReadReplace(JsonPart part)
    {
        JsonPart pattern = part.Required("pattern");
        string replacement = part.Required("content").Text();
        if (pattern.OptionalText("String") is string literal)
            return new ReplaceNormalizer(literal, null, replacement);
        return new ReplaceNormalizer(null, Pattern.Parse(pattern.Required("Regex").Text()), replacement);
    }

    private static INormalizer ReadStep(JsonPart part) => part.Type() switch
    {
        "NFC" => new UnicodeFormNormalizer(NormalizationForm.FormC),
        "NFD" => new UnicodeFormNormalizer(NormalizationForm.FormD),
        "NFKC" => new UnicodeFormNormalizer(NormalizationForm.FormKC),
        "NFKD" => new UnicodeFormNormalizer(NormalizationForm.FormKD),
        "Lowercase" => new LowercaseNormalizer(),
        "StripAccents" => new RemoveNormalizer(OlderUnicode.CombiningMark),
        "Strip" => new StripNormalizer(part.Flag("strip_left", absent: true), part.Flag("strip_right", absent: true)),
        "Prepend" => new PrependNormalizer(ReadPrefix(part.Required("prepend"))),
        "Replace" => ReadReplace(part),
        "BertNormalizer" => ReadBert(part),
        "ByteLevel" => new ByteLevelNormalizer(),
        _ => throw part.UnknownType(
            "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace", "BertNormalizer", "ByteLevel"),
    };

    private static string ReadPrefix(JsonPart part) =>
        part.Text() is { Length: <= TokenizerLimits.TokenCharacters } prefix ? prefix : throw part.Fault($"at most {TokenizerLimits.TokenCharacters} characters");

    private static BertNormalizer ReadBert(JsonPart part)
    {
        bool lowercase = part.Flag("lowercase", absent: true);
        return new BertNormalizer(
            part.Flag("clean_text", absent: true),
            part.Flag("handle_chinese_chars", absent: true),
            part.Flag("strip_accents", absent: lowercase),
            lowercase);
    }
}
