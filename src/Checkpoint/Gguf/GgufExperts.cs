using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>ExpertsConfig from GGUF metadata and, for what metadata leaves open, from names and shapes of tensors.</summary>
/// <remarks>Source  the GGUF specification's standardised keys; llama.cpp's graphs for what each architecture does with its router's logits.</remarks>
internal static class GgufExperts
{
    private const int Softmax = 1, Sigmoid = 2, SoftmaxOfChosen = 3; // llama.cpp's numbers of gating functions
    private const float GptOssAlpha = 1.702f, GptOssLimit = 7f;

    /// <summary>Whether an architecture may have mixtures.</summary>
    public static bool MayHaveSome(string architecture) => architecture is "llama" or "qwen2moe" or "qwen3moe" or "gpt-oss" or "granitemoe" or "olmoe" or "glm4moe" or "deepseek2";

    /// <summary>Blocks of the model itself: behind them a file may have some that guess ahead.</summary>
    public static int Layers(string architecture, GgufMetadata metadata)
    {
        int blocks = metadata.RequiredInt($"{architecture}.block_count", 1, ConfigLimits.MaxLayers);
        return blocks - (metadata.Int($"{architecture}.nextn_predict_layers", 0, blocks - 1) ?? 0);
    }

    /// <summary>The mixtures; null where the file has none.</summary>
    public static ExpertsConfig? Read(string architecture, GgufMetadata metadata, IReadOnlyDictionary<string, TensorInfo> tensors, int layers)
    {
        string countKey = $"{architecture}.expert_count";
        if (!MayHaveSome(architecture) || (architecture is "llama" or "deepseek2" && metadata.Int(countKey, 0, ConfigLimits.MaxSize) is null or 0))
            return null;
        int count = metadata.RequiredInt(countKey, 0, ConfigLimits.MaxSize);
        int feedForward = metadata.Int($"{architecture}.feed_forward_length", 0, ConfigLimits.MaxSize) ?? 0;
        int width = Number("expert_feed_forward_length") ?? feedForward;
        if (width == 0)
            throw metadata.Missing($"{architecture}.expert_feed_forward_length");
        bool isGptOss = architecture is "gpt-oss";
        int gating = metadata.Int($"{architecture}.expert_gating_func", 0, int.MaxValue) is { } given and not 0 ? given : architecture is "glm4moe" ? Sigmoid : Softmax;
        if (gating is not (Softmax or Sigmoid or SoftmaxOfChosen))
            throw new ModelLoadException($"{metadata.Path}: '{architecture}.expert_gating_func' is {gating}; supported are {Softmax} (softmax), {Sigmoid} (sigmoid), {SoftmaxOfChosen} (softmax over the chosen).");
        return ConfigLimits.Check(new ExpertsConfig
        {
            Count = count,
            PerToken = metadata.RequiredInt($"{architecture}.expert_used_count", 0, ConfigLimits.MaxSize),
            Intermediate = width,
            Layers = [.. Enumerable.Range(0, layers).Select(IsSparse)],
            Scoring = gating == Sigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax,
            Renormalises = gating == SoftmaxOfChosen || (metadata.Bool($"{architecture}.expert_weights_norm") ?? architecture is not ("qwen2moe" or "olmoe" or "deepseek2")),
            Scale = metadata.Float($"{architecture}.expert_weights_scale", 0, ConfigLimits.MaxFactor) is { } scale and not 0 ? scale : 1f,
            Groups = Number("expert_group_count") ?? 1,
            TopGroups = Number("expert_group_used_count") ?? 1,
            CorrectionBias = tensors.Keys.Any(name => name.EndsWith(".mlp.gate.e_score_correction_bias", StringComparison.Ordinal)),
            RouterBias = isGptOss,
            ProjectionBias = isGptOss,
            SharedIntermediate = Number("expert_shared_feed_forward_length") ?? (int)Math.Min(int.MaxValue, (long)width * (Number("expert_shared_count") ?? 0)),
            SharedGate = architecture is "qwen2moe",
            SwiGluAlpha = isGptOss ? GptOssAlpha : 0f,
            SwiGluLimit = isGptOss ? GptOssLimit : 0f,
        }, metadata.Path);

        // 0 is how files say that there is no such thing.
        int? Number(string key) => metadata.Int($"{architecture}.{key}", 0, ConfigLimits.MaxSize) is { } value and not 0 ? value : null;

        bool IsSparse(int layer) => GgufNames.RouterParts.Any(part => tensors.ContainsKey($"model.layers.{layer}.{part}.weight"));
    }
}
