using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>How the input features of a row-parallel layer are cut into leaves: from the model alone, never from the degree.</summary>
/// <param name="Size">Input features of a leaf; the last one may be shorter.</param>
/// <param name="Total">Input features of the layer.</param>
public sealed record Leaves(int Size, int Total)
{
    /// <summary>Number of leaves.</summary>
    public int Count => (Total + Size - 1) / Size;

    /// <summary>First input feature of leaf <paramref name="leaf"/>; for leaf = Count, the number of features.</summary>
    public int Start(int leaf) => Math.Min(leaf * Size, Total);

    /// <summary>The attention output projection: one leaf for each query head.</summary>
    public static Leaves OfHeads(ModelConfig config) => new(config.HeadDim, config.Heads * config.HeadDim);

    /// <summary>The MLP's down projection: intermediate / 32 features, rounded up to a multiple of 32 and held within 64..256.</summary>
    public static Leaves OfMlp(ModelConfig config) =>
        new(Math.Clamp((config.Intermediate + 1023) / 1024 * 32, 64, 256), config.Intermediate);
}
