using System.Text.Json;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>Body of /v1/messages and of /v1/messages/count_tokens.</summary>
public sealed class MessagesBody : SamplingBody
{
    /// <summary>Required, but where tokens are only counted.</summary>
    public int? MaxTokens { get => Stopping.HasMaxTokens ? Stopping.MaxTokens : null; set => Set(value, given => Stopping.MaxTokens = given); }

    /// <summary>A string, or an array of text blocks.</summary>
    public JsonElement? System { get; set; }

    /// <summary>Turns; an assistant's as the last one is gone on with.</summary>
    public List<TurnBody?>? Messages { get; set; }

    public List<string>? StopSequences { get => [.. Stopping.Stop]; set => Fill(Stopping.Stop, value?.Contains(null!) == true ? throw RequestRejectedException.Invalid("stop_sequences", "'stop_sequences' must be an array of strings.") : value); }

    /// <summary>Functions that the model may call.</summary>
    public JsonElement? Tools { get; set; }

    public ToolChoiceBody? ToolChoice { get; set; }

    public ThinkingBody? Thinking { get; set; }

    public OutputConfigBody? OutputConfig { get; set; }
}

/// <summary>One turn.</summary>
public sealed class TurnBody
{
    /// <summary>user or assistant.</summary>
    public string? Role { get; set; }

    /// <summary>A string, or an array of blocks.</summary>
    public JsonElement? Content { get; set; }
}

/// <summary>Whether and what the model must call.</summary>
public sealed class ToolChoiceBody
{
    /// <summary>auto, any, tool, none.</summary>
    public string? Type { get; set; }

    /// <summary>tool: which one.</summary>
    public string? Name { get; set; }

    /// <summary>At most one call.</summary>
    public bool? DisableParallelToolUse { get; set; }
}

/// <summary>Whether and how much the model thinks.</summary>
public sealed class ThinkingBody
{
    /// <summary>enabled, disabled; adaptive leaves it to the model.</summary>
    public string? Type { get; set; }

    /// <summary>enabled: how much, for templates that are told.</summary>
    public int? BudgetTokens { get; set; }
}

/// <summary>What the answer must be.</summary>
public sealed class OutputConfigBody
{
    /// <summary>json_schema with its schema.</summary>
    public JsonElement? Format { get; set; }

    /// <summary>How much the model thinks, in a word.</summary>
    public string? Effort { get; set; }
}
