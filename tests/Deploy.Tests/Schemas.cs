using System.Text.Json.Nodes;
using NJsonSchema;
using NJsonSchema.Validation;
using TpServe.Testing;

namespace TpServe.Deploy.Tests;

/// <summary>The schemas of tests/Data/schemas; its README says where they come from.</summary>
internal static class Schemas
{
    private static readonly Lazy<JsonSchema> s_compose = new(() => Read("compose-spec.json"));
    private static readonly Lazy<JsonSchema> s_kubernetes = new(() => Read("kubernetes.schema.json"));

    /// <summary>What is wrong with a compose file.</summary>
    public static IEnumerable<string> Compose(JsonNode file) => Validate(s_compose.Value, file);

    /// <summary>What is wrong with a manifest of deploy/kubernetes.</summary>
    public static IEnumerable<string> Kubernetes(JsonNode manifest) =>
        s_kubernetes.Value.Definitions.TryGetValue(manifest["kind"]?.ToString() ?? "", out JsonSchema? kind)
            ? Validate(kind, manifest)
            : [$"kind '{manifest["kind"]}' is unknown"];

    private static IEnumerable<string> Validate(JsonSchema schema, JsonNode file) => schema.Validate(file.ToJsonString()).SelectMany(Flat);

    // A fault below oneOf hides in the branches.
    private static IEnumerable<string> Flat(ValidationError fault) =>
        fault is ChildSchemaValidationError nested
            ? nested.Errors.Values.SelectMany(faults => faults).SelectMany(Flat).Prepend($"{fault.Path}: {fault.Kind}")
            : [$"{fault.Path}: {fault.Kind}"];

    private static JsonSchema Read(string file) => JsonSchema.FromJsonAsync(File.ReadAllText(TestData.Local(Path.Combine("schemas", file)))).GetAwaiter().GetResult();
}
