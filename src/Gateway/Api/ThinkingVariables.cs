using System.Numerics;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Api;

/// <summary>Whether and how much a model thinks, in the variables by which chat templates ask for it: each template reads its own and passes over the others.</summary>
internal static class ThinkingVariables
{
    private static readonly HashSet<string> s_efforts = ["none", "minimal", "low", "medium", "high", "xhigh"];

    /// <summary>The variables; none where nothing is asked.</summary>
    /// <param name="thinks">Whether it does; null = the template decides.</param>
    /// <param name="effort">How much, in a word; null = the template decides.</param>
    /// <param name="budgetTokens">How much, in tokens; null = the template decides.</param>
    public static Dictionary<string, Value> Of(bool? thinks, string? effort = null, int? budgetTokens = null)
    {
        Dictionary<string, Value> variables = [];
        if (thinks is { } whether)
            variables["enable_thinking"] = variables["thinking"] = RequestValue.Of(whether);
        if (effort is not null)
            variables["reasoning_effort"] = RequestValue.Of(effort);
        if (budgetTokens is { } budget)
            variables["thinking_budget"] = RequestValue.Of(new BigInteger(budget));
        return variables;
    }

    /// <summary>The variables of an effort in a word.</summary>
    /// <exception cref="RequestRejectedException">There is no such effort.</exception>
    public static Dictionary<string, Value> OfEffort(string? effort, string field) => effort is null
        ? []
        : s_efforts.Contains(effort) ? Of(effort != "none", effort) : throw RequestRejectedException.OutOfRange(field, $"'{effort}'", "none, minimal, low, medium, high or xhigh");
}
