using TpServe.ChatTemplates;
using TpServe.Checkpoint.Config;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>The model as requests see it: name, vocabulary, defaults, tokenizer, chat template.</summary>
public sealed record ServingModel
{
    /// <summary>What answers name it, and requests may.</summary>
    public required string Name { get; init; }

    /// <summary>What requests may name it too.</summary>
    public IReadOnlyList<string> OtherNames { get; init; } = [];

    /// <summary>Every name, the first being <see cref="Name"/>.</summary>
    public IEnumerable<string> Names => OtherNames.Prepend(Name);

    /// <summary>Architecture and sizes.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>Sampling defaults and end tokens.</summary>
    public required GenerationDefaults Generation { get; init; }

    /// <summary>How its hidden states become the vector of a text.</summary>
    public PoolingConfig Pooling { get; init; } = PoolingConfig.Default;

    /// <summary>Text to tokens and back.</summary>
    public required Tokenizer Tokenizer { get; init; }

    /// <summary>Lays out conversations; null = the model has none.</summary>
    public ChatTemplate? ChatTemplate { get; init; }

    /// <summary>Text of the bos token as templates see it.</summary>
    public string? BosToken { get; init; }

    /// <summary>Text of the eos token as templates see it.</summary>
    public string? EosToken { get; init; }
}
