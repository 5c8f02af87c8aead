using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Model.Families;

/// <summary>All families, by architecture. A new one is one file beside this and one entry here.</summary>
public static class FamilyRegistry
{
    private static readonly FamilySpec[] Families =
    [
        Llama.Spec, Mistral.Spec, Qwen2.Spec, Qwen3.Spec, SmolLm3.Spec, Olmo2.Spec, Granite.Spec, Phi3.Spec, Gemma2.Spec, Gemma3.Spec,
        Mixtral.Spec, QwenMoe.Qwen2Spec, QwenMoe.Qwen3Spec, GptOss.Spec, GraniteMoe.Spec, Olmoe.Spec, Glm4Moe.Spec, DeepSeek.Spec,
        StarCoder2.Spec, GptNeox.Spec, Cohere.Spec, StableLm.Spec,
    ];

    /// <summary>Every architecture TpServe implements, sorted.</summary>
    public static IReadOnlyList<string> Architectures { get; } =
        [.. Families.SelectMany(family => family.Architectures).Order(StringComparer.Ordinal)];

    /// <summary>The family of an architecture.</summary>
    /// <exception cref="ModelLoadException">There is none; the message lists those there are.</exception>
    public static FamilySpec Find(string architecture)
    {
        KnownArchitectures.Require(architecture);
        return Families.First(family => family.Architectures.Contains(architecture));
    }
}

/// <summary>What a family of models adds to the common block; everything not said is Llama's.</summary>
/// <remarks>Sizes, scales, caps, windows and rotary embedding come from <see cref="ModelConfig"/>; a family says only what no config file holds.</remarks>
public sealed record FamilySpec
{
    /// <summary>The model types it covers, as <see cref="ModelConfig.Architecture"/> has them.</summary>
    public required IReadOnlyList<string> Architectures { get; init; }

    /// <summary>The tensors of a block.</summary>
    public BlockTensors Tensors { get; init; } = new();

    /// <summary>Normalisation of queries and keys.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>The same in a model, whose file may leave it out.</summary>
    public QueryKeyNorm QueryKeyNormOf(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return config.QueryKeyNorm ? QueryKeyNorm : QueryKeyNorm.None;
    }

    /// <summary>The tensors of a mixture of experts, where the config has some.</summary>
    public ExpertTensors? Experts { get; init; }

    /// <summary>True where tensors of blocks behind the last are no fault.</summary>
    public bool IgnoresLaterBlocks { get; init; }

    /// <summary>True where query, key and value projections have biases whatever the config file says.</summary>
    public bool AlwaysQkvBias { get; init; }
}

/// <summary>Which values of queries and keys are normalised together.</summary>
public enum QueryKeyNorm
{
    /// <summary>None are.</summary>
    None,

    /// <summary>Those of one head.</summary>
    PerHead,

    /// <summary>Those of all heads.</summary>
    AllHeads,
}
