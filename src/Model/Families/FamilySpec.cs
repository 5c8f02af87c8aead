using TpServe.Checkpoint.Config;

namespace TpServe.Model.Families;

/// <summary>What a family of dense models adds to the common block; everything not said is Llama's.</summary>
/// <remarks>Sizes, scales, caps, windows and rotary embedding come from <see cref="ModelConfig"/>; a family says only what no config file holds.</remarks>
public sealed record FamilySpec
{
    /// <summary>The model types it covers, as <see cref="ModelConfig.Architecture"/> has them.</summary>
    public required IReadOnlyList<string> Architectures { get; init; }

    /// <summary>The tensors of a block.</summary>
    public BlockTensors Tensors { get; init; } = new();

    /// <summary>Normalisation of queries and keys.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>True where query, key and value projections have biases whatever the config file says.</summary>
    public bool AlwaysQkvBias { get; init; }
}
