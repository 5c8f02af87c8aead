namespace TpServe.Tokenization.Models;

/// <summary>The switches of a BPE model.</summary>
internal sealed record BpeOptions
{
    /// <summary>The token of unknown characters; null = they vanish.</summary>
    public int? UnknownId { get; init; }

    /// <summary>Neighbouring unknown characters are one token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>Unknown characters become byte pieces where the vocabulary has them.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A piece that is a token as a whole is that token, whatever the merges make of it.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Stands before every character but a word's first; empty = none.</summary>
    public string ContinuingSubwordPrefix { get; init; } = "";

    /// <summary>Stands after a word's last character; empty = none.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}
