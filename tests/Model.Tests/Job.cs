using TpServe.Checkpoint.Config;
using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

/// <summary>One sequence for the <see cref="StepDriver"/>.</summary>
internal sealed record Job
{
    public required IReadOnlyList<int> Prompt { get; init; }

    /// <summary>Prompt tokens computed in one step.</summary>
    public int Chunk { get; init; } = 512;

    /// <summary>Folder of the adapter it goes through; null = none.</summary>
    public string? Lora { get; init; }

    /// <summary>Tokens to generate.</summary>
    public int NewTokens { get; init; }

    /// <summary>The step in which it joins, 0-based.</summary>
    public int JoinsAt { get; init; }

    /// <summary>What is guessed to follow the tokens so far.</summary>
    public Func<int[], IReadOnlyList<int>> Guesses { get; init; } = _ => [];

    /// <summary>Its prompt's hidden states are pooled so; null = they are not.</summary>
    public Pooling? Pooling { get; init; }

    public SamplingSettings Settings { get; init; } = SamplingSettings.Greedy;

    /// <summary>Likeliest tokens beside each generated one; −1 = no logprobs.</summary>
    public int TopLogprobs { get; init; } = -1;

    /// <summary>Likeliest tokens at each prompt position; −1 = no prompt logprobs.</summary>
    public int PromptTopLogprobs { get; init; } = -1;
}
