using System.Text.Json;
using System.Text.Json.Nodes;
using TpServe.Gateway.Requests;
using TpServe.Grammar;
using TpServe.Grammar.Parts;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Answers;

/// <summary>What an answer may be where calls are required, held to a schema or to one, or where the model thinks before an answer of a given form.</summary>
/// <remarks>
/// 1. thoughts, where the model has any: any text up to their end; 2. calls as its family writes them, with arguments by the tools' schemas; or, where they are
/// not required, an answer of the constraint's form, or any text in which no call begins.
/// </remarks>
internal sealed class CallGrammar(AnswerFormat answers)
{
    private static readonly GrammarPart s_lineEnds = new GrammarPart.Regex("\\n{0,2}");
    private static readonly string[] s_opens =
        ["additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames", "minProperties", "allOf", "anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "dependentSchemas"];
    private static readonly Mark s_analysis = "<|channel|>analysis<|message|>", s_analysisEnd = "<|end|>", s_assistant = "<|start|>assistant", s_final = "<|channel|>final<|message|>";

    /// <summary>Whether a request's outputs need a form of their own beside the constraint's, or without one.</summary>
    public static bool IsNeeded(ToolUse use, Constraint? constraint, ThoughtState state) =>
        use.IsForced || (use.Tools.Count > 0 && (constraint is not null || !use.Several || use.IsSubset || use.Tools.Any(tool => tool.IsStrict)))
        || (constraint is not null && state is ThoughtState.Before or ThoughtState.Within);

    /// <summary>Names all that the form depends on beside the constraint, for what was compiled to be found again.</summary>
    public static string NameOf(ToolUse use, ThoughtState state) =>
        JsonSerializer.Serialize((string?[])[$"{state} {use.Mode} {use.Several}", use.Named, .. use.Tools.SelectMany(tool => (string?[])[tool.Name, tool.Parameters, tool.IsStrict ? "strict" : null])]);

    /// <summary>The form of an output.</summary>
    public GrammarPart Output(ToolUse use, GrammarPart? constraint, ThoughtState state)
    {
        GrammarPart answer;
        if (use.IsForced)
            answer = Calls(use);
        else if (constraint is not null)
            answer = use.Tools.Count == 0 ? Final(constraint) : new GrammarPart.Choice(Calls(use), Final(constraint));
        else if (answers.Tools.IsMarked && !answers.IsHarmony)
            answer = new GrammarPart.Sequence(answers.Lacking(answers.Tools.Trigger), GrammarPart.Optional(Calls(use)));
        else
            answer = new GrammarPart.Choice(Calls(use), answers.IsHarmony ? Final(new GrammarPart.Without(null)) : new GrammarPart.Regex("(?:[^\\[{`\\s][\\s\\S]*)?"));
        return new GrammarPart.Sequence(Thoughts(state), answer);
    }

    private GrammarPart Final(GrammarPart constraint) => answers.IsHarmony ? new GrammarPart.Sequence(answers.Written(s_final.Written), constraint) : constraint;

    private GrammarPart Thoughts(ThoughtState state)
    {
        if (answers.IsHarmony && state == ThoughtState.Before)
            return GrammarPart.Optional(new GrammarPart.Sequence(answers.Written(s_analysis.Written), answers.UpTo(s_analysisEnd), answers.Written(s_assistant.Written)));
        if (answers.Reasoning is not { } marks)
            return GrammarPart.Nothing;
        GrammarPart rest = new GrammarPart.Sequence(answers.UpTo(marks.Close), s_lineEnds);
        return state switch
        {
            ThoughtState.Within => rest,
            ThoughtState.Before => GrammarPart.Optional(new GrammarPart.Sequence(answers.Written(marks.Open.Written), rest)),
            _ => GrammarPart.Nothing,
        };
    }

    private GrammarPart Calls(ToolUse use)
    {
        ToolFormat format = answers.Tools;
        IEnumerable<ToolDefinition> tools = use.Mode == ToolChoice.Types.Mode.Function ? use.Tools.Where(tool => tool.Name == use.Named) : use.Tools;
        GrammarPart one = new GrammarPart.Choice([.. tools.Select(tool => new GrammarPart.Sequence(answers.Written(format.CallBegin.Written), Body(format.Body, tool, use.IsForced || tool.IsStrict), answers.Written(format.CallEnd.Written)))]);
        bool isList = format.Body is CallBody.Json { IsList: true };
        GrammarPart all = use.Several && use.Mode != ToolChoice.Types.Mode.Function ? new GrammarPart.Repeat(one, answers.Written(isList ? ", " : format.Separator)) : one;
        return new GrammarPart.Sequence(answers.Written(format.Begin.Written), new GrammarPart.Text(isList ? "[" : ""), all, new GrammarPart.Text(isList ? "]" : ""), answers.Written(format.End.Written));
    }

    private GrammarPart Body(CallBody body, ToolDefinition tool, bool bySchema)
    {
        GrammarPart arguments = new GrammarPart.Schema(bySchema ? Closed(tool).ToJsonString() : """{"type":"object"}""", tool.Name);
        return body switch
        {
            CallBody.Json json => new GrammarPart.Sequence(
                new GrammarPart.Text($"{{\"{json.NameKey}\": {ToolArguments.Quoted(tool.Name)}, \"{json.ArgumentsKey}\": "), arguments, new GrammarPart.Text("}")),
            CallBody.Named named => new GrammarPart.Sequence(
                new GrammarPart.Text(named.Prefix + tool.Name), named.IsNumbered ? new GrammarPart.Regex(":[0-9]{1,3}") : GrammarPart.Nothing,
                named.BeforeId.IsEmpty ? GrammarPart.Nothing : new GrammarPart.Sequence(answers.Written(named.BeforeId.Written), new GrammarPart.Regex("[a-zA-Z0-9]{9}")),
                answers.Written(named.AfterName.Written), arguments),
            CallBody.Tagged tagged => new GrammarPart.Sequence(new GrammarPart.Text(tool.Name), answers.Written(tagged.AfterName.Written), Arguments(tagged, tool)),
            _ => throw new ArgumentException($"Unknown body {body.GetType().Name}.", nameof(body)),
        };
    }

    // Each argument in the schema's order: a text as it is, all else as JSON.
    private GrammarPart Arguments(CallBody.Tagged body, ToolDefinition tool)
    {
        JsonObject schema = Closed(tool);
        HashSet<string> required = [.. (schema["required"] as JsonArray ?? []).Select(name => name?.ToString() ?? "")];
        List<GrammarPart> parts = [];
        foreach ((string key, JsonNode? value) in schema["properties"] as JsonObject ?? [])
        {
            GrammarPart one = new GrammarPart.Sequence(
                answers.Written(body.ArgumentBegin.Written), new GrammarPart.Text(key), answers.Written(body.AfterKey.Written), Value(body, tool, schema, key, value), answers.Written(body.ArgumentEnd.Written));
            parts.Add(required.Contains(key) ? one : GrammarPart.Optional(one));
        }
        return new GrammarPart.Sequence(parts);
    }

    // Models that are free to add members of their own go on and on: where a schema does not say that there may be others, those that it declares are all.
    private static JsonObject Closed(ToolDefinition tool)
    {
        try
        {
            JsonObject schema = JsonNode.Parse(tool.ArgumentsSchema)!.AsObject();
            _ = schema.ToJsonString(); // reads all of it
            Close(schema);
            return schema;
        }
        catch (ArgumentException) // a name stands twice
        {
            throw new GrammarException(GrammarErrorKind.Invalid, tool.Name, "", "its schema has a member twice");
        }

        static void Close(JsonObject schema)
        {
            if (schema["properties"] is JsonObject properties)
            {
                if (!s_opens.Any(schema.ContainsKey) && (schema["required"] as JsonArray ?? []).All(name => properties.ContainsKey(name?.ToString() ?? "")))
                    schema["additionalProperties"] = false;
                foreach (JsonObject inner in properties.Select(property => property.Value).OfType<JsonObject>())
                    Close(inner);
            }
            if (schema["items"] is JsonObject items)
                Close(items);
        }
    }

    private GrammarPart Value(CallBody.Tagged body, ToolDefinition tool, JsonObject whole, string key, JsonNode? schema)
    {
        if (schema is not JsonObject own)
            return new GrammarPart.Schema(schema?.ToJsonString() ?? "true", tool.Name);
        if (own["enum"] is JsonArray values && values.All(value => value?.GetValueKind() == JsonValueKind.String))
            return new GrammarPart.Choice([.. values.Select(value => new GrammarPart.Text(value!.GetValue<string>()))]);
        if (own["type"]?.ToString() == "string")
        {
            string? bound = own.Select(member => member.Key).FirstOrDefault(word => word is "pattern" or "format" or "minLength" or "maxLength" or "const" or "not" or "allOf" or "anyOf" or "oneOf");
            return bound is null
                ? answers.Lacking(body.ArgumentEnd.Written.Trim())
                : throw new GrammarException(GrammarErrorKind.NotServed, bound, $"#/properties/{key}", $"texts that are written without quotes, as this model writes the arguments of '{tool.Name}', cannot be held to it");
        }
        JsonObject with = own.DeepClone().AsObject();
        foreach (string definitions in (string[])["$defs", "definitions"])
            if (whole[definitions] is { } shared)
                with[definitions] = shared.DeepClone();
        return new GrammarPart.Schema(with.ToJsonString(), tool.Name);
    }
}
