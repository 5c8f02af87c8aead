namespace TpServe.Checkpoint.Config;

/// <summary>Architecture and sizes of a model, the same whether read from config.json or from GGUF metadata.</summary>
public sealed record ModelConfig
{
    /// <summary>Hugging Face's model_type, text models only, as <see cref="KnownArchitectures.All"/> lists them (gemma3 also for gemma3_text).
    /// A type TpServe does not implement is kept as it stands, its sizes 0 where they could not be read; the model room refuses it with the list of those it knows.</summary>
    public required string Architecture { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int Hidden { get; init; }

    /// <summary>Decoder blocks.</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key-value heads; divides <see cref="Heads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Elements of a head of the KV cache, and of a query that is multiplied with it.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Keys and values as products of one latent row a token; null = each head has its own.</summary>
    public LatentConfig? Latent { get; init; }

    /// <summary>Elements of a query head as it is projected.</summary>
    public int QueryDim => Latent?.QueryDim ?? HeadDim;

    /// <summary>Elements of a query head's output, which the output projection reads.</summary>
    public int ValueDim => Latent?.ValueDim ?? HeadDim;

    /// <summary>Rows of <see cref="HeadDim"/> elements that the cache holds of a token and KV head: keys and values, or the latent row, which is both.</summary>
    public int KvRows => Latent is null ? 2 : 1;

    /// <summary>Width of the MLP, in layers that are no mixture of experts.</summary>
    public required int Intermediate { get; init; }

    /// <summary>Mixtures of experts; null = no layer has one.</summary>
    public ExpertsConfig? Experts { get; init; }

    /// <summary>Columns by which the work of the MLPs is split: an expert's where there are mixtures, for nearly all weights are theirs.</summary>
    public int MlpColumns => Experts?.Intermediate ?? Intermediate;

    /// <summary>Rows of the embedding.</summary>
    public required int Vocab { get; init; }

    /// <summary>Longest context the model was made for, in tokens, after RoPE scaling.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>ε of every norm.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>True where a stored norm weight w means 1 + w (Gemma from Hugging Face; GGUF files have the 1 added already).</summary>
    public bool NormWeightsAddOne { get; init; }

    /// <summary>True where the norms of the residual stream are layer norms, not RMS norms.</summary>
    public bool IsLayerNorm { get; init; }

    /// <summary>Biases on these.</summary>
    public bool NormBias { get; init; }

    /// <summary>True where attention and the MLP of a block read the same stream and are both added to it (GPT-NeoX, Cohere).</summary>
    public bool IsParallelBlock { get; init; }

    /// <summary>False where MLPs have no gate: down(f(up(x))).</summary>
    public bool IsMlpGated { get; init; } = true;

    /// <summary>True where the head reuses the embedding.</summary>
    public required bool TieEmbeddings { get; init; }

    /// <summary>Rotary embedding of full-attention layers (of all layers where <see cref="LocalRope"/> is null).</summary>
    public required RopeConfig Rope { get; init; }

    /// <summary>Rotary embedding of sliding-window layers where it differs (Gemma 3).</summary>
    public RopeConfig? LocalRope { get; init; }

    /// <summary>Tokens a sliding-window layer sees, itself included; 0 = no layer slides.</summary>
    public int SlidingWindow { get; init; }

    /// <summary>For each layer, whether it uses the sliding window. Empty = none does.</summary>
    public IReadOnlyList<bool> SlidingLayers { get; init; } = [];

    /// <summary>For each layer, whether it rotates queries and keys (SmolLM3 leaves some out). Empty = all do.</summary>
    public IReadOnlyList<bool> RopeLayers { get; init; } = [];

    /// <summary>Biases on query, key and value projections.</summary>
    public bool QkvBias { get; init; }

    /// <summary>Bias on the attention output projection.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Biases on the MLP projections.</summary>
    public bool MlpBias { get; init; }

    /// <summary>hidden_act as the checkpoint writes it: silu, gelu_pytorch_tanh; gelu too where MLPs have no gate.</summary>
    public string HiddenActivation { get; init; } = "silu";

    /// <summary>Factor on attention scores; null = 1/√HeadDim. (Gemma: query_pre_attn_scalar^-½; Granite: attention_multiplier.)</summary>
    public float? AttentionScale { get; init; }

    /// <summary>True where each query head has a logit that takes part in its softmax and stands for nothing (gpt-oss).</summary>
    public bool AttentionSinks { get; init; }

    /// <summary>False where a family that norms queries and keys leaves it to the file, which does not (GLM 4.5).</summary>
    public bool QueryKeyNorm { get; init; } = true;

    /// <summary>Soft cap on attention scores, 0 = none (Gemma 2).</summary>
    public float AttentionSoftcap { get; init; }

    /// <summary>Soft cap on the logits, 0 = none (Gemma 2).</summary>
    public float LogitSoftcap { get; init; }

    /// <summary>Factor on the embedding's output (Gemma: √hidden in float32, as the reference computes it when it runs in float32; Granite: embedding_multiplier).</summary>
    public float EmbeddingScale { get; init; } = 1f;

    /// <summary>Factor on each half-block's output before it is added to the stream (Granite).</summary>
    public float ResidualScale { get; init; } = 1f;

    /// <summary>The logits are divided by this (Granite; Cohere: 1 / logit_scale).</summary>
    public float LogitDivisor { get; init; } = 1f;

    /// <summary>An architecture that TpServe does not know: its name alone.</summary>
    internal static ModelConfig Unknown(string architecture) => new()
    {
        Architecture = architecture,
        Hidden = 0,
        Layers = 0,
        Heads = 0,
        KvHeads = 0,
        HeadDim = 0,
        Intermediate = 0,
        Vocab = 0,
        MaxPositions = 0,
        NormEpsilon = 0,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 0, RotaryDim = 0 },
    };
}

/// <summary>The architectures whose facts the readers know in full. The model room implements each of them.</summary>
public static class KnownArchitectures
{
    /// <summary>Names as in <see cref="ModelConfig.Architecture"/>, sorted.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "gemma2", "gemma3", "glm4_moe", "gpt_neox", "gpt_oss", "granite", "granitemoe", "llama", "mistral", "mixtral", "olmo2", "olmoe", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3",
        "stablelm", "starcoder2",
    ];

    /// <summary>Refuses an architecture that is not known.</summary>
    /// <exception cref="ModelLoadException">Names it and lists those there are.</exception>
    public static void Require(string architecture)
    {
        if (!All.Contains(architecture))
            throw new ModelLoadException($"architecture '{architecture}' is not supported; supported are: {string.Join(", ", All)}.");
    }
}
