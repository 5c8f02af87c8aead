namespace TpServe.Checkpoint;

/// <summary>The tokenizer's raw material: exactly one of <see cref="TokenizerJson"/> and <see cref="Vocabulary"/> is given.</summary>
public sealed record TokenizerFiles
{
    /// <summary>The bytes of tokenizer.json (UTF-8), as they lie in a Hugging Face folder.</summary>
    public ReadOnlyMemory<byte>? TokenizerJson { get; init; }

    /// <summary>The vocabulary of a GGUF file.</summary>
    public GgufVocabulary? Vocabulary { get; init; }

    /// <summary>The chat template's Jinja text (chat_template.jinja, tokenizer_config.json or tokenizer.chat_template); null = none.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Text of the bos token as templates see it; null = none.</summary>
    public string? BosToken { get; init; }

    /// <summary>Text of the eos token as templates see it; null = none.</summary>
    public string? EosToken { get; init; }

    /// <summary>tokenizer_config.json's add_bos_token, where given.</summary>
    public bool? AddBosToken { get; init; }
}

/// <summary>tokenizer.ggml.* of a GGUF file.</summary>
public sealed record GgufVocabulary
{
    /// <summary>tokenizer.ggml.model: gpt2 (byte-level BPE), llama (SentencePiece BPE), …</summary>
    public required string Model { get; init; }

    /// <summary>tokenizer.ggml.pre: which split pattern a byte-level BPE uses; null = not given.</summary>
    public string? Pre { get; init; }

    /// <summary>Token texts by id.</summary>
    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>Scores by id (SentencePiece); empty where not given.</summary>
    public IReadOnlyList<float> Scores { get; init; } = [];

    /// <summary>Types by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty where not given.</summary>
    public IReadOnlyList<int> Types { get; init; } = [];

    /// <summary>Merges "left right" by rank (byte-level BPE).</summary>
    public IReadOnlyList<string> Merges { get; init; } = [];

    public int? BosId { get; init; }

    public int? EosId { get; init; }

    public int? UnknownId { get; init; }

    public int? PaddingId { get; init; }

    public bool? AddBos { get; init; }

    public bool? AddEos { get; init; }

    public bool? AddSpacePrefix { get; init; }
}
