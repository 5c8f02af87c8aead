using System.Text.Json;

namespace TpServe.Gateway.Reports.Inputs;

/// <summary>A question with its choices.</summary>
/// <param name="Line">Where it stands.</param>
/// <param name="Prompt">What comes before a choice.</param>
/// <param name="Choices">Texts that may follow; at least two, none empty.</param>
/// <param name="Answer">Position of the right one.</param>
internal sealed record EvalItem(int Line, string Prompt, IReadOnlyList<string> Choices, int Answer);

/// <summary>Questions of a file: a line is {"prompt": text, "choices": [text, …], "answer": position from 0 or the choice's text}.</summary>
internal static class EvalFile
{
    private const string Flag = "--eval";
    private const int MostChoices = 64;

    /// <summary>Its questions, at least one.</summary>
    /// <exception cref="InputFileException">A line is no such object, the file holds none, or cannot be read.</exception>
    public static IReadOnlyList<EvalItem> Read(string path)
    {
        List<EvalItem> items = [];
        foreach ((int number, string line) in InputFile.ReadLines(Flag, path))
            try
            {
                using JsonDocument document = JsonDocument.Parse(line, InputFile.Json);
                items.Add(Parse(document.RootElement, number, fault => new InputFileException(Flag, path, number, fault)));
            }
            catch (JsonException fault)
            {
                throw new InputFileException(Flag, path, number, InputFile.Reason(fault));
            }
            catch (InvalidOperationException)
            {
                throw new InputFileException(Flag, path, number, "a string holds half a surrogate pair.");
            }
        return items.Count > 0 ? items : throw new InputFileException($"{Flag} {path} holds no question.");
    }

    private static EvalItem Parse(JsonElement line, int number, Func<string, InputFileException> wrong)
    {
        if (line.ValueKind != JsonValueKind.Object)
            throw wrong("it is no object.");
        if (!line.TryGetProperty("prompt", out JsonElement prompt) || prompt.ValueKind != JsonValueKind.String || prompt.GetString() is not { Length: > 0 } text)
            throw wrong("\"prompt\" must be a string that is not empty.");
        if (!line.TryGetProperty("choices", out JsonElement list) || list.ValueKind != JsonValueKind.Array || list.GetArrayLength() is < 2 or > MostChoices)
            throw wrong($"\"choices\" must be a list of 2 to {MostChoices} strings.");
        string[] choices = [.. list.EnumerateArray().Select(choice => choice.ValueKind == JsonValueKind.String && choice.GetString() is { Length: > 0 } one ? one : throw wrong("a choice is no string, or is empty."))];
        if (!line.TryGetProperty("answer", out JsonElement answer))
            throw wrong("\"answer\" is missing.");
        int position = answer.ValueKind switch
        {
            JsonValueKind.Number when answer.TryGetInt32(out int at) => at,
            JsonValueKind.String => Array.IndexOf(choices, answer.GetString()),
            _ => throw wrong("\"answer\" must be a position from 0, or the text of a choice."),
        };
        return position >= 0 && position < choices.Length
            ? new EvalItem(number, text, choices, position)
            : throw wrong($"\"answer\" is {(answer.ValueKind == JsonValueKind.String ? "none of the choices" : $"not in 0..{choices.Length - 1}")}.");
    }
}
