using System.Text.Json;

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
        Messages = Json(messages),
        Extra = Json(variables).EnumerateObject().ToDictionary(variable => variable.Name, variable => variable.Value),
        BosToken = "<s>",
        EosToken = "</s>",
        TrustedRoles = trustedRoles.ToHashSet(),
        Now = Now,
    };

    /// <summary>The segments as one text: what the request wrote stands in brackets.</summary>
    public static string Marked(RenderedPrompt prompt) =>
        string.Concat(prompt.Segments.Select(segment => segment.FromTemplate ? segment.Text : $"[{segment.Text}]"));

    public static JsonElement Json(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 100_000 });
        return document.RootElement.Clone();
    }
}
