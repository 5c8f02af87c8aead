using System.Text.Json;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>What an output must be, in the words of OpenAI (response_format), of vLLM (structured_outputs, and the older guided_…), and of the proto (constraint).</summary>
internal static class ConstraintReader
{
    /// <summary>The constraint of a body; null = none.</summary>
    /// <exception cref="RequestRejectedException">A field is malformed or not served, or several ask for something.</exception>
    public static Constraint? Read(GenerationBody body)
    {
        (string Field, Constraint? Constraint)[] all =
        [
            ("response_format", ResponseFormat(body.ResponseFormat)),
            ("structured_outputs", Object(body.StructuredOutputs, "structured_outputs")),
            ("constraint", Object(body.Constraint, "constraint")),
            ("guided_json", Of("json", body.GuidedJson, "guided_json")),
            ("guided_regex", Of("regex", body.GuidedRegex, "guided_regex")),
            ("guided_choice", Of("choice", body.GuidedChoice, "guided_choice")),
            ("guided_grammar", Of("grammar", body.GuidedGrammar, "guided_grammar")),
        ];
        (string Field, Constraint? Constraint)[] given = [.. all.Where(one => one.Constraint is not null)];
        return given.Length <= 1
            ? given.FirstOrDefault().Constraint
            : throw RequestRejectedException.Invalid(given[1].Field, $"'{given[0].Field}' and '{given[1].Field}' both say what the output must be: give one of them.");
    }

    private static Constraint? ResponseFormat(JsonElement? given)
    {
        const string Field = "response_format";
        if (given is not { ValueKind: not JsonValueKind.Null } format)
            return null;
        if (format.ValueKind != JsonValueKind.Object || !format.TryGetProperty("type", out JsonElement type) || type.ValueKind != JsonValueKind.String)
            throw RequestRejectedException.Invalid(Field, $"'{Field}' must be an object with a type.");
        switch (type.GetString())
        {
            case "text":
                return null;
            case "json_object":
                return new Constraint { JsonObject = true };
            case "json_schema":
                if (!format.TryGetProperty("json_schema", out JsonElement named) || named.ValueKind != JsonValueKind.Object)
                    throw RequestRejectedException.Invalid($"{Field}.json_schema", $"'{Field}.json_schema' must be an object.");
                return named.TryGetProperty("schema", out JsonElement schema) && schema.ValueKind != JsonValueKind.Null
                    ? new Constraint { JsonSchema = JsonBody.Raw(schema) }
                    : new Constraint { JsonObject = true }; // a name alone asks for JSON
            default:
                throw RequestRejectedException.Unimplemented($"{Field}.type");
        }
    }

    private static Constraint? Object(JsonElement? given, string field)
    {
        if (given is not { ValueKind: not JsonValueKind.Null } asked)
            return null;
        if (asked.ValueKind != JsonValueKind.Object)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
        Constraint? found = null;
        foreach (JsonProperty property in asked.EnumerateObject())
        {
            if (Of(property.Name, property.Value, $"{field}.{property.Name}") is not { } constraint)
                continue;
            if (found is not null)
                throw RequestRejectedException.Invalid($"{field}.{property.Name}", $"'{field}' says more than once what the output must be.");
            found = constraint;
        }
        return found;
    }

    private static Constraint? Of(string kind, JsonElement? given, string field)
    {
        if (given is not { ValueKind: not (JsonValueKind.Null or JsonValueKind.False) } value)
            return null;
        switch (kind)
        {
            case "json" or "json_schema":
                return new Constraint { JsonSchema = value.ValueKind == JsonValueKind.String ? JsonBody.Text(value, field) : JsonBody.Raw(value) };
            case "json_object" when value.ValueKind == JsonValueKind.True:
                return new Constraint { JsonObject = true };
            case "regex" when value.ValueKind == JsonValueKind.String:
                return new Constraint { Regex = JsonBody.Text(value, field) };
            case "grammar" when value.ValueKind == JsonValueKind.String:
                return new Constraint { Grammar = JsonBody.Text(value, field) };
            case "choice" when value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(one => one.ValueKind == JsonValueKind.String):
                return new Constraint { Choice = new Choices { Options = { value.EnumerateArray().Select(one => JsonBody.Text(one, field)) } } };
            case "json_object" or "regex" or "grammar" or "choice":
                throw RequestRejectedException.Invalid(field, $"'{field}' must be {kind switch { "json_object" => "true or false", "choice" => "an array of strings", _ => "a string" }}.");
            default:
                throw RequestRejectedException.Unimplemented(field);
        }
    }
}
