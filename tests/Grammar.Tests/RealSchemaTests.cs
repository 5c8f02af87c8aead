using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Schemas as they are published, by the thousand: each compiles, or is refused by name; what is written along one is valid.</summary>
/// <remarks>
/// TPSERVE_SCHEMAS names a file with one {"name": …, "schema": …} a line. They are judged as draft 2020-12 whatever they name themselves, for that is what is served.
/// TPSERVE_SCHEMAS_REPORT names a file for the list of what became of each.
/// </remarks>
[Explicit("needs a file of schemas")]
public sealed class RealSchemaTests
{
    private const int Seeds = 4;
    private const int MostTokens = 120;
    private static readonly TimeSpan s_mostCompileTime = GrammarLimits.Default.CompileTime + TimeSpan.FromSeconds(2);

    [Test]
    public void Schemas_AsPublished_CompileOrAreRefusedByName()
    {
        string? file = Environment.GetEnvironmentVariable("TPSERVE_SCHEMAS");
        if (file is null)
            Assert.Ignore("set TPSERVE_SCHEMAS to a file of schemas");
        Dictionary<string, int> outcomes = [], refusals = [];
        List<string> faults = [], lines = [];
        int walks = 0, unread = 0;
        foreach (string line in File.ReadLines(file))
        {
            JsonNode entry = JsonNode.Parse(line)!;
            string name = entry["name"]!.GetValue<string>(), schema = entry["schema"]!.ToJsonString();
            long start = Stopwatch.GetTimestamp();
            string outcome;
            try
            {
                OutputGrammar grammar = OutputGrammar.FromJsonSchema(schema);
                outcome = "compiled";
                (int ended, bool read) = Walk(name, schema, grammar, faults);
                walks += ended;
                unread += read ? 0 : 1;
            }
            catch (GrammarException fault)
            {
                outcome = fault.Kind.ToString();
                string key = $"{fault.Kind} {fault.Subject}";
                refusals[key] = refusals.GetValueOrDefault(key) + 1;
                if (fault.Subject.Length == 0 || fault.Message.Length == 0)
                    faults.Add($"{name}: refused without a name");
                lines.Add($"{key}\t{name}\t{fault.Message}");
            }
            catch (Exception fault) when (fault is not (OutOfMemoryException or AssertionException))
            {
                outcome = "broken";
                faults.Add($"{name}: {fault}");
            }
            if (Stopwatch.GetElapsedTime(start) is var took && outcome == "Limit" && took > s_mostCompileTime)
                faults.Add($"{name}: refused after {took.TotalSeconds:F1} s");
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }
        StringBuilder report = new();
        report.AppendLine(string.Join(", ", outcomes.OrderByDescending(entry => entry.Value).Select(entry => $"{entry.Key} {entry.Value}")));
        report.AppendLine(CultureInfo.InvariantCulture, $"{walks} outputs validated, {unread} schemas that the validator does not read");
        foreach ((string key, int count) in refusals.OrderByDescending(entry => entry.Value))
            report.AppendLine(CultureInfo.InvariantCulture, $"{count,6}  {key}");
        TestContext.Out.WriteLine(report);
        if (Environment.GetEnvironmentVariable("TPSERVE_SCHEMAS_REPORT") is { Length: > 0 } path)
            File.WriteAllText(path, report + string.Join('\n', faults) + "\n" + string.Join('\n', lines));
        Assert.That(faults, Is.Empty);
    }

    private static (int Ended, bool IsRead) Walk(string name, string schema, OutputGrammar grammar, List<string> faults)
    {
        Func<byte[], bool>? validator = Validator(schema);
        int ended = 0;
        for (int seed = 0; seed < Seeds; seed++)
        {
            byte[]? text;
            try
            {
                text = Walks.Run(grammar, Vocabularies.Small, seed, MostTokens);
            }
            catch (GrammarException fault) when (fault.Kind == GrammarErrorKind.Limit)
            {
                continue;
            }
            if (text is null)
                continue;
            ended++;
            if (validator is not null && !validator(text))
                faults.Add($"{name}: invalid is accepted: {Encoding.UTF8.GetString(text)} by {(schema.Length < 2000 ? schema : schema[..2000])}");
        }
        return (ended, validator is not null);
    }

    private static readonly HashSet<string> s_named = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
    private static readonly HashSet<string> s_notKnown = ["$schema", "externalDocs", "xml", "discriminator", "nullable", "example", "markdownDescription", "deprecationMessage", "enumDescriptions", "markdownEnumDescriptions", "defaultSnippets"];

    // In the words of draft 2020-12, which is what the validator knows, without those that restrict nothing.
    private static JsonNode? AsServed(JsonNode? node, bool isSchema)
    {
        if (node is JsonArray items)
            return new JsonArray([.. items.Select(item => AsServed(item, isSchema: true))]);
        if (node is not JsonObject given)
            return node?.DeepClone();
        JsonObject made = [];
        foreach ((string key, JsonNode? value) in given)
        {
            if (isSchema && (s_notKnown.Contains(key) || key.StartsWith("x-", StringComparison.Ordinal)))
                continue;
            if (isSchema && key is "enum" or "const" or "default" or "examples")
                made[key] = value?.DeepClone();
            else if (isSchema && key == "items" && value is JsonArray)
                made["prefixItems"] = AsServed(value, isSchema: true);
            else if (isSchema && key == "additionalItems")
            {
                if (given["items"] is JsonArray)
                    made["items"] = AsServed(value, isSchema: true);
            }
            else
                made[key] = AsServed(value, !isSchema || !s_named.Contains(key));
        }
        return made;
    }

    // The validator's own faults are none of ours: it refuses words and identifiers that it does not know.
    private static Func<byte[], bool>? Validator(string schema)
    {
        JsonNode document = JsonNode.Parse(schema)!;
        document = AsServed(document, isSchema: true)!;
        try
        {
            SchemaValidator validator = new(document.ToJsonString());
            validator.Accepts("null"u8.ToArray());
            return validator.Accepts;
        }
        catch (Exception fault) when (fault is not (OutOfMemoryException or AssertionException))
        {
            return null;
        }
    }
}
