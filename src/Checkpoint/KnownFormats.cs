using TpServe.Checkpoint.Config;
using TpServe.Checkpoint.Gguf;
using TpServe.Checkpoint.Safetensors;

namespace TpServe.Checkpoint;

/// <summary>What the readers read, in words and from the tables that they go by.</summary>
public static class KnownFormats
{
    /// <summary>Families, as config.json names them in model_type.</summary>
    public static IReadOnlyList<string> Families => KnownArchitectures.All;

    /// <summary>The same, as GGUF files name them in general.architecture.</summary>
    public static IReadOnlyList<string> GgufArchitectures { get; } = [.. GgufNames.Architectures.Order(StringComparer.Ordinal)];

    /// <summary>Types of tensors in GGUF files.</summary>
    public static string GgufTypes => TensorTypes.Supported;

    /// <summary>Types of tensors in safetensors files that stand for themselves.</summary>
    public static string HubTypes { get; } = string.Join(", ", Enum.GetValues<TensorType>().Where(type => type.IsPlainFloat()));

    /// <summary>Quantisations of Hugging Face folders.</summary>
    public static string HubQuantisations => HubQuantisation.Methods;
}
