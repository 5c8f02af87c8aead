using System.Text.Json;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Tests;

/// <summary>Renders a template over a conversation and variables given as JSON.</summary>
internal static class TemplateRun
{
    public static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 34, 56, TimeSpan.Zero);

    public static RenderedPrompt Render(
        string template, string messages = "[]", string variables = "{}", RenderLimits? limits = null, params string[] trustedRoles) =>
        ChatTemplate.Parse(template).Render(Input(messages, variables, trustedRoles), limits ?? RenderLimits.Default, CancellationToken.None);

    public static ChatTemplateInput Input(string messages = "[]", string variables = "{}", params string[] trustedRoles) => new()
    {
        Messages = RequestValue.FromJson(Json(messages)),
        Extra = Variables(Json(variables)),
        BosToken = "<s>",
        EosToken = "</s>",
        TrustedRoles = trustedRoles.ToHashSet(),
        Now = Now,
    };

    /// <summary>The segments as one text: what the request wrote stands in brackets.</summary>
    public static string Marked(RenderedPrompt prompt) =>
        string.Concat(prompt.Segments.Select(segment => segment.FromTemplate ? segment.Text : $"[{segment.Text}]"));

    public static Dictionary<string, Value> Variables(JsonElement json) =>
        json.EnumerateObject().ToDictionary(variable => variable.Name, variable => RequestValue.FromJson(variable.Value));

    public static JsonElement Json(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 100_000 });
        return document.RootElement.Clone();
    }
}
