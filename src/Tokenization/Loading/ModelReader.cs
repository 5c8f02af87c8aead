using System.Text.Json;
using TpServe.Tokenization.Models;

namespace TpServe.Tokenization.Loading;

/// <summary>Builds the model of tokenizer.json.</summary>
internal static class ModelReader
{
    /// <param name="part">The model member.</param>
    /// <param name="special">Texts of special tokens, which the model itself must not make.</param>
    public static ITokenModel Read(JsonPart part, IReadOnlySet<string> special) => Type(part) switch
    {
        "BPE" => ReadBpe(part, special),
        "Unigram" => ReadUnigram(part, special),
        "WordPiece" => ReadWordPiece(part, special),
        "WordLevel" => ReadWordLevel(part, special),
        _ => throw part.UnknownType("BPE", "Unigram", "WordPiece", "WordLevel"),
    };

    // Files of the earliest versions leave the type out; only a BPE model has merges.
    private static string Type(JsonPart part) => part.Optional("type") is null && part.Optional("merges") is not null ? "BPE" : part.Type();

    private static BpeModel ReadBpe(JsonPart part, IReadOnlySet<string> special)
    {
        Vocabulary vocabulary = ReadVocabulary(part, special);
        BpeOptions options = new()
        {
            UnknownId = UnknownId(part, vocabulary),
            FuseUnknown = part.Flag("fuse_unk", absent: false),
            ByteFallback = part.Flag("byte_fallback", absent: false),
            IgnoreMerges = part.Flag("ignore_merges", absent: false),
            ContinuingSubwordPrefix = part.OptionalText("continuing_subword_prefix") ?? "",
            EndOfWordSuffix = part.OptionalText("end_of_word_suffix") ?? "",
        };
        MergeTableBuilder merges = new(vocabulary, options.ContinuingSubwordPrefix);
        string path = $"{part.Path}.merges";
        foreach (JsonPart merge in part.Required("merges").Items(TokenizerLimits.Merges))
        {
            if (merge.Kind == JsonValueKind.String)
            {
                merges.Add(merge.Text(), path);
                continue;
            }
            if (merge.Items(2) is not [JsonPart left, JsonPart right])
                throw merge.Fault("two tokens");
            merges.Add(left.Text(), right.Text(), path);
        }
        return new BpeModel(vocabulary, merges.Build(options.ContinuingSubwordPrefix.Length + options.EndOfWordSuffix.Length == 0), options);
    }

    private static UnigramModel ReadUnigram(JsonPart part, IReadOnlySet<string> special)
    {
        List<JsonPart> entries = part.Required("vocab").Items(TokenizerLimits.VocabularyTokens);
        if (entries.Count == 0)
            throw part.Required("vocab").Fault("a list of pieces");
        double[] scores = new double[entries.Count];
        List<KeyValuePair<string, int>> tokens = [];
        for (int id = 0; id < entries.Count; id++)
        {
            if (entries[id].Items(2) is not [JsonPart text, JsonPart score])
                throw entries[id].Fault("a piece and its score");
            tokens.Add(new(text.Text(), id));
            scores[id] = score.Number();
        }
        int? unknownId = part.Optional("unk_id")?.Integer(0, entries.Count - 1);
        return new UnigramModel(new Vocabulary(tokens, special, part.Path), scores, unknownId, part.Flag("byte_fallback", absent: false));
    }

    private static WordPieceModel ReadWordPiece(JsonPart part, IReadOnlySet<string> special)
    {
        Vocabulary vocabulary = ReadVocabulary(part, special);
        return new WordPieceModel(
            vocabulary,
            UnknownId(part, vocabulary) ?? throw new TokenizerException($"{part.Path} has no 'unk_token', which WordPiece needs."),
            part.OptionalText("continuing_subword_prefix") ?? "##",
            part.Optional("max_input_chars_per_word")?.Integer(0, int.MaxValue) ?? 100);
    }

    private static WordLevelModel ReadWordLevel(JsonPart part, IReadOnlySet<string> special)
    {
        Vocabulary vocabulary = ReadVocabulary(part, special);
        string? unknown = part.OptionalText("unk_token");
        return new WordLevelModel(vocabulary, unknown is not null && vocabulary.IdOf(unknown) is >= 0 and int id ? id : null);
    }

    private static Vocabulary ReadVocabulary(JsonPart part, IReadOnlySet<string> special) =>
        new(part.Required("vocab").IntegerMembers(TokenizerLimits.VocabularyTokens), special, $"{part.Path}.vocab");

    private static int? UnknownId(JsonPart part, Vocabulary vocabulary)
    {
        if (part.OptionalText("unk_token") is not string text)
            return null;
        int id = vocabulary.IdOf(text);
        return id >= 0 ? id : throw new TokenizerException($"{part.Path}.unk_token '{Vocabulary.Shorten(text)}' is not in the vocabulary.");
    }
}
