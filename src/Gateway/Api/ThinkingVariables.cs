using System.Numerics;
using TpServe.ChatTemplates;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Api;

/// <summary>Whether and how much a model thinks, in the variables by which chat templates ask for it: each template reads its own and passes over the others.</summary>
internal static class ThinkingVariables
{
    /// <summary>The variables; none where nothing is asked.</summary>
    /// <param name="thinks">Whether it does; null = the template decides.</param>
    /// <param name="budgetTokens">How much, in tokens; null = the template decides.</param>
    public static Dictionary<string, Value> Of(bool? thinks, int? budgetTokens = null)
    {
        Dictionary<string, Value> variables = [];
        if (thinks is { } whether)
            variables["enable_thinking"] = variables["thinking"] = RequestValue.Of(whether);
        if (budgetTokens is { } budget)
            variables["thinking_budget"] = RequestValue.Of(new BigInteger(budget));
        return variables;
    }
}
