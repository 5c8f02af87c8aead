using System.Globalization;
using System.Text.Json;

namespace TpServe.Gateway.Reports.Inputs;

/// <summary>A prompt and where it comes from.</summary>
/// <param name="Source">As a fault names it: "line 3", "synthetic prompt 3".</param>
/// <param name="Text">The prompt.</param>
internal sealed record ReportPrompt(string Source, string Text);

/// <summary>Prompts of a file: a line is a JSON string, a JSON object with a string "prompt", or the prompt itself. Lines of white space are passed over.</summary>
internal static class PromptFile
{
    private const string Flag = "--prompts";
    private const int MostPrompts = 10_000;

    /// <summary>Its prompts, at least one.</summary>
    /// <exception cref="InputFileException">A line is not what its first character says it is, the file holds no prompt or too many, or cannot be read.</exception>
    public static IReadOnlyList<ReportPrompt> Read(string path)
    {
        List<ReportPrompt> prompts = [];
        foreach ((int number, string line) in InputFile.ReadLines(Flag, path))
        {
            if (prompts.Count == MostPrompts)
                throw new InputFileException(Flag, path, number, string.Create(CultureInfo.InvariantCulture, $"a report takes at most {MostPrompts} prompts."));
            prompts.Add(new ReportPrompt(string.Create(CultureInfo.InvariantCulture, $"line {number}"), Parse(path, number, line)));
        }
        return prompts.Count > 0 ? prompts : throw new InputFileException($"{Flag} {path} holds no prompt.");
    }

    private static string Parse(string path, int number, string line)
    {
        if (line.TrimStart()[0] is not ('"' or '{'))
            return line;
        try
        {
            using JsonDocument document = JsonDocument.Parse(line, InputFile.Json);
            JsonElement value = document.RootElement;
            if (value.ValueKind == JsonValueKind.Object)
                value = value.TryGetProperty("prompt", out JsonElement prompt) ? prompt : throw new InputFileException(Flag, path, number, "the object has no \"prompt\".");
            string? text = value.ValueKind == JsonValueKind.String ? value.GetString() : throw new InputFileException(Flag, path, number, "\"prompt\" is no string.");
            return string.IsNullOrEmpty(text) ? throw new InputFileException(Flag, path, number, "the prompt is empty.") : text;
        }
        catch (JsonException fault)
        {
            throw new InputFileException(Flag, path, number, InputFile.Reason(fault));
        }
        catch (InvalidOperationException)
        {
            throw new InputFileException(Flag, path, number, "the string holds half a surrogate pair.");
        }
    }
}
