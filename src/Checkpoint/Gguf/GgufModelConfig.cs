using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>ModelConfig from GGUF metadata. Where GGUF leaves a number to the program that reads it, llama.cpp's choice is taken.</summary>
/// <remarks>Source  the GGUF specification's standardised keys; llama.cpp's loading of hyperparameters for the defaults.</remarks>
internal static class GgufModelConfig
{
    private const int Gemma27Layers2 = 46, Gemma27Layers3 = 62; // the layer counts by which llama.cpp knows the 27B models

    public static ModelConfig Read(string architecture, GgufMetadata metadata, IReadOnlyDictionary<string, TensorInfo> tensors, RopeTensors ropeTensors)
    {
        bool hasExperts = metadata.IsArray($"{architecture}.expert_count") || metadata.Int($"{architecture}.expert_count", 0, ConfigLimits.MaxSize) is > 0;
        if (!GgufNames.Knows(architecture) || (hasExperts && !GgufExperts.MayHaveSome(architecture)))
            return ModelConfig.Unknown(GgufNames.Knows(architecture) ? $"{architecture}-moe" : architecture);

        // 1. Sizes.
        string headsKey = $"{architecture}.attention.head_count", kvHeadsKey = $"{architecture}.attention.head_count_kv";
        int layers = GgufExperts.Layers(architecture, metadata);
        int hidden = metadata.RequiredInt($"{architecture}.embedding_length", 1, ConfigLimits.MaxSize);
        int heads = metadata.RequiredInt(headsKey, 1, ConfigLimits.MaxHeads);
        int kvHeads = metadata.Int(kvHeadsKey, 1, ConfigLimits.MaxHeads) ?? heads;
        LatentConfig? latent = GgufLatent.Read(architecture, metadata);
        if (latent is not null)
            kvHeads = 1;
        int headDim = latent?.RowDim ?? HeadDim(architecture, metadata, hidden, heads);
        int context = metadata.RequiredInt($"{architecture}.context_length", 1, ConfigLimits.MaxSize);
        bool gemma = architecture is "gemma2" or "gemma3", isCohere = architecture is "command-r" or "cohere2", isPlain = architecture is "starcoder2" or "gptneox";
        bool isLayerNorm = isCohere || isPlain || architecture is "stablelm";

        // 2. What differs between families.
        int window = Window(architecture, metadata, context);
        ExpertsConfig? experts = GgufExperts.Read(architecture, metadata, tensors, layers);
        (RopeConfig rope, RopeConfig? localRope, int maxPositions) = GgufRope.Read(architecture, metadata, ropeTensors, latent?.RopeDim ?? headDim, context);

        return ConfigLimits.Check(new ModelConfig
        {
            Architecture = latent is not null && experts is { Scoring: RouterScoring.Sigmoid } ? "deepseek_v3" : GgufNames.ArchitectureToHub(architecture, experts is not null),
            Hidden = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            Latent = latent,
            Intermediate = metadata.Int($"{architecture}.feed_forward_length", 0, ConfigLimits.MaxSize) is { } width and not 0
                ? width
                : experts?.Intermediate ?? throw metadata.Missing($"{architecture}.feed_forward_length"),
            Experts = experts,
            AttentionSinks = architecture is "gpt-oss",
            QueryKeyNorm = architecture is not "glm4moe" || Has("self_attn.q_norm.weight"),
            Vocab = Vocab(metadata.Path, tensors),
            MaxPositions = maxPositions,
            NormEpsilon = metadata.RequiredFloat($"{architecture}.attention.{(isLayerNorm ? "layer_norm_epsilon" : "layer_norm_rms_epsilon")}", 0, ConfigLimits.MaxEpsilon),
            NormWeightsAddOne = false,
            IsLayerNorm = isLayerNorm,
            NormBias = isLayerNorm && !isCohere,
            IsParallelBlock = isCohere || (architecture is "gptneox" && (metadata.Bool("gptneox.use_parallel_residual") ?? true)),
            IsMlpGated = !isPlain,
            TieEmbeddings = !tensors.ContainsKey("lm_head.weight"),
            Rope = rope,
            LocalRope = localRope,
            SlidingWindow = window,
            SlidingLayers = window == 0 ? [] : SlidingLayers(architecture, metadata, layers),
            RopeLayers = architecture is "cohere2" ? HubLayerNorms.SlidingOnly(window == 0 ? [] : SlidingLayers(architecture, metadata, layers), layers) : architecture is "smollm3" ? [.. Enumerable.Range(1, layers).Select(i => i % 4 != 0)] : [],
            QkvBias = Has("self_attn.q_proj.bias") || Has("self_attn.qkv_proj.bias"),
            OutputBias = Has("self_attn.o_proj.bias"),
            MlpBias = Has("mlp.down_proj.bias") || Has("mlp.c_proj.bias"),
            HiddenActivation = gemma || architecture is "starcoder2" ? "gelu_pytorch_tanh" : architecture is "gptneox" ? "gelu" : "silu",
            AttentionScale = latent is not null ? GgufLatent.Scale(latent, metadata, rope) : AttentionScale(architecture, metadata, layers, hidden, heads, headDim),
            AttentionSoftcap = Softcap("attn_logit_softcapping", architecture is "gemma2" ? 50f : 0f),
            LogitSoftcap = Softcap("final_logit_softcapping", architecture is "gemma2" ? 30f : 0f),
            EmbeddingScale = gemma ? MathF.Sqrt(hidden) : Scale("embedding_scale"),
            ResidualScale = Scale("residual_scale"),
            LogitDivisor = isCohere ? 1f / metadata.RequiredFloat($"{architecture}.logit_scale", ConfigLimits.Tiny, ConfigLimits.MaxFactor) : Scale("logit_scale"),
        }, metadata.Path, headsKey, kvHeadsKey);

        bool Has(string name) => tensors.ContainsKey($"model.layers.0.{name}");
        float Softcap(string key, float absent) => gemma ? metadata.Float($"{architecture}.{key}", 0, ConfigLimits.MaxFactor) ?? absent : 0f;

        // 0 is how files say that there is no such factor.
        float Scale(string key) => architecture is "granite" or "granitemoe" && metadata.Float($"{architecture}.{key}", 0, ConfigLimits.MaxFactor) is { } scale and not 0 ? scale : 1f;
    }

    private static int HeadDim(string architecture, GgufMetadata metadata, int hidden, int heads)
    {
        string key = $"{architecture}.attention.key_length", valueKey = $"{architecture}.attention.value_length";
        int? given = metadata.Int(key, 1, ConfigLimits.MaxHeadDim);
        if (given is null && hidden % heads != 0)
            throw new ModelLoadException($"{metadata.Path}: '{key}' is missing and the embedding length {hidden} is not a multiple of the {heads} heads.");
        int headDim = given ?? hidden / heads;
        int valueDim = metadata.Int(valueKey, 1, ConfigLimits.MaxHeadDim) ?? headDim;
        return valueDim == headDim
            ? headDim
            : throw new ModelLoadException($"{metadata.Path}: '{valueKey}' is {valueDim}, but heads have {headDim} elements; TpServe needs keys and values of one size.");
    }

    // The embedding's rows count, not the token list's: vocabularies are often padded.
    private static int Vocab(string path, IReadOnlyDictionary<string, TensorInfo> tensors) =>
        tensors.TryGetValue("model.embed_tokens.weight", out TensorInfo? embedding) && embedding.Shape.Count == 2
            ? embedding.Shape[0]
            : throw new ModelLoadException($"{path}: tensor 'token_embd.weight' is missing or not a matrix.");

    private static int Window(string architecture, GgufMetadata metadata, int context)
    {
        int? window = metadata.Int($"{architecture}.attention.sliding_window", 0, ConfigLimits.MaxSize);
        return architecture switch
        {
            "gemma2" => window ?? 4096,
            "gemma3" or "gpt-oss" or "cohere2" => window ?? 0,
            "phi3" when window < context => window.Value, // files of Phi-3 models that do not slide carry the context's length
            _ => 0,
        };
    }

    private static List<bool> SlidingLayers(string architecture, GgufMetadata metadata, int layers)
    {
        if (architecture is "phi3")
            return [.. Enumerable.Repeat(true, layers)];
        string key = $"{architecture}.attention.sliding_window_pattern";
        if (metadata.IsArray(key))
        {
            IReadOnlyList<bool> flags = metadata.Bools(key);
            return flags.Count == layers
                ? [.. flags]
                : throw new ModelLoadException($"{metadata.Path}: '{key}' has {flags.Count} elements; there are {layers} layers.");
        }
        int period = metadata.Int(key, 1, ConfigLimits.MaxLayers) ?? (architecture is "gemma2" or "gpt-oss" ? 2 : architecture is "cohere2" ? 4 : 6);
        return [.. Enumerable.Range(1, layers).Select(i => i % period != 0)];
    }

    private static float? AttentionScale(string architecture, GgufMetadata metadata, int layers, int hidden, int heads, int headDim) => architecture switch
    {
        "gemma2" => 1f / MathF.Sqrt(layers == Gemma27Layers2 ? (float)hidden / heads : headDim),
        "gemma3" => 1f / MathF.Sqrt(layers == Gemma27Layers3 ? (float)hidden / heads : headDim),
        "granite" or "granitemoe" => metadata.Float($"{architecture}.attention.scale", 0, ConfigLimits.MaxFactor) is { } scale and not 0 ? scale : null,
        _ => null,
    };
}
