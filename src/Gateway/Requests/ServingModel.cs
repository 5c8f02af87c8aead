using TpServe.ChatTemplates;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Adapters;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>The model as requests see it: name, vocabulary, defaults, tokenizer, chat template.</summary>
public sealed record ServingModel
{
    /// <summary>What answers name it, and requests may.</summary>
    public required string Name { get; init; }

    /// <summary>What requests may name it too.</summary>
    public IReadOnlyList<string> OtherNames { get; init; } = [];

    /// <summary>The adapters that requests may name in its place.</summary>
    public LoraRegistry Loras { get; init; } = new();

    /// <summary>Every name, the first being <see cref="Name"/>.</summary>
    public IEnumerable<string> Names => OtherNames.Prepend(Name);

    /// <summary>What answers to a request name: its adapter where it is on one.</summary>
    public string NameFor(ValidatedRequest request) => request.Lora?.Name ?? Name;

    /// <summary>Architecture and sizes.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>Sampling defaults and end tokens.</summary>
    public required GenerationDefaults Generation { get; init; }

    /// <summary>How its hidden states become the vector of a text.</summary>
    public PoolingConfig Pooling { get; init; } = PoolingConfig.Default;

    /// <summary>Text to tokens and back.</summary>
    public required Tokenizer Tokenizer { get; init; }

    /// <summary>What it was read from.</summary>
    public ModelFiles Files { get; init; } = new("", "", 0, 0, "");

    /// <summary>Lays out conversations; null = the model has none.</summary>
    public ChatTemplate? ChatTemplate { get; init; }

    /// <summary>Text of the bos token as templates see it.</summary>
    public string? BosToken { get; init; }

    /// <summary>Text of the eos token as templates see it.</summary>
    public string? EosToken { get; init; }
}

/// <summary>What a model was read from, for who asks about it.</summary>
/// <param name="Format">gguf or safetensors.</param>
/// <param name="Quantization">Type of most of its matrices: Q4_1, BF16.</param>
/// <param name="Parameters">Numbers in its tensors.</param>
/// <param name="Bytes">Bytes of its tensors.</param>
/// <param name="Identity">What tells its files from others.</param>
public sealed record ModelFiles(string Format, string Quantization, long Parameters, long Bytes, string Identity)
{
    /// <summary>The files of a checkpoint.</summary>
    public static ModelFiles Of(ModelCheckpoint checkpoint)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        return new ModelFiles(
            File.Exists(checkpoint.Path) ? "gguf" : "safetensors",
            checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 2).GroupBy(tensor => tensor.Type).MaxBy(type => type.Sum(tensor => tensor.ByteCount))?.Key.ToString() ?? "",
            checkpoint.Tensors.Values.Sum(tensor => tensor.Shape.Aggregate(1L, (product, extent) => product * extent)),
            checkpoint.Tensors.Values.Sum(tensor => tensor.ByteCount), "");
    }
}
