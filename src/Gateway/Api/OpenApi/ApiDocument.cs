using System.Text.Json;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using TpServe.Gateway.Access;
using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.Ollama;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Api.Responses;

namespace TpServe.Gateway.Api.OpenApi;

/// <summary>GET /openapi.json: the HTTP API as OpenAPI 3.0, made by ASP.NET's generator from the types that are read and written.</summary>
/// <remarks>
/// The document is made when it is asked for: a start costs nothing. Version 3.0, because generators of clients that read 3.1 are few.
/// Names are those of <see cref="OpenAiJson"/>; what its types cannot say (unions, what is required) is in <see cref="SchemaFacts"/>, what a route takes and answers in <see cref="RouteFacts"/>.
/// </remarks>
internal static class ApiDocument
{
    /// <summary>Where it is served.</summary>
    public const string Path = "/openapi.json";

    private const string AnyContent = "*/*", Json = "application/json", BearerKey = "bearerKey", HeaderKey = "headerKey";

    /// <summary>Registers the generator.</summary>
    public static IServiceCollection AddApiDocument(this IServiceCollection services)
    {
        services.ConfigureHttpJsonOptions(json =>
        {
            json.SerializerOptions.PropertyNamingPolicy = OpenAiJson.Api.Options.PropertyNamingPolicy;
            json.SerializerOptions.NumberHandling = OpenAiJson.Api.Options.NumberHandling; // else numbers may be strings, too
            json.SerializerOptions.TypeInfoResolverChain.Insert(0, new OpenAiJson(new JsonSerializerOptions(OpenAiJson.Api.Options)));
            json.SerializerOptions.TypeInfoResolverChain.Insert(1, new ResponsesJson(new JsonSerializerOptions(OpenAiJson.Api.Options)));
            json.SerializerOptions.TypeInfoResolverChain.Insert(2, new MessagesJson(new JsonSerializerOptions(OpenAiJson.Api.Options)));
            json.SerializerOptions.TypeInfoResolverChain.Insert(3, new OllamaJson(new JsonSerializerOptions(OpenAiJson.Api.Options)));
        });
        return services.AddOpenApi(options =>
        {
            options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_0;
            options.ShouldInclude = description => !HttpMethods.IsHead(description.HttpMethod ?? "");
            options.AddDocumentTransformer((document, _, _) =>
            {
                document.Info = new OpenApiInfo { Title = "TpServe", Version = ServerClock.Version, Description = "Tensor-parallel LLM server: OpenAI's routes, and vLLM's names where OpenAI has none." };
                SchemaFacts.SettleNulls(document);
                AddKeys(document);
                return Task.CompletedTask;
            });
            // Any JSON at all is no type of its own.
            options.CreateSchemaReferenceId = type => type.Type == typeof(JsonElement) || type.Type == typeof(JsonElement?) ? null : OpenApiOptions.CreateDefaultSchemaReferenceId(type);
            options.AddOperationTransformer(DescribeAsync);
            options.AddSchemaTransformer(SchemaFacts.CompleteAsync);
        });
    }

    /// <summary>Maps it.</summary>
    public static void MapApiDocument(this WebApplication app) => app.MapOpenApi(Path).ExcludeFromDescription();

    /// <summary>A route's place in the document: what it takes and answers.</summary>
    /// <param name="route">The mapped route.</param>
    /// <param name="method">Its first method.</param>
    /// <param name="path">Its pattern.</param>
    /// <param name="handle">Its handler, without which the generator passes a route over.</param>
    public static void Describe(IEndpointConventionBuilder route, string method, string path, Func<HttpContext, Task> handle)
    {
        RouteFacts facts = RouteFacts.Of(method, path);
        List<object> metadata = [handle.Method, facts];
        if (facts.Takes is { } body)
            metadata.Add(new AcceptsMetadata([AnyContent], body, isOptional: true)); // routing heeds it, too: a body is refused by its reader, not by the router
        metadata.Add(new ProducesResponseTypeMetadata(StatusCodes.Status200OK, facts.Answers, [facts.ContentType]));
        foreach ((int status, Type type) in facts.Errors)
            metadata.Add(new ProducesResponseTypeMetadata(status, type, [Json]));
        route.WithMetadata([.. metadata]);
    }

    // Either header has the same key. A server without keys takes any, so the document is the same for all: what is open to everybody says so itself.
    private static void AddKeys(OpenApiDocument document)
    {
        document.AddComponent(BearerKey, new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "A key of `tpserve keys add`, where the server asks for one: Authorization: Bearer KEY." });
        document.AddComponent(HeaderKey, new OpenApiSecurityScheme { Type = SecuritySchemeType.ApiKey, In = ParameterLocation.Header, Name = "x-api-key", Description = "The same key, as Anthropic's clients send it." });
        document.Security = [.. new[] { BearerKey, HeaderKey }.Select(name => new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(name, document)] = [] })];
    }

    private static async Task DescribeAsync(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        if (context.Description.ActionDescriptor.EndpointMetadata.OfType<RouteFacts>().FirstOrDefault() is not { } facts)
            return;
        operation.OperationId = facts.Name;
        if (AccessTable.OfPath("/" + context.Description.RelativePath) == AccessRule.Open)
            operation.Security = []; // not null: null says "as the document"
        operation.Summary = facts.Summary;
        operation.Tags = new HashSet<OpenApiTagReference>();
        foreach (string parameter in facts.PathParameters)
            (operation.Parameters ??= []).Add(new OpenApiParameter { Name = parameter, In = ParameterLocation.Path, Required = true, Schema = new OpenApiSchema { Type = JsonSchemaType.String } });
        if (operation.RequestBody is OpenApiRequestBody { Content: { } bodies } body && bodies.Remove(AnyContent, out OpenApiMediaType? json))
            (bodies[Json], body.Required) = (json, true);
        if (facts.Streams is { } chunk && operation.Responses?["200"] is OpenApiResponse { Content: { } content } answer)
        {
            answer.Description = facts.StreamType == RouteFacts.Events
                ? "The answer; with \"stream\": true, server-sent events, each of which has one chunk as data, and of OpenAI's older routes the last one [DONE]."
                : "The answer with \"stream\": false; else lines of JSON.";
            if (chunk != facts.Answers)
                context.Document?.AddComponent(chunk.Name, await context.GetOrCreateSchemaAsync(chunk, cancellationToken: cancellation));
            content[facts.StreamType] = new OpenApiMediaType { Schema = new OpenApiSchemaReference(chunk.Name, context.Document) };
        }
    }
}
