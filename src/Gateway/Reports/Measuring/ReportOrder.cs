using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>What is to be measured, checked and read. Plain values.</summary>
internal sealed record ReportOrder
{
    /// <summary>The groups.</summary>
    public required IReadOnlyList<VariantSpec> Variants { get; init; }

    /// <summary>Flags of serve for all of them.</summary>
    public required IReadOnlyList<string> ServerFlags { get; init; }

    /// <summary>Threads of each worker as the settings say; 0 = the cores divided by the workers.</summary>
    public required PerRank<int> Threads { get; init; }

    /// <summary>Cores of this host.</summary>
    public required int Cores { get; init; }

    /// <summary>The prompts.</summary>
    public required IReadOnlyList<ReportPrompt> Prompts { get; init; }

    /// <summary>Where they come from, as faults and the report name it.</summary>
    public required string PromptSource { get; init; }

    /// <summary>Of the synthetic mix; null where prompts come from a file.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Tokens generated for each prompt.</summary>
    public required int OutputTokens { get; init; }

    /// <summary>Numbers of streams, ascending.</summary>
    public required IReadOnlyList<int> Streams { get; init; }

    /// <summary>For which throughput is counted at each of them.</summary>
    public required TimeSpan Window { get; init; }

    /// <summary>Rounds over all groups in which throughput is measured.</summary>
    public required int Rounds { get; init; }

    /// <summary>The text whose perplexity is taken.</summary>
    public required string Text { get; init; }

    /// <summary>Where it comes from.</summary>
    public required string TextSource { get; init; }

    /// <summary>Tokens of it that are read.</summary>
    public required int TextTokens { get; init; }

    /// <summary>Questions; empty = none.</summary>
    public IReadOnlyList<EvalItem> Eval { get; init; } = [];

    /// <summary>Where they come from.</summary>
    public string EvalSource { get; init; } = "";

    /// <summary>Whether a server with activations of f32 is run too.</summary>
    public required bool Reference { get; init; }

    /// <summary>How long a server may take until it is ready.</summary>
    public required TimeSpan ReadyTimeout { get; init; }

    /// <summary>The model in words.</summary>
    public required string ModelSummary { get; init; }

    /// <summary>Bytes of weights that are stored but that a decoded token does not read: an embedding that is not the head too.</summary>
    public required long UnreadBytes { get; init; }

    /// <summary>Whether a draft model's weights count among the ranks'.</summary>
    public required bool HasDraft { get; init; }
}
