using Grpc.AspNetCore.Server;

namespace TpServe.Gateway.Access;

/// <summary>What a route or rpc asks of who calls it.</summary>
public enum AccessRule
{
    /// <summary>Nothing: it tells no more than that a server is there.</summary>
    Open,

    /// <summary>Any key.</summary>
    Read,

    /// <summary>Any key, and it counts against the key's limits.</summary>
    Generate,

    /// <summary>A key of scope admin.</summary>
    Admin,

    /// <summary>Nobody may: there is no decision on it yet.</summary>
    Undecided,
}

/// <summary>The decision on every route and every rpc. What is mapped and has no row here is answered to nobody, and a test fails.</summary>
internal static class AccessTable
{
    private static readonly Dictionary<string, AccessRule> s_rules = new(StringComparer.Ordinal)
    {
        // The page is the same for everybody; what it shows comes from the routes below, with the key that its user gives it.
        ["/"] = AccessRule.Open,
        ["/page/{**file}"] = AccessRule.Open,
        ["/health/live"] = AccessRule.Open,
        ["/health/ready"] = AccessRule.Open,
        ["/grpc.health.v1.Health/Check"] = AccessRule.Open,
        ["/grpc.health.v1.Health/Watch"] = AccessRule.Open,
        ["/grpc.health.v1.Health/List"] = AccessRule.Open,

        ["/openapi.json"] = AccessRule.Read,
        ["/version"] = AccessRule.Read,
        ["/info"] = AccessRule.Read,
        ["/load"] = AccessRule.Read,
        ["/metrics"] = AccessRule.Read,
        ["/v1/models"] = AccessRule.Read,
        ["/v1/models/{**id}"] = AccessRule.Read,
        ["/api/tags"] = AccessRule.Read,
        ["/api/ps"] = AccessRule.Read,
        ["/api/version"] = AccessRule.Read,
        ["/api/show"] = AccessRule.Read,
        ["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"] = AccessRule.Read,
        ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] = AccessRule.Read,
        ["/tpserve.v1.Control/GetServerInfo"] = AccessRule.Read,
        ["/tpserve.v1.Control/ListModels"] = AccessRule.Read,
        ["/tpserve.v1.Control/GetLoad"] = AccessRule.Read,
        ["/openengine.v1.Control/GetServerInfo"] = AccessRule.Read,
        ["/openengine.v1.Control/GetModelInfo"] = AccessRule.Read,
        ["/openengine.v1.Control/GetLoad"] = AccessRule.Read,
        ["/openengine.v1.Control/Health"] = AccessRule.Read,
        ["/openengine.v1.Control/GetKvConnectorInfo"] = AccessRule.Read,
        ["/openengine.v1.Control/GetKvEventSources"] = AccessRule.Read,
        ["/tpserve.v1.Control/ListLoras"] = AccessRule.Read,
        ["/openengine.v1.Control/ListLoras"] = AccessRule.Read,
        // Of its own requests; of others' they say that there is none. Admin sees all.
        ["/tpserve.v1.Control/Abort"] = AccessRule.Read,
        ["/openengine.v1.Control/Abort"] = AccessRule.Read,
        ["/v1/responses/{id}"] = AccessRule.Read,
        ["/v1/responses/{id}/input_items"] = AccessRule.Read,
        ["/v1/responses/{id}/cancel"] = AccessRule.Read,

        ["/v1/completions"] = AccessRule.Generate,
        ["/v1/chat/completions"] = AccessRule.Generate,
        ["/v1/embeddings"] = AccessRule.Generate,
        ["/v1/responses"] = AccessRule.Generate,
        ["/v1/messages"] = AccessRule.Generate,
        ["/v1/messages/count_tokens"] = AccessRule.Generate,
        ["/api/chat"] = AccessRule.Generate,
        ["/api/generate"] = AccessRule.Generate,
        ["/api/embed"] = AccessRule.Generate,
        ["/api/embeddings"] = AccessRule.Generate,
        ["/tokenize"] = AccessRule.Generate,
        ["/detokenize"] = AccessRule.Generate,
        ["/apply-template"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/Generate"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/GenerateStream"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/Chat"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/ChatStream"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/Tokenize"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/Detokenize"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/Embed"] = AccessRule.Generate,
        ["/tpserve.v1.Inference/ResumeStream"] = AccessRule.Generate,
        ["/openengine.v1.Inference/Generate"] = AccessRule.Generate,
        ["/openengine.v1.Inference/Embed"] = AccessRule.Generate,
        ["/openengine.v1.Inference/Classify"] = AccessRule.Generate,
        ["/openengine.v1.Inference/Score"] = AccessRule.Generate,

        ["/topology"] = AccessRule.Admin,
        ["/report"] = AccessRule.Admin,
        ["/v1/load_lora_adapter"] = AccessRule.Admin,
        ["/v1/unload_lora_adapter"] = AccessRule.Admin,
        ["/tpserve.v1.Control/LoadLora"] = AccessRule.Admin,
        ["/tpserve.v1.Control/UnloadLora"] = AccessRule.Admin,
        ["/tpserve.v1.Control/GetTopology"] = AccessRule.Admin,
        ["/tpserve.v1.Control/TraceSteps"] = AccessRule.Admin,
        ["/tpserve.v1.Control/Drain"] = AccessRule.Admin,
        ["/tpserve.v1.Control/FlushPrefixCache"] = AccessRule.Admin,
        ["/tpserve.v1.Control/Reshard"] = AccessRule.Admin,
        ["/tpserve.v1.Control/GetTpReport"] = AccessRule.Admin,
        ["/openengine.v1.Control/Drain"] = AccessRule.Admin,
        ["/openengine.v1.Control/LoadLora"] = AccessRule.Admin,
        ["/openengine.v1.Control/UnloadLora"] = AccessRule.Admin,
        ["/openengine.v1.Control/SubscribeKvEvents"] = AccessRule.Admin,
        ["/openengine.v1.Control/SubscribeRuntimeEvents"] = AccessRule.Admin,
        // Ollama's routes that change what is served: refused, and to whom is no secret worth a scope.
        ["/api/pull"] = AccessRule.Read,
        ["/api/push"] = AccessRule.Read,
        ["/api/create"] = AccessRule.Read,
        ["/api/copy"] = AccessRule.Read,
        ["/api/delete"] = AccessRule.Read,
    };

    /// <summary>Routes and rpcs that have a row.</summary>
    public static IEnumerable<string> Paths => s_rules.Keys;

    /// <summary>What a mapped route or rpc asks for. What nothing is mapped to asks for any key: without one nobody learns which paths there are.</summary>
    public static AccessRule Of(Endpoint? endpoint) => PathOf(endpoint) is { } path ? OfPath(path) : AccessRule.Read;

    /// <summary>What a path of the table asks for.</summary>
    public static AccessRule OfPath(string path) => s_rules.GetValueOrDefault(path, AccessRule.Undecided);

    /// <summary>What the table calls an endpoint; null = it is none of ours: nothing is mapped there, or the framework says no by itself.</summary>
    public static string? PathOf(Endpoint? endpoint) => endpoint switch
    {
        null => null,
        _ when endpoint.Metadata.GetMetadata<GrpcMethodMetadata>() is { } rpc => rpc.Method.FullName,
        RouteEndpoint { RoutePattern: { RawText: { } text, ParameterPolicies.Count: 0 } } when !text.Contains("{unimplemented", StringComparison.Ordinal) => text,
        _ => null,
    };
}
