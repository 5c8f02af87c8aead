using System.Text;
using TpServe.Gateway.Tokenization.Models;
using TpServe.Gateway.Tokenization.Normalizers;
using TpServe.Gateway.Tokenization.Patterns;
using TpServe.Gateway.Tokenization.PreTokenizers;

namespace TpServe.Gateway.Tokenization.Loading;

/// <summary>What a name in tokenizer.ggml.pre stands for: a GGUF file holds only the name of its split patterns.</summary>
/// <remarks>
/// Source   the models' own tokenizer.json for the patterns (and NFC, where it has that); llama.cpp for the names.
/// </remarks>
internal sealed record GgufSplit
{
    private const string Contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Blanks = @"\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string Lead = @"[^\r\n\p{L}\p{N}]?";
    private const string Gpt2 = ByteLevelPreTokenizer.Gpt2Pattern;
    private const string Llama3 = Contraction + "|" + Lead + @"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + Blanks;
    private const string Qwen2 = Contraction + "|" + Lead + @"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + Blanks;
    private const string Qwen35 = Contraction + "|" + Lead + @"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + Blanks;
    private const string Gpt4o =
        Lead + Upper + "*" + Lower + "+" + Contraction + "?|" + Lead + Upper + "+" + Lower + "*" + Contraction + @"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + Blanks;
    private const string Tekken = Lead + Upper + "*" + Lower + "+|" + Lead + Upper + "+" + Lower + @"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + Blanks;
    private const string SeedCoder = Contraction + "|" + Lead + @"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|" + Blanks;
    private const string BailingMoe = @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
    private const string ExaoneMoe =
        Contraction + "|" + Lead + @"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
    private const string KimiK2 =
        @"[\p{Han}]+|" +
        Lead + @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + Contraction + "?|" +
        Lead + @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + Contraction + "?|" +
        @"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + Blanks;
    private const string CjkAndKana = @"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
    private const string CjkAndHangul = @"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
    private const string DeepSeekV3 =
        @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + Blanks;
    private const string DeepSeekLlmLetters =
        @"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼ" +
        @"\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ" +
        @"𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
    private const string DeepSeekLlmMarks = @"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
    private const string Bloom = @" ?[^(\s|.,!?…。，、।۔،)]+";

    private static readonly Dictionary<string, Func<GgufSplit>> ByName = MakeTable();

    public required IPreTokenizer PreTokenizer { get; init; }

    public INormalizer? Normalizer { get; init; }

    /// <summary>A piece that is a token as a whole is that token.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>The beginning token is added where the file does not say.</summary>
    public bool AddsBos { get; init; }

    /// <summary>The patterns a name stands for; no name = "default".</summary>
    /// <exception cref="TokenizerException">The name is not known.</exception>
    public static GgufSplit Named(string? name) =>
        ByName.TryGetValue(name ?? "default", out Func<GgufSplit>? make)
            ? make()
            : throw new TokenizerException(
                $"tokenizer.ggml.pre '{Vocabulary.Shorten(name!)}' is not supported; these are: {string.Join(", ", ByName.Keys.Order(StringComparer.Ordinal))}.");

    private static Dictionary<string, Func<GgufSplit>> MakeTable()
    {
        Dictionary<string, Func<GgufSplit>> table = new(StringComparer.Ordinal);
        Add(() => Of(@"[\p{P}\$\+<=>\^~\|]+", Gpt2, @"\p{N}+", "[0-9][0-9][0-9]"), "default");
        Add(() => Of(Gpt2), "gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "a.x-4.0", "mellum", "modern-bert",
            "jina-es", "jina-de", "jina-v2-es", "jina-v2-de");
        Add(() => Of(@"\p{N}", Gpt2), "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2");
        Add(() => Of(Llama3) with { IgnoreMerges = true, AddsBos = true }, "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano");
        Add(() => Of(Llama3), "dbrx", "smaug-bpe", "glm4", "chatglm-bpe");
        Add(() => Of(@"\p{N}{1,3}", Llama3.Replace(@"\p{N}{1,3}", @"\p{N}+", StringComparison.Ordinal)) with { IgnoreMerges = true }, "minicpm5");
        Add(() => Of(Qwen2) with { Normalizer = new UnicodeFormNormalizer(NormalizationForm.FormC) }, "qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2");
        Add(() => Of(Qwen35) with { Normalizer = new UnicodeFormNormalizer(NormalizationForm.FormC) }, "qwen35");
        Add(() => Of(Qwen2), "stablelm2", "hunyuan", "solar-open", "grok-2");
        Add(() => Of(@"[\r\n]", DeepSeekLlmLetters, DeepSeekLlmMarks, @"\s+$", CjkAndHangul, @"\p{N}+"), "deepseek-llm");
        Add(() => Of(@"[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", CjkAndHangul, @"\p{N}"), "deepseek-coder");
        Add(() => Of(@"\p{N}{1,3}", CjkAndKana, DeepSeekV3), "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4");
        Add(() => Of(@"[\p{P}\$\+<=>\^~\|`]+", Gpt2, "[0-9][0-9][0-9]"), "falcon");
        Add(() => Of(Gpt4o), "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2");
        Add(() => Of(Tekken) with { IgnoreMerges = true, AddsBos = true }, "tekken");
        Add(() => Of(SeedCoder), "seed-coder");
        Add(() => Of(BailingMoe), "bailingmoe", "bailingmoe2", "llada-moe");
        Add(() => Of(ExaoneMoe), "exaone-moe");
        Add(() => Of(KimiK2), "kimi-k2");
        Add(() => Of(@"\p{N}+", @"(?=(\d{3})+(?!\d))"), "superbpe");
        Add(() => Of(Bloom), "bloom", "gpt3-finnish", "poro-chat");
        Add(() => Of(Bloom, @"\p{N}"), "viking");
        return table;

        void Add(Func<GgufSplit> make, params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
                table.Add(name, make);
        }
    }

    // Each pattern cuts the pieces of the one before; matches and gaps are pieces. Then the bytes.
    private static GgufSplit Of(params string[] patterns)
    {
        IEnumerable<IPreTokenizer> splits = patterns.Select(pattern => new SplitPreTokenizer(new PatternFinder(Pattern.Parse(pattern)), SplitBehavior.Isolated, invert: false));
        return new GgufSplit { PreTokenizer = new PreTokenizerSequence([.. splits, new ByteLevelPreTokenizer(addPrefixSpace: false, useRegex: false)]) };
    }
}
