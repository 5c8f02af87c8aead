using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>The tokenizer's material and the special ids from tokenizer.ggml.*.</summary>
internal static class GgufTokenizer
{
    private const string Prefix = "tokenizer.ggml.";

    /// <summary>Reads the vocabulary; where it is not required, a file without one gives an empty one.</summary>
    public static TokenizerFiles Read(GgufMetadata metadata, bool required, List<string> warnings)
    {
        if (required && !metadata.Has(Prefix + "tokens"))
            throw metadata.Missing(Prefix + "tokens");
        IReadOnlyList<string> tokens = metadata.Strings(Prefix + "tokens");
        GgufVocabulary vocabulary = new()
        {
            Model = metadata.String(Prefix + "model") ?? (required ? throw metadata.Missing(Prefix + "model") : "none"),
            Pre = metadata.String(Prefix + "pre"),
            Tokens = tokens,
            Scores = OnePerToken("scores", metadata.Floats(Prefix + "scores")),
            Types = OnePerToken("token_type", metadata.Ints(Prefix + "token_type", 0, int.MaxValue)),
            Merges = metadata.Strings(Prefix + "merges"),
            BosId = Id("bos_token_id"),
            EosId = Id("eos_token_id"),
            UnknownId = Id("unknown_token_id"),
            PaddingId = Id("padding_token_id"),
            AddBos = metadata.Bool(Prefix + "add_bos_token"),
            AddEos = metadata.Bool(Prefix + "add_eos_token"),
            AddSpacePrefix = metadata.Bool(Prefix + "add_space_prefix"),
        };
        return new TokenizerFiles
        {
            Vocabulary = vocabulary,
            ChatTemplate = metadata.String("tokenizer.chat_template"),
            BosToken = vocabulary.BosId is { } bos ? tokens[bos] : null,
            EosToken = vocabulary.EosId is { } eos ? tokens[eos] : null,
            AddBosToken = vocabulary.AddBos,
        };

        int? Id(string key) => tokens.Count == 0 ? null : metadata.Index(Prefix + key, tokens.Count, warnings);

        IReadOnlyList<T> OnePerToken<T>(string key, IReadOnlyList<T> values) => values.Count == 0 || values.Count == tokens.Count
            ? values
            : throw new ModelLoadException($"{metadata.Path}: '{Prefix}{key}' has {values.Count} elements; there are {tokens.Count} tokens.");
    }

    /// <summary>Special ids, and sampling defaults where the file has them.</summary>
    public static GenerationDefaults ReadGeneration(GgufMetadata metadata)
    {
        string[] endKeys = ["eos_token_id", "eot_token_id", "eom_token_id"];
        int tokens = metadata.Count(Prefix + "tokens") is > 0 and var count ? count : int.MaxValue;
        return new GenerationDefaults
        {
            EosTokenIds = [.. endKeys.Select(key => metadata.Index(Prefix + key, tokens)).OfType<int>().Distinct()],
            BosTokenId = metadata.Index(Prefix + "bos_token_id", tokens),
            Temperature = metadata.Float("general.sampling.temp", 0, ConfigLimits.MaxFactor),
            TopK = metadata.Int("general.sampling.top_k", 0, int.MaxValue),
            TopP = metadata.Float("general.sampling.top_p", 0, 1),
            MinP = metadata.Float("general.sampling.min_p", 0, 1),
            RepetitionPenalty = metadata.Float("general.sampling.penalty_repeat", ConfigLimits.Tiny, ConfigLimits.MaxFactor),
        };
    }
}
