using System.Net;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;
using NJsonSchema;
using NJsonSchema.Validation;
using NSwag;
using NUnit.Framework;

namespace TpServe.Gateway.Tests.Api;

/// <summary>The document as another implementation reads it: every route is in it, and what is sent and answered is what it says.</summary>
public sealed class OpenApiTests
{
    private static async Task<OpenApiDocument> DocumentAsync(ApiFixture api) => await OpenApiDocument.FromJsonAsync(await api.Http.GetStringAsync("/openapi.json"));

    [Test]
    public async Task Document_OfTheServer_NamesEveryRouteOnce()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        OpenApiDocument document = await DocumentAsync(api);
        Assert.That(document.OpenApi, Does.StartWith("3.0"));
        string[] routes =
        [
            .. api.Routes.Select(route => "/" + string.Join('/', route.PathSegments.Select(segment => string.Concat(segment.Parts.Select(part => part switch
            {
                RoutePatternLiteralPart literal => literal.Content,
                RoutePatternParameterPart parameter => $"{{{parameter.Name}}}",
                _ => throw new NotSupportedException($"{part}"),
            })))))
            .Where(path => path != "/openapi.json"),
        ];
        Assert.That(document.Paths.Keys, Is.EquivalentTo(routes.Distinct()));
        string[] names = [.. document.Operations.Select(operation => operation.Operation.OperationId)];
        Assert.That(names, Is.Unique.And.All.Not.Empty);
        Assert.That(document.Operations.Select(operation => operation.Operation.Summary), Is.All.Not.Empty);
        foreach (OpenApiOperationDescription route in document.Operations)
            Assert.That(
                route.Operation.ActualParameters.Where(parameter => parameter.Kind == OpenApiParameterKind.Path).Select(parameter => parameter.Name),
                Is.EqualTo(route.Path.Split('/').Where(part => part.StartsWith('{')).Select(part => part.Trim('{', '}'))), route.Path);
    }

    [Test]
    public async Task Document_OfTheServer_SaysWhichRoutesAskForAKeyAndHow()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        OpenApiDocument document = await DocumentAsync(api);
        Assert.That(document.SecurityDefinitions.Values.Select(scheme => (scheme.Type, scheme.Scheme, scheme.Name)), Is.EquivalentTo(new[]
        {
            (OpenApiSecuritySchemeType.Http, "bearer", (string?)null), (OpenApiSecuritySchemeType.ApiKey, null, "x-api-key"),
        }));
        Assert.That(document.Security, Has.Count.EqualTo(2), "either of them, not both");
        foreach (OpenApiOperationDescription route in document.Operations)
            Assert.That(route.Operation.ActualSecurity.Count == 0, Is.EqualTo(route.Path is "/" or "/page/{file}" or "/health/live" or "/health/ready"), route.Path);
    }

    private static IEnumerable<TestCaseData> Calls()
    {
        yield return new TestCaseData("/v1/completions", """{"prompt":"a","max_tokens":2,"temperature":0,"logprobs":1,"stop":["x"],"seed":7}""");
        yield return new TestCaseData("/v1/completions", """{"prompt":[[1,2],[3]],"n":2,"stop":"x","logit_bias":{"5":1.5},"prompt_logprobs":1,"return_token_ids":true,"cache":{"bypass":true}}""");
        yield return new TestCaseData("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"max_tokens":3,"logprobs":true,"top_logprobs":2}""");
        yield return new TestCaseData("/v1/chat/completions", """{"model":"test-model","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"response_format":{"type":"text"}}""");
        yield return new TestCaseData("/v1/embeddings", """{"input":["a","b"],"encoding_format":"float"}""");
        yield return new TestCaseData("/v1/responses", """{"input":"a","max_output_tokens":3,"top_logprobs":1,"text":{"format":{"type":"text"}},"metadata":{"a":"b"}}""");
        yield return new TestCaseData("/v1/messages", """{"max_tokens":3,"system":"s","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}""");
        yield return new TestCaseData("/v1/messages", """{"messages":[]}""");
        yield return new TestCaseData("/api/chat", """{"messages":[{"role":"user","content":"a"}],"stream":false,"options":{"num_predict":3,"seed":7}}""");
        yield return new TestCaseData("/api/generate", """{"prompt":"a","stream":false}""");
        yield return new TestCaseData("/api/show", """{"model":"test-model"}""");
        yield return new TestCaseData("/tokenize", """{"prompt":"a","return_token_strs":true}""");
        yield return new TestCaseData("/detokenize", """{"tokens":[97]}""");
        yield return new TestCaseData("/apply-template", """{"messages":[{"role":"user","content":"a"}]}""");
        foreach (string path in new[] { "/version", "/api/tags", "/api/ps", "/api/version", "/v1/models", "/v1/models/test-model", "/health/live", "/health/ready", "/topology", "/load", "/info" })
            yield return new TestCaseData(path, null);
        yield return new TestCaseData("/v1/completions", """{"prompt":"a","n":100}""");
        yield return new TestCaseData("/v1/models/other", null);
    }

    [TestCaseSource(nameof(Calls))]
    public async Task Call_AsTheDocumentSays_IsAnsweredAsItSays(string path, string? body)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        OpenApiDocument document = await DocumentAsync(api);
        OpenApiOperation operation = document.Operations.Single(one => one.Path == path || one.Path.Contains('{') && path.StartsWith(one.Path[..one.Path.IndexOf('{')], StringComparison.Ordinal) && path != "/v1/models").Operation;
        if (body is not null)
            AssertFits(operation.RequestBody!.Content["application/json"].Schema!, body);
        using HttpResponseMessage response = body is null
            ? await api.Http.GetAsync(path)
            : await api.Http.PostAsync(path, new StringContent(body, Encoding.UTF8, "application/json"));
        string answer = await response.Content.ReadAsStringAsync();
        OpenApiResponse described = operation.ActualResponses[((int)response.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture)];
        AssertFits(described.Content["application/json"].Schema!, answer);
    }

    [TestCase("/v1/completions", """{"prompt":"a","stream":true,"logprobs":1,"stream_options":{"include_usage":true}}""")]
    [TestCase("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"stream":true,"logprobs":true}""")]
    public async Task Stream_AsTheDocumentSays_HasEventsAsItSays(string path, string body)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        OpenApiDocument document = await DocumentAsync(api);
        JsonSchema chunk = document.Paths[path][OpenApiOperationMethod.Post].Responses["200"].Content["text/event-stream"].Schema!;
        List<JsonElement> events = await api.StreamAsync(path, body);
        Assert.That(events, Has.Count.GreaterThan(2));
        foreach (JsonElement one in events)
            AssertFits(chunk, one.GetRawText());
    }

    [TestCase("/v1/completions", "{}")]
    [TestCase("/v1/completions", """{"prompt":"a","max_tokens":"many"}""")]
    [TestCase("/v1/chat/completions", """{"messages":"a"}""")]
    [TestCase("/v1/embeddings", """{"input":"a","priority":"high"}""")]
    public async Task Body_ThatIsRefused_DoesNotFitTheDocumentEither(string path, string body)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        OpenApiDocument document = await DocumentAsync(api);
        JsonSchema schema = document.Paths[path][OpenApiOperationMethod.Post].RequestBody!.Content["application/json"].Schema!;
        Assert.That(schema.Validate(body, SchemaType.OpenApi3), Is.Not.Empty);
        Assert.That((await api.PostAsync(path, body)).Status, Is.EqualTo(HttpStatusCode.BadRequest));
    }

    private static void AssertFits(JsonSchema schema, string json)
    {
        ICollection<ValidationError> faults = schema.Validate(json, SchemaType.OpenApi3);
        Assert.That(faults, Is.Empty, $"{string.Join("; ", faults)}\n{json}");
    }
}
