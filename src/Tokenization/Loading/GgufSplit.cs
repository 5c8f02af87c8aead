using System.Text;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.PreTokenizers;

namespace TpServe.Tokenization.Loading;

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
        @"\s?[\x{0041}-\x{005A}\x{0061}-\x{007A}\x{00B5}\x{00C0}-\x{00D6}\x{00D8}-\x{00F6}\x{00F8}-\x{01BA}\x{01BC}-\x{01BF}\x{01C4}-\x{0293}" +
        @"\x{0295}-\x{02AF}\x{0370}-\x{0373}\x{0376}-\x{0377}\x{037B}-\x{037D}\x{037F}\x{0386}\x{0388}-\x{038A}\x{038C}\x{038E}-\x{03A1}" +
        @"\x{03A3}-\x{03F5}\x{03F7}-\x{0481}\x{048A}-\x{052F}\x{0531}-\x{0556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}" +
        @"\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}" +
        @"\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}" +
        @"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}" +
        @"\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}" +
        @"\x{2183}-\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}-\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}" +
        @"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}" +
        @"\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+";
    private const string DeepSeekLlmMarks = @"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
    private const string Bloom = @" ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+";

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
