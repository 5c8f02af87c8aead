using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Model.Tests;

/// <summary>Random models whose query heads, KV heads, MLP leaves and vocabulary no degree from 2 to 5 divides, one for each kind of block.</summary>
internal static class OddModels
{
    private static readonly ModelConfig Config = new()
    {
        Architecture = "llama",
        Hidden = 64,
        Layers = 2,
        Heads = 7,
        KvHeads = 7,
        HeadDim = 16,
        Intermediate = 427, // six leaves of 64 and a ragged one of 43
        Vocab = 389,
        MaxPositions = 512,
        NormEpsilon = 1e-5f,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = 16 },
    };

    /// <summary>Names for test cases.</summary>
    public static IReadOnlyList<string> Names { get; } = ["llama", "llama-grouped", "llama-biases-bf16", "llama-q8_0", "olmo2", "gemma2", "gemma3", "phi3", "granite", "mixtral", "qwen2_moe", "gpt_oss", "glm4_moe-q8_0", "starcoder2", "gpt_neox", "cohere2", "stablelm", "deepseek_v3", "deepseek_v2-q8_0"];

    /// <summary>Mixtures in both layers.</summary>
    public static ExpertsConfig Experts(int count, int perToken, int intermediate) =>
        new() { Count = count, PerToken = perToken, Intermediate = intermediate, Layers = [true, true] };

    /// <summary>A model with latent attention.</summary>
    public static ModelConfig Latent(ModelConfig config, LatentConfig latent) => config with
    {
        KvHeads = 1,
        HeadDim = latent.RowDim,
        Latent = latent,
        AttentionScale = 1f / MathF.Sqrt(latent.QueryDim),
        Rope = config.Rope with { RotaryDim = latent.RopeDim },
    };

    /// <summary>A GPT-NeoX, whose halves stand beside each other or one after the other.</summary>
    public static ModelConfig NeoxConfig(bool isParallel) => LayerNorms(Config with
    {
        Architecture = "gpt_neox",
        QkvBias = true,
        OutputBias = true,
        MlpBias = true,
        IsParallelBlock = isParallel,
        HiddenActivation = "gelu",
        Rope = Config.Rope with { RotaryDim = 4 },
    });

    private static ModelConfig LayerNorms(ModelConfig config) => config with { IsLayerNorm = true, NormBias = true, IsMlpGated = false };

    /// <summary>The model of that name.</summary>
    public static RandomCheckpoint Create(string name) => name switch
    {
        "llama" => new RandomCheckpoint(Config),
        // 11 query heads in one group: every cut goes through it, the one KV head lives on every rank.
        "llama-grouped" => new RandomCheckpoint(Config with { Heads = 11, KvHeads = 1, TieEmbeddings = true }),
        "llama-biases-bf16" => new RandomCheckpoint(
            Config with { Heads = 9, KvHeads = 3, QkvBias = true, OutputBias = true, MlpBias = true }, matrixType: _ => TensorType.BF16),
        // Whole blocks of 32; formats differ within the merged projections.
        "llama-q8_0" => new RandomCheckpoint(
            Config with { HeadDim = 32, Heads = 9, KvHeads = 3, Intermediate = 416, TieEmbeddings = true, Rope = Config.Rope with { RotaryDim = 32 } },
            matrixType: tensor => tensor.Contains("v_proj", StringComparison.Ordinal) || tensor.Contains("up_proj", StringComparison.Ordinal) ? TensorType.F32 : TensorType.Q8_0),
        "olmo2" => new RandomCheckpoint(Config with { Architecture = "olmo2", Heads = 9, KvHeads = 3 }),
        "gemma2" => new RandomCheckpoint(Config with
        {
            Architecture = "gemma2",
            TieEmbeddings = true,
            NormWeightsAddOne = true,
            HiddenActivation = "gelu_pytorch_tanh",
            SlidingWindow = 9,
            SlidingLayers = [true, false],
            AttentionSoftcap = 20,
            LogitSoftcap = 15,
            EmbeddingScale = 2,
        }),
        "gemma3" => new RandomCheckpoint(Config with
        {
            Architecture = "gemma3",
            Heads = 9,
            KvHeads = 3,
            TieEmbeddings = true,
            HiddenActivation = "gelu_pytorch_tanh",
            SlidingWindow = 9,
            SlidingLayers = [true, false],
            LocalRope = new RopeConfig { Theta = 100, RotaryDim = 16 },
        }),
        "phi3" => new RandomCheckpoint(Config with
        {
            Architecture = "phi3",
            Heads = 9,
            KvHeads = 3,
            Rope = new RopeConfig
            {
                Theta = 10000,
                RotaryDim = 8,
                Scaling = RopeScaling.LongRope,
                OriginalMaxPositions = 64,
                ShortFactors = [1f, 1.1f, 1.2f, 1.3f],
                LongFactors = [2f, 3f, 5f, 8f],
            },
        }),
        "granite" => new RandomCheckpoint(Config with { Architecture = "granite", AttentionScale = 0.3f, ResidualScale = 0.4f, LogitDivisor = 3f, EmbeddingScale = 5f }),
        "mixtral" => new RandomCheckpoint(Config with { Architecture = "mixtral", Experts = Experts(5, 2, 427) with { Renormalises = true } }),
        // Three leaves of an expert, two of the MLP beside it; a dense layer of four, which are split where an expert's three are.
        "qwen2_moe" => new RandomCheckpoint(
            Config with { Architecture = "qwen2_moe", QkvBias = true, Intermediate = 200, Experts = Experts(6, 3, 170) with { Layers = [false, true], SharedIntermediate = 120, SharedGate = true } },
            matrixType: _ => TensorType.BF16),
        "gpt_oss" => new RandomCheckpoint(Config with
        {
            Architecture = "gpt_oss",
            QkvBias = true,
            OutputBias = true,
            AttentionSinks = true,
            SlidingWindow = 9,
            SlidingLayers = [true, false],
            Experts = Experts(4, 2, 150) with { Renormalises = true, RouterBias = true, ProjectionBias = true, SwiGluAlpha = 1.702f, SwiGluLimit = 2f },
        }),
        "glm4_moe-q8_0" => new RandomCheckpoint(
            Config with
            {
                Architecture = "glm4_moe",
                HeadDim = 32,
                Heads = 9,
                KvHeads = 3,
                Intermediate = 416,
                QkvBias = true,
                Experts = Experts(9, 4, 224) with
                {
                    Layers = [false, true],
                    Scoring = RouterScoring.Sigmoid,
                    Renormalises = true,
                    Scale = 1.5f,
                    Groups = 3,
                    TopGroups = 2,
                    CorrectionBias = true,
                    SharedIntermediate = 224,
                },
            },
            matrixType: tensor => tensor.Contains("up_proj", StringComparison.Ordinal) ? TensorType.F32 : TensorType.Q8_0),
        "deepseek_v3" => new RandomCheckpoint(Latent(Config, new LatentConfig { QueryRank = 40, KvRank = 24, PlainDim = 12, RopeDim = 8, ValueDim = 20 }) with
        {
            Architecture = "deepseek_v3",
            Experts = Experts(6, 3, 170) with
            {
                Layers = [false, true],
                Scoring = RouterScoring.Sigmoid,
                Renormalises = true,
                Scale = 2.5f,
                Groups = 3,
                TopGroups = 2,
                CorrectionBias = true,
                SharedIntermediate = 170,
            },
        }),
        // No row that queries are made of; keys' blocks lie along the latent row, so that they are turned into float32.
        "deepseek_v2-q8_0" => new RandomCheckpoint(
            Latent(Config, new LatentConfig { QueryRank = 0, KvRank = 64, PlainDim = 32, RopeDim = 32, ValueDim = 32 }) with
            {
                Architecture = "deepseek_v2",
                Intermediate = 416,
                Experts = Experts(9, 4, 224) with { Layers = [false, true], Scale = 1.5f, Groups = 3, TopGroups = 2, SharedIntermediate = 448 },
            },
            matrixType: _ => TensorType.Q8_0),
        "starcoder2" => new RandomCheckpoint(LayerNorms(Config with
        {
            Architecture = "starcoder2",
            Heads = 9,
            KvHeads = 3,
            TieEmbeddings = true,
            QkvBias = true,
            OutputBias = true,
            MlpBias = true,
            SlidingWindow = 9,
            SlidingLayers = [true, true],
            HiddenActivation = "gelu_pytorch_tanh",
        })),
        "stablelm" => new RandomCheckpoint(LayerNorms(Config with { Architecture = "stablelm", QkvBias = true, Rope = Config.Rope with { RotaryDim = 4 } }) with { IsMlpGated = true }),
        "gpt_neox" => new RandomCheckpoint(NeoxConfig(isParallel: true)),
        "cohere2" => new RandomCheckpoint(Config with
        {
            Architecture = "cohere2",
            Heads = 9,
            KvHeads = 3,
            TieEmbeddings = true,
            IsLayerNorm = true,
            IsParallelBlock = true,
            SlidingWindow = 9,
            SlidingLayers = [true, false],
            RopeLayers = [true, false],
            LogitDivisor = 4f,
        }),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "No such model."),
    };
}
