using System.Text.Json;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Answers;

/// <summary>What is found in the templates of the golden set, and that the calls which they write are read back.</summary>
public sealed class GoldenFormatTests
{
    private const string Folder = "chat-templates";

    private static IEnumerable<TestCaseData> Files() =>
        new[] { TestData.Local(Folder), TestData.Find(Folder)! }
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.jinja")).Select(file => Path.GetFileNameWithoutExtension(file)).Distinct().Order(StringComparer.Ordinal)
            .Select(name => new TestCaseData(name).SetArgDisplayNames(name));

    [TestCaseSource(nameof(Files))]
    public void Template_OfTheGoldenSet_ShowsItsFormat(string name)
    {
        AnswerFormat answers = Format(name, out _);
        TemplateTraits traits = answers.Traits;
        string shape = traits.Calls is { } calls ? $"{(calls.TextArguments ? "text" : "object")}{(calls.NoContent ? " without content" : "")}{(calls.ShortIds ? " with short ids" : "")}" : "-";
        string found = $"{answers.Tools.Name} | {(answers.TemplateTakesTools ? "template" : "words")} | {shape} | {(traits.ShowsResults ? "results" : "-")} | {answers.Reasoning?.Name ?? (answers.IsHarmony ? "channels" : "-")}";
        Assert.That(traits.Calls is null || traits.ShowsSeveralCalls, Is.EqualTo(!GoldenFormats.OneCallAMessage.Contains(name)), "all calls of a message");
        Assert.That(found, Is.EqualTo(GoldenFormats.ByTemplate.GetValueOrDefault(name)));
    }

    [TestCaseSource(nameof(Files))]
    public void Calls_ThatTheTemplateWrites_AreReadBack(string name)
    {
        AnswerFormat answers = Format(name, out JsonElement root);
        int read = 0;
        foreach (JsonElement golden in root.GetProperty("cases").EnumerateArray())
        {
            string kind = golden.GetProperty("name").GetString()!;
            if (kind is not ("tool-round-trip" or "tool-round-trip-null-content" or "tool-two-calls") || !golden.TryGetProperty("expected", out JsonElement expected))
                continue;
            JsonElement[] messages = [.. golden.GetProperty("messages").EnumerateArray()];
            int turn = Array.FindIndex(messages, message => message.TryGetProperty("tool_calls", out _));
            string prompt = expected.GetString()!, user = messages[turn - 1].GetProperty("content").GetString()!;
            string written = prompt[(prompt.LastIndexOf(user, StringComparison.Ordinal) + user.Length)..];
            if (!written.Contains("get_weather", StringComparison.Ordinal) || answers.IsGeneric)
                continue; // it does not write calls, or in a way of its own
            if (!answers.Tools.IsMarked)
                written = written[written.IndexOf('{', StringComparison.Ordinal)..];
            else if (answers.IsHarmony)
                written = written[written.IndexOf("<|start|>", StringComparison.Ordinal)..];
            (string, string)[] made = [.. messages[turn].GetProperty("tool_calls").EnumerateArray().Select(call => call.GetProperty("function")).Select(call => (call.GetProperty("name").GetString()!, Plain(call.GetProperty("arguments").GetRawText())))];
            ToolUse use = new(Parsed.Tools, Protos.V1.ToolChoice.Types.Mode.Auto, null, true);
            if (GoldenFormats.FirstCallOnly.Contains(name))
                made = made[..1];
            Parsed parsed = Parsed.OfEveryCut(() => answers.Parsers(use, ThoughtState.Before, "r", true, true)!(0), written);
            Assert.That(parsed.Calls.Select(call => (call.Name!, Plain(call.Arguments))), Is.EqualTo(made).AsCollection, written);
            read++;
        }
        Assert.That(read > 0, Is.EqualTo(GoldenFormats.ReadBack.Contains(name)));
    }

    private static string Plain(string json) => JsonSerializer.Serialize(JsonSerializer.Deserialize<JsonElement>(json));

    private static AnswerFormat Format(string name, out JsonElement root)
    {
        string file = TestData.Find($"{Folder}/{name}.json")!;
        root = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(file));
        return AnswerFormat.Of(ChatTemplate.Parse(File.ReadAllText(Path.ChangeExtension(file, ".jinja"))), Text(root, "bos_token"), Text(root, "eos_token"), TestModel.Tokenizer);
    }

    private static string? Text(JsonElement root, string name) => root.GetProperty(name).GetString();
}
