using System.Globalization;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.ChatTemplates.Tests;

/// <summary>Every case of the golden set, and the table of operations: the text that transformers and Jinja2 rendered, character by character.</summary>
public sealed class GoldenTemplateTests
{
    private const string Folder = "chat-templates";

    /// <summary>Roomy, so that a busy machine does not turn into a failure: time is tested elsewhere.</summary>
    private static readonly RenderLimits s_limits = RenderLimits.Default with { MaxTime = TimeSpan.FromMinutes(1) };

    private static IEnumerable<TestCaseData> Files()
    {
        IEnumerable<string> names = new[] { TestData.Local(Folder), TestData.Find(Folder)! }
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.json")).Select(file => Path.GetFileName(file)!);
        foreach (string name in names.Distinct().Order(StringComparer.Ordinal))
            yield return new TestCaseData(TestData.Find($"{Folder}/{name}")).SetArgDisplayNames(Path.GetFileNameWithoutExtension(name));
    }

    [TestCaseSource(nameof(Files))]
    public void Render_GoldenCases_MatchesTransformers(string file)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement root = document.RootElement;
        DateTimeOffset now = DateTimeOffset.Parse(root.GetProperty("now").GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        List<string> mismatches = [];
        int cases = 0;
        foreach (JsonElement set in root.TryGetProperty("templates", out JsonElement all) ? all.EnumerateArray().ToArray() : [root])
        {
            string text = set.TryGetProperty("template_text", out JsonElement inline)
                ? inline.GetString()!
                : File.ReadAllText(Path.Combine(Path.GetDirectoryName(file)!, set.GetProperty("template").GetString()!));
            foreach (JsonElement golden in set.GetProperty("cases").EnumerateArray())
            {
                cases++;
                if (Check(text, set, golden, now) is { } mismatch)
                    mismatches.Add($"{Name(set)}/{Name(golden)}: {mismatch}");
            }
        }
        Assert.That(cases, Is.GreaterThan(0));
        Assert.That(mismatches, Is.Empty, () => $"{mismatches.Count} of {cases} cases differ. The first:\n{mismatches.FirstOrDefault()}");
    }

    /// <summary>What is wrong with one case, or null.</summary>
    private static string? Check(string template, JsonElement set, JsonElement golden, DateTimeOffset now)
    {
        string? expected = Text(golden, "expected");
        string actual;
        RenderedPrompt prompt;
        try
        {
            prompt = ChatTemplate.Parse(template).Render(Input(set, golden, now), s_limits, CancellationToken.None);
            actual = prompt.Text;
        }
        catch (ChatTemplateException e)
        {
            if (expected is not null)
                return $"failed with {e.Reason}: {e.Message}\n{e.StackTrace}";
            return CheckFault(golden, e);
        }
        if (expected is null)
            return $"rendered, but should fail with {Text(golden, "error_type")}: {Text(golden, "error")}";
        if (string.Concat(prompt.Segments.Select(segment => segment.Text)) != actual)
            return "the segments do not add up to the text";
        int at = 0;
        while (at < Math.Min(actual.Length, expected.Length) && actual[at] == expected[at])
            at++;
        return actual == expected ? null : $"differs at {at}:\n  expected ...{Around(expected, at)}\n  actual   ...{Around(actual, at)}";
    }

    private static string? CheckFault(JsonElement golden, ChatTemplateException fault)
    {
        ChatTemplateErrorReason? expected = Text(golden, "error_type") switch
        {
            "TemplateError" => ChatTemplateErrorReason.Raised,
            "TypeError" => ChatTemplateErrorReason.Type,
            "UndefinedError" => ChatTemplateErrorReason.Undefined,
            "SecurityError" => ChatTemplateErrorReason.Security,
            "TemplateSyntaxError" or "TemplateAssertionError" or "SyntaxError" => ChatTemplateErrorReason.Syntax,
            _ => null, // of Python's other classes only the failing counts
        };
        if (expected is not null && fault.Reason != expected)
            return $"failed with {fault.Reason} ({fault.Message}), should be {expected}: {Text(golden, "error")}";
        bool sameMessage = expected != ChatTemplateErrorReason.Raised || fault.Message == Text(golden, "error");
        return sameMessage ? null : $"raised '{fault.Message}', should be '{Text(golden, "error")}'";
    }

    private static ChatTemplateInput Input(JsonElement set, JsonElement golden, DateTimeOffset now) => new()
    {
        Messages = RequestValue.FromJson(golden.GetProperty("messages")),
        Tools = golden.TryGetProperty("tools", out JsonElement tools) && tools.ValueKind != JsonValueKind.Null ? RequestValue.FromJson(tools) : null,
        AddGenerationPrompt = golden.GetProperty("add_generation_prompt").GetBoolean(),
        ContinueFinalMessage = golden.TryGetProperty("continue_final_message", out JsonElement go) && go.GetBoolean(),
        BosToken = Text(set, "bos_token"),
        EosToken = Text(set, "eos_token"),
        Extra = golden.TryGetProperty("extra", out JsonElement extra) ? TemplateRun.Variables(extra) : [],
        Now = now,
    };

    private static string Name(JsonElement element) => Text(element, "name") ?? "?";

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement text) && text.ValueKind == JsonValueKind.String ? text.GetString() : null;

    private static string Around(string text, int at) => JsonSerializer.Serialize(text[Math.Max(0, at - 40)..Math.Min(text.Length, at + 60)]);
}
