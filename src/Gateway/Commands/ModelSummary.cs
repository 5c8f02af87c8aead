using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands;

/// <summary>A model in one line for people.</summary>
internal static class ModelSummary
{
    public static string Of(ModelCheckpoint checkpoint)
    {
        ModelConfig config = checkpoint.Config;
        long bytes = checkpoint.Tensors.Values.Sum(tensor => tensor.ByteCount), held = checkpoint.Tensors.Values.Sum(tensor => ShardSizes.HeldBytes(config, tensor));
        string types = string.Join("+", checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count > 1).Select(tensor => tensor.Type.ToString()).Distinct());
        string mlp = config.Experts is { } experts
            ? string.Create(CultureInfo.InvariantCulture, $"{experts.PerToken} of {experts.Count} experts of {experts.Intermediate}")
            : string.Create(CultureInfo.InvariantCulture, $"mlp {config.Intermediate}");
        string kv = config.Latent is null ? string.Create(CultureInfo.InvariantCulture, $"{config.KvHeads} kv") : string.Create(CultureInfo.InvariantCulture, $"latent rows of {config.HeadDim}");
        return string.Create(CultureInfo.InvariantCulture,
            $"{checkpoint.Name}: {config.Architecture}, {config.Layers} layers, hidden {config.Hidden}, {config.Heads} heads / {kv}, {mlp}, vocabulary {config.Vocab}, {types}, {bytes / 1048576.0:F1} MiB{(held > bytes * 1.01 ? string.Create(CultureInfo.InvariantCulture, $", {held / 1048576.0:F1} MiB in memory") : "")}");
    }
}
