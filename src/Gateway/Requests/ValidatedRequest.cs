using TpServe.Protos.Worker;

namespace TpServe.Gateway.Requests;

/// <summary>A request that the server can answer: nobody checks it again.</summary>
public sealed record ValidatedRequest
{
    /// <summary>Names it in logs and in Abort.</summary>
    public required string RequestId { get; init; }

    /// <summary>Whose key it came with: who may resume and end it, and pays for its tokens; null = the server has no keys.</summary>
    public Access.Caller? Owner { get; init; }

    /// <summary>Token ids of the prompt; at least one.</summary>
    public required IReadOnlyList<int> PromptTokens { get; init; }

    /// <summary>What is embedded, where nothing is generated; then PromptTokens are those of all inputs, and each input is an output.</summary>
    public EmbeddingOrder? Embedding { get; init; }

    /// <summary>Outputs.</summary>
    public required int Outputs { get; init; }

    /// <summary>How tokens of output 0 are chosen; never changed.</summary>
    public required SamplingParameters Sampling { get; init; }

    /// <summary>When outputs end.</summary>
    public required ResolvedStopping Stopping { get; init; }

    /// <summary>Likeliest tokens reported for each prompt token; null = nothing is reported.</summary>
    public int? PromptLogprobs { get; init; }

    /// <summary>Likeliest tokens reported for each generated token, 0 = only its own logprob; null = nothing is reported.</summary>
    public int? Logprobs { get; init; }

    /// <summary>Token ids are reported.</summary>
    public bool ReturnTokenIds { get; init; }

    /// <summary>Special tokens are left out of the text.</summary>
    public bool SkipSpecialTokens { get; init; } = true;

    /// <summary>Larger runs earlier and gives way later.</summary>
    public int Priority { get; init; }

    /// <summary>Shares cached prefixes only with requests of the same salt; empty = with all that have none.</summary>
    public string CacheSalt { get; init; } = "";

    /// <summary>Adapter it goes through; null = none.</summary>
    public Adapters.ServedLora? Lora { get; init; }

    /// <summary>Neither reads nor fills the prefix cache.</summary>
    public bool BypassCache { get; init; }

    /// <summary>Most tokens guessed ahead in one step; 0 = none.</summary>
    public int DraftTokens { get; init; }

    /// <summary>They are looked up in prompt and output, before a draft model is asked.</summary>
    public bool LooksUp { get; init; } = true;

    /// <summary>Begins an output's constraint; null = the output may be anything.</summary>
    public Func<Scheduling.ITokenConstraint>? Constraint { get; init; }

    /// <summary>Begins the parser that tells the reasoning and the calls of the output of that index from its text; null = all of it is text.</summary>
    public Func<int, Answers.IAnswerParser>? Answer { get; init; }

    /// <summary>Special tokens that the parser needs to see in the text, also where others are skipped.</summary>
    public IReadOnlySet<int> KeptSpecialTokens { get; init; } = new HashSet<int>();

    /// <summary>The client's stream says when the group is lost and the request waits for it.</summary>
    public bool TellRecovering { get; init; }

    /// <summary>When the client stops waiting; null = never.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>How tokens of one output are chosen: its place in the random counter is its own.</summary>
    public SamplingParameters SamplingOf(int output) => new(Sampling) { OutputIndex = output };
}

/// <summary>What is to be embedded, and how.</summary>
/// <param name="Inputs">Token ids of each input; at least one input, and one token each.</param>
/// <param name="Pooling">Which hidden states make a vector.</param>
/// <param name="Normalize">Vectors are scaled to length 1.</param>
public sealed record EmbeddingOrder(IReadOnlyList<IReadOnlyList<int>> Inputs, Pooling Pooling, bool Normalize);

/// <summary>When an output ends: every value in force. Meaning and ranges: StoppingOptions of the proto.</summary>
public sealed record ResolvedStopping
{
    /// <summary>Most tokens of one output; 0 = only the prompt is computed.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Tokens before which nothing but MaxTokens ends the output.</summary>
    public required int MinTokens { get; init; }

    /// <summary>Not empty strings, in the request's order.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>The request's own.</summary>
    public IReadOnlySet<int> StopTokenIds { get; init; } = new HashSet<int>();

    /// <summary>Stop strings that are special tokens, by token: such a token ends the output though the text may not show it.</summary>
    public IReadOnlyDictionary<int, string> StopStringOfToken { get; init; } = new Dictionary<int, string>();

    /// <summary>The request's, those of stop strings and, unless ignore_eos, the model's.</summary>
    public IReadOnlySet<int> EndTokenIds { get; init; } = new HashSet<int>();

    /// <summary>The model's own end tokens do not end the output.</summary>
    public required bool IgnoreEos { get; init; }

    /// <summary>The text keeps what ended it.</summary>
    public required bool IncludeStop { get; init; }
}
