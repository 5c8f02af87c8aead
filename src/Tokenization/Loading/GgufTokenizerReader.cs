using System.Collections.Frozen;
using TpServe.Checkpoint;
using TpServe.Tokenization.AddedTokens;
using TpServe.Tokenization.Decoders;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.PreTokenizers;

namespace TpServe.Tokenization.Loading;

/// <summary>Builds a tokenizer's pipeline from the vocabulary of a GGUF file.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> for a kind of vocabulary or a split pattern that is not known, and for what does not fit together.
/// Source   GGUF specification, "Tokenizer"; where it is silent (defaults of add_bos, which pattern a name means), llama.cpp's practice.
/// </remarks>
internal static class GgufTokenizerReader
{
    private const string Source = "tokenizer.ggml.tokens";
    private const char Mark = '\u2581';
    private const int Unknown = 2, Control = 3, UserDefined = 4, Unused = 5;

    public static TokenizerParts Read(GgufVocabulary vocabulary)
    {
        if (vocabulary.Tokens.Count == 0)
            throw new TokenizerException($"{Source} is empty.");
        CheckLength("token_type", vocabulary.Types.Count, vocabulary);
        return vocabulary.Model switch
        {
            "gpt2" => ReadByteLevel(vocabulary),
            "llama" => ReadSentencePiece(vocabulary),
            _ => throw new TokenizerException($"tokenizer.ggml.model '{Vocabulary.Shorten(vocabulary.Model)}' is not supported; these are: gpt2, llama."),
        };
    }

    private static TokenizerParts ReadByteLevel(GgufVocabulary file)
    {
        GgufSplit split = GgufSplit.Named(file.Pre);
        Vocabulary vocabulary = AllTokens(file);
        if (file.Merges.Count > TokenizerLimits.Merges)
            throw new TokenizerException($"tokenizer.ggml.merges has {file.Merges.Count} entries; the limit is {TokenizerLimits.Merges}.");
        MergeTableBuilder merges = new(vocabulary, continuingPrefix: "");
        foreach (string merge in file.Merges)
            merges.Add(merge, "tokenizer.ggml.merges");
        return new TokenizerParts
        {
            Normalizer = split.Normalizer,
            PreTokenizer = split.PreTokenizer,
            Model = new BpeModel(vocabulary, merges.Build(plainCharacters: true), new BpeOptions { IgnoreMerges = split.IgnoreMerges }),
            Added = new AddedVocabulary(Added(file, type => type is Unknown or Control or UserDefined), split.Normalizer),
            Template = Template(file, bosByDefault: split.AddsBos),
            Decoder = new DecoderChain([() => new ByteLevelStage()]),
            BosTokenId = file.BosId,
        };
    }

    private static TokenizerParts ReadSentencePiece(GgufVocabulary file)
    {
        Vocabulary vocabulary = AllTokens(file);
        if (file.Scores.Count != file.Tokens.Count)
            throw new TokenizerException($"tokenizer.ggml.scores has {file.Scores.Count} entries for {file.Tokens.Count} tokens.");
        bool prefix = file.AddSpacePrefix ?? true;
        List<KeyValuePair<string, int>> mergeable = [];
        HashSet<int> unused = [];
        TextTrie userDefined = new();
        for (int id = 0; id < file.Tokens.Count; id++)
        {
            int type = TypeOf(file, id);
            string text = Marked(file.Tokens[id]);
            if (text.Length == 0 || type is not (1 or UserDefined or Unused))
                continue;
            mergeable.Add(new(text, id));
            if (type == Unused)
                unused.Add(id);
            if (type == UserDefined)
                userDefined.Add(text, id);
        }
        INormalizer marks = new ReplaceNormalizer(" ", null, Mark.ToString());
        List<Func<DecoderStage>> decoder = [() => new ReplaceStage(new ReplaceNormalizer(Mark.ToString(), null, " ")), () => new BytePiecesStage()];
        if (prefix)
            decoder.Add(() => new StripStage(' ', start: 1, stop: 0));
        return new TokenizerParts
        {
            Normalizer = prefix ? new NormalizerSequence([new PrependNormalizer(Mark.ToString()), marks]) : marks,
            Model = new SentencePieceModel(vocabulary, new Vocabulary(mergeable, FrozenSet<string>.Empty, Source), [.. file.Scores], unused, userDefined, file.UnknownId),
            Added = new AddedVocabulary(Added(file, type => type is Unknown or Control), normalizer: null),
            Template = Template(file, bosByDefault: true),
            Decoder = new DecoderChain(decoder),
            BosTokenId = file.BosId,
        };
    }

    // Conversions differ in how they write the spaces of user-defined pieces.
    private static string Marked(string text) => text.Replace(' ', Mark);

    private static Vocabulary AllTokens(GgufVocabulary file) =>
        new(
        [.. file.Tokens.Select((text, id) => new KeyValuePair<string, int>(text, id))],
        file.Tokens.Where((_, id) => TypeOf(file, id) is Unknown or Control).ToHashSet(StringComparer.Ordinal),
        Source);

    // User-defined tokens are found like special ones, but in any text.
    private static IEnumerable<AddedToken> Added(GgufVocabulary file, Func<int, bool> isAdded)
    {
        for (int id = 0; id < file.Tokens.Count; id++)
            if (isAdded(TypeOf(file, id)))
                yield return new AddedToken { Text = file.Tokens[id], Id = id, Special = TypeOf(file, id) != UserDefined };
    }

    private static SpecialTokenTemplate Template(GgufVocabulary file, bool bosByDefault)
    {
        CheckId("bos_token_id", file.BosId, file);
        CheckId("eos_token_id", file.EosId, file);
        CheckId("unknown_token_id", file.UnknownId, file);
        bool bos = file.AddBos ?? (bosByDefault && file.BosId is not null);
        bool eos = file.AddEos ?? false;
        return new SpecialTokenTemplate(
            bos ? [file.BosId ?? throw new TokenizerException("tokenizer.ggml.add_bos_token is true, but there is no bos_token_id.")] : [],
            eos ? [file.EosId ?? throw new TokenizerException("tokenizer.ggml.add_eos_token is true, but there is no eos_token_id.")] : []);
    }

    private static int TypeOf(GgufVocabulary file, int id) => file.Types.Count == 0 ? 1 : file.Types[id];

    private static void CheckLength(string name, int count, GgufVocabulary file)
    {
        if (count != 0 && count != file.Tokens.Count)
            throw new TokenizerException($"tokenizer.ggml.{name} has {count} entries for {file.Tokens.Count} tokens.");
    }

    private static void CheckId(string name, int? id, GgufVocabulary file)
    {
        if (id is int value && (uint)value >= (uint)file.Tokens.Count)
            throw new TokenizerException($"tokenizer.ggml.{name} is {value}; ids run from 0 to {file.Tokens.Count - 1}.");
    }
}
