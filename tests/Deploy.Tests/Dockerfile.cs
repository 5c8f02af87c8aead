using System.Text.Json;
using System.Text.RegularExpressions;

namespace TpServe.Deploy.Tests;

/// <summary>A Dockerfile as its instructions, by stage.</summary>
internal sealed partial class Dockerfile
{
    /// <summary>One instruction: COPY, RUN, …, and the rest of its lines as one.</summary>
    internal readonly record struct Instruction(string Stage, string Name, string Text);

    private Dockerfile(IReadOnlyList<Instruction> instructions) => Instructions = instructions;

    public IReadOnlyList<Instruction> Instructions { get; }

    /// <summary>Name of the last stage, which becomes the image.</summary>
    public string Final => Instructions[^1].Stage;

    public static Dockerfile Parse(string text)
    {
        List<Instruction> instructions = [];
        string stage = "";
        string logical = string.Join('\n', text.Split('\n').Where(line => !line.TrimStart().StartsWith('#'))).Replace("\\\n", " ", StringComparison.Ordinal);
        foreach (string line in logical.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0))
        {
            int space = line.IndexOf(' ');
            string name = line[..space].ToUpperInvariant(), rest = line[space..].Trim();
            if (name == "FROM")
                stage = rest.Contains(" AS ", StringComparison.Ordinal) ? rest[(rest.IndexOf(" AS ", StringComparison.Ordinal) + 4)..] : "final";
            instructions.Add(new Instruction(stage, name, rest));
        }
        return new Dockerfile(instructions);
    }

    public IEnumerable<Instruction> Of(string stage, string name) => Instructions.Where(instruction => instruction.Stage == stage && instruction.Name == name);

    /// <summary>Variables of the image.</summary>
    public Dictionary<string, string> Environment() => Environment(Final);

    /// <summary>Variables of a stage.</summary>
    public Dictionary<string, string> Environment(string stage) =>
        Of(stage, "ENV").SelectMany(instruction => Pair().Matches(instruction.Text)).ToDictionary(match => match.Groups[1].Value, match => match.Groups[2].Value.Trim('"'));

    /// <summary>Sources that a stage copies from the build context, with their targets.</summary>
    public IEnumerable<(string Source, string Target)> Copied(string stage) =>
        from instruction in Of(stage, "COPY")
        where !instruction.Text.Contains("--from=", StringComparison.Ordinal)
        let words = instruction.Text.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        from source in words[..^1]
        select (source, words[^1]);

    /// <summary>Paths that the build lays below /image, as the image has them: folders, programs.</summary>
    public HashSet<string> Laid() =>
        [.. Of("build", "RUN").SelectMany(instruction => Laying().Matches(instruction.Text)).Select(match => match.Groups[1].Value)];

    /// <summary>The words of an instruction in JSON form.</summary>
    public static string[] Words(string json) => JsonSerializer.Deserialize<string[]>(json)!;

    [GeneratedRegex("([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|[^ ]*)")]
    private static partial Regex Pair();

    [GeneratedRegex("/image(/[^ ]+)")]
    private static partial Regex Laying();
}
