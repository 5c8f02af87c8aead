using System.Text.Json;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.OpenApi;

/// <summary>What a route takes and answers, for <see cref="ApiDocument"/>.</summary>
/// <param name="Name">Name of the call in generated clients.</param>
/// <param name="Summary">What it does.</param>
/// <param name="Takes">Type of the body; null = it has none.</param>
/// <param name="Answers">Type of the answer.</param>
/// <param name="Streams">Type of a stream's events; null = it never streams.</param>
internal sealed record RouteFacts(string Name, string Summary, Type? Takes, Type Answers, Type? Streams = null)
{
    private static readonly int[] s_refusals =
    [
        StatusCodes.Status400BadRequest, StatusCodes.Status404NotFound, StatusCodes.Status413PayloadTooLarge, StatusCodes.Status429TooManyRequests,
        StatusCodes.Status500InternalServerError, StatusCodes.Status503ServiceUnavailable, StatusCodes.Status504GatewayTimeout,
    ];

    private static readonly Dictionary<string, RouteFacts> s_routes = new()
    {
        ["/v1/completions"] = new("createCompletion", "Continues a prompt, or several.", typeof(CompletionBody), typeof(CompletionReply), typeof(CompletionReply)),
        ["/v1/chat/completions"] = new("createChatCompletion", "Answers a conversation.", typeof(ChatBody), typeof(ChatReply), typeof(ChatChunk)),
        ["/v1/embeddings"] = new("createEmbeddings", "Embeds texts: pooled hidden states.", typeof(EmbeddingBody), typeof(EmbeddingReply)),
        ["/tokenize"] = new("tokenize", "A text or a conversation to token ids.", typeof(TokenizeBody), typeof(TokenizeReply)),
        ["/detokenize"] = new("detokenize", "Token ids to text.", typeof(DetokenizeBody), typeof(DetokenizeReply)),
        ["/apply-template"] = new("applyTemplate", "The prompt that a conversation becomes.", typeof(TokenizeBody), typeof(DetokenizeReply)),
        ["/version"] = new("getVersion", "The server's version.", null, typeof(VersionReply)),
        ["/v1/models"] = new("listModels", "The names of the served model.", null, typeof(ModelListReply)),
        ["/v1/models/{**id}"] = new("getModel", "The model by one of its names.", null, typeof(ModelReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status404NotFound] },
        ["/health/live"] = new("getLiveness", "The process serves.", null, typeof(StatusReply)),
        ["/health/ready"] = new("getReadiness", "A request would run at once.", null, typeof(StatusReply)) { Unready = typeof(StatusReply) },
        ["/topology"] = new("getTopology", "The ranks, what each owns, and where their time goes: tpserve.v1.GetTopologyResponse in JSON.", null, typeof(JsonElement)),
        ["/report"] = new("getReport", "The page of the last report.", null, typeof(string)) { ContentType = "text/html", Refusals = [StatusCodes.Status404NotFound] },
    };

    /// <summary>Kind of content of the answer.</summary>
    public string ContentType { get; init; } = "application/json";

    /// <summary>Names in the path's pattern.</summary>
    public IReadOnlyList<string> PathParameters { get; init; } = [];

    /// <summary>Answer of status 503 that is no error; null = there is none.</summary>
    public Type? Unready { get; init; }

    /// <summary>Statuses with an error body; null = those of every route that takes a body.</summary>
    public IReadOnlyList<int>? Refusals { get; init; }

    /// <summary>Statuses beside 200, and what they bring.</summary>
    public IEnumerable<(int Status, Type Type)> Errors => Unready is { } unready
        ? [(StatusCodes.Status503ServiceUnavailable, unready)]
        : (Refusals ?? (Takes is null ? [] : s_refusals)).Select(status => (status, typeof(ErrorReply)));

    /// <summary>The facts of a path; of one that is not known here, that it takes and answers JSON.</summary>
    public static RouteFacts Of(string path) => s_routes.TryGetValue(path, out RouteFacts? facts)
        ? facts
        : new RouteFacts(string.Concat(path.Split(['/', '-', '{', '}', '*', '.', '_'], StringSplitOptions.RemoveEmptyEntries)), path, null, typeof(JsonElement));
}
