using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.OpenApi;

/// <summary>What the types of bodies and answers cannot say of themselves: unions, and which fields a request must have.</summary>
internal static class SchemaFacts
{
    private const string Inputs = "A string, an array of strings, an array of token ids, or an array of such arrays.";

    // A field of several types is any JSON with words: generators of clients make empty classes of a choice between a string and an array.
    private static readonly Dictionary<(Type Owner, string Name), Func<OpenApiSchema>> s_properties = new()
    {
        [(typeof(CompletionBody), "prompt")] = () => Any(Inputs),
        [(typeof(EmbeddingBody), "input")] = () => Any(Inputs),
        [(typeof(GenerationBody), "stop")] = () => Any("A string, or an array of strings."),
        [(typeof(SamplingBody), "seed")] = Integer,
        [(typeof(GenerationBody), "response_format")] = Object,
        [(typeof(GenerationBody), "structured_outputs")] = Object,
        [(typeof(GenerationBody), "constraint")] = Object,
        [(typeof(MessageBody), "content")] = () => Any("A string, or an array of parts."),
        [(typeof(MessageBody), "tool_calls")] = () => List(Object()),
        [(typeof(ChatBody), "chat_template_kwargs")] = Object,
        [(typeof(TokenizeBody), "chat_template_kwargs")] = Object,
        [(typeof(EmbeddingItem), "embedding")] = Vector,
        [(typeof(ChoiceExtras), "stop_reason")] = () => Any("A string, a token id, or null."),
    };

    /// <summary>Lists that hold null for a token of which nothing is said.</summary>
    private static readonly HashSet<(Type Owner, string Name)> s_nullItems = [(typeof(ChoiceExtras), "prompt_logprobs"), (typeof(LegacyLogprobs), "top_logprobs")];

    private static readonly Dictionary<Type, string[]> s_required = new()
    {
        [typeof(CompletionBody)] = ["prompt"],
        [typeof(ChatBody)] = ["messages"],
        [typeof(EmbeddingBody)] = ["input"],
        [typeof(DetokenizeBody)] = ["tokens"],
        [typeof(MessageBody)] = ["role"],
    };

    /// <summary>Completes a generated schema.</summary>
    public static Task CompleteAsync(OpenApiSchema schema, OpenApiSchemaTransformerContext context, CancellationToken cancellation)
    {
        Type type = context.JsonTypeInfo.Type;
        if (type == typeof(UsageReply))
        {
            Become(schema, Usage(), nullable: false);
            return Task.CompletedTask;
        }
        if (context.JsonPropertyInfo is { } property)
        {
            // Declared by the type itself or by one that it inherits from.
            for (Type? owner = property.DeclaringType; owner is not null; owner = owner.BaseType)
                if (s_properties.TryGetValue((owner, property.Name), out Func<OpenApiSchema>? make))
                {
                    Become(schema, make(), nullable: owner != typeof(EmbeddingItem));
                    break;
                }
                else if (s_nullItems.Contains((owner, property.Name)) && schema.Items is OpenApiSchema items)
                {
                    items.Type |= JsonSchemaType.Null;
                    break;
                }
            if (property.DeclaringType == typeof(ChatChunkChoice) && property.Name == "logprobs")
                schema.Type |= JsonSchemaType.Null; // a stream's chunk stands whole in the document, where the generator leaves that out
            return Task.CompletedTask;
        }
        if (s_required.TryGetValue(type, out string[]? names))
            schema.Required = new HashSet<string>([.. schema.Required ?? new HashSet<string>(), .. names]);
        return Task.CompletedTask;
    }

    /// <summary>A body's field that holds an object is that object: who has none leaves it out, and generators of clients make little of a choice between it and null.</summary>
    public static void SettleNulls(OpenApiDocument document)
    {
        foreach ((string name, IOpenApiSchema schema) in document.Components?.Schemas ?? new Dictionary<string, IOpenApiSchema>())
            if (name.EndsWith("Body", StringComparison.Ordinal) && schema.Properties is { } fields)
                foreach ((string field, IOpenApiSchema kind) in fields.ToArray())
                    if (kind.OneOf?.OfType<OpenApiSchemaReference>().ToArray() is [{ } held])
                        fields[field] = held;
    }

    private static void Become(OpenApiSchema schema, OpenApiSchema wanted, bool nullable)
    {
        (schema.Type, schema.Format, schema.Pattern) = (wanted.Type is { } type && nullable ? type | JsonSchemaType.Null : wanted.Type, wanted.Format, null);
        (schema.Description, schema.Items, schema.Properties, schema.Required) = (wanted.Description, wanted.Items, wanted.Properties, wanted.Required);
        schema.AdditionalPropertiesAllowed = true;
    }

    private static OpenApiSchema Usage() => new()
    {
        Type = JsonSchemaType.Object,
        Required = new HashSet<string>(["prompt_tokens", "completion_tokens", "total_tokens"]),
        Properties = new Dictionary<string, IOpenApiSchema>
        {
            ["prompt_tokens"] = Integer(),
            ["completion_tokens"] = Integer(),
            ["total_tokens"] = Integer(),
            ["prompt_tokens_details"] = new OpenApiSchema { Type = JsonSchemaType.Object, Properties = new Dictionary<string, IOpenApiSchema> { ["cached_tokens"] = Integer() } },
            ["completion_tokens_details"] = new OpenApiSchema { Type = JsonSchemaType.Object, Properties = new Dictionary<string, IOpenApiSchema> { ["reasoning_tokens"] = Integer() } },
        },
    };

    private static OpenApiSchema Integer() => new() { Type = JsonSchemaType.Integer, Format = "int64" };

    private static OpenApiSchema Object() => new() { Type = JsonSchemaType.Object };

    private static OpenApiSchema List(OpenApiSchema items) => new() { Type = JsonSchemaType.Array, Items = items };

    private static OpenApiSchema Vector() => new()
    {
        Type = JsonSchemaType.Array,
        Items = new OpenApiSchema { Type = JsonSchemaType.Number, Format = "float" },
        Description = "With encoding_format base64: a string, the base64 text of the float32 values, little-endian.",
    };

    private static OpenApiSchema Any(string shapes) => new() { Description = shapes };
}
