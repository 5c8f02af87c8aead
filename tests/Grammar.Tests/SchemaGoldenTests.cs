using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Grammar.Tests;

/// <summary>The public JSON Schema test suite: nothing invalid is accepted; what is valid and rejected, and what is refused, stands here by name.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class SchemaGoldenTests
{
    private static IEnumerable<string> Files => Directory.EnumerateFiles(TestData.Local("json-schema"), "*.json").Select(path => Path.GetFileNameWithoutExtension(path)!).Order();

    [TestCaseSource(nameof(Files))]
    public void Suite_EveryInstance_IsJudgedAsTheSuiteSays(string file)
    {
        List<string> wrong = [], rejected = [], refused = [];
        using JsonDocument suite = JsonDocument.Parse(File.ReadAllBytes(TestData.FindOrIgnore($"json-schema/{file}.json")));
        foreach (JsonElement group in suite.RootElement.EnumerateArray())
        {
            string name = $"{file}: {group.GetProperty("description").GetString()}";
            OutputGrammar? grammar = null;
            try
            {
                grammar = OutputGrammar.FromJsonSchema(group.GetProperty("schema").GetRawText());
            }
            catch (GrammarException fault) when (fault.Kind == GrammarErrorKind.NotServed)
            {
                refused.Add($"{name}: {fault.Subject}");
                continue;
            }
            catch (GrammarException fault) when (fault.Kind == GrammarErrorKind.Unsatisfiable)
            {
                // Nothing may be written, so nothing is accepted.
            }
            foreach (JsonElement test in group.GetProperty("tests").EnumerateArray())
            {
                JsonElement data = test.GetProperty("data");
                bool valid = test.GetProperty("valid").GetBoolean();
                bool[] accepts = [.. new[] { JsonText.Write(data, spaced: false), JsonText.Write(data, spaced: true), data.GetRawText() }.Select(text => grammar?.Accepts(Encoding.UTF8.GetBytes(text)) ?? false)];
                string line = $"{name}: {test.GetProperty("description").GetString()}";
                if (!valid && accepts.Contains(true))
                    wrong.Add(line);
                if (valid && !(accepts[0] && accepts[1]))
                    rejected.Add(line);
            }
        }
        Assert.Multiple(() =>
        {
            Assert.That(wrong, Is.Empty);
            Assert.That(rejected.Except(SchemaGoldenLists.Rejected.Keys), Is.Empty);
            Assert.That(SchemaGoldenLists.Rejected.Keys.Where(line => line.StartsWith(file + ": ", StringComparison.Ordinal)).Except(rejected), Is.Empty, "listed, and accepted");
            Assert.That(refused, Is.EquivalentTo(SchemaGoldenLists.Refused.Where(line => line.StartsWith(file + ": ", StringComparison.Ordinal))));
        });
    }
}
