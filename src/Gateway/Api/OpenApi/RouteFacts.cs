using System.Text.Json;
using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.Ollama;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Api.Responses;

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
        ["/v1/responses"] = new("createResponse", "Answers an input, after a response that is kept or by itself.", typeof(ResponsesBody), typeof(ResponseReply), typeof(ResponseEvent)),
        ["/v1/responses/{id}"] = new("getResponse", "A response that is kept.", null, typeof(ResponseReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status404NotFound] },
        ["DELETE /v1/responses/{id}"] = new("deleteResponse", "Forgets a response.", null, typeof(DeletedReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status404NotFound] },
        ["/v1/responses/{id}/input_items"] = new("listInputItems", "The input of a response that is kept.", null, typeof(InputItemsReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status404NotFound] },
        ["/v1/responses/{id}/cancel"] = new("cancelResponse", "Refused: no response is made in the background.", null, typeof(ResponseReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status400BadRequest, StatusCodes.Status404NotFound] },
        ["/v1/messages"] = new("createMessage", "Answers a conversation, in Anthropic's words.", typeof(MessagesBody), typeof(MessageReply), typeof(MessageEvent)) { Fault = typeof(MessagesErrorReply) },
        ["/v1/messages/count_tokens"] = new("countTokens", "How many tokens a conversation has.", typeof(MessagesBody), typeof(TokenCountReply)) { Fault = typeof(MessagesErrorReply) },
        ["/api/chat"] = new("ollamaChat", "Answers a conversation, in Ollama's words.", typeof(OllamaChatBody), typeof(OllamaReply), typeof(OllamaReply)) { Fault = typeof(OllamaErrorReply), StreamType = Lines },
        ["/api/generate"] = new("ollamaGenerate", "Answers a prompt, in Ollama's words.", typeof(OllamaGenerateBody), typeof(OllamaReply), typeof(OllamaReply)) { Fault = typeof(OllamaErrorReply), StreamType = Lines },
        ["/api/embed"] = new("ollamaEmbed", "Embeds texts, in Ollama's words.", typeof(OllamaEmbedBody), typeof(OllamaEmbedReply)) { Fault = typeof(OllamaErrorReply) },
        ["/api/embeddings"] = new("ollamaEmbedOne", "Embeds a text, in Ollama's older words.", typeof(OllamaEmbedBody), typeof(OllamaEmbeddingReply)) { Fault = typeof(OllamaErrorReply) },
        ["/api/tags"] = new("ollamaTags", "The names of the served model, in Ollama's words.", null, typeof(OllamaModelsReply)),
        ["/api/ps"] = new("ollamaPs", "The model once it is loaded, in Ollama's words.", null, typeof(OllamaModelsReply)),
        ["/api/show"] = new("ollamaShow", "What the model is, in Ollama's words.", typeof(OllamaShowBody), typeof(OllamaShowReply)) { Fault = typeof(OllamaErrorReply) },
        ["/api/version"] = new("ollamaVersion", "Ollama's version whose API this is.", null, typeof(OllamaVersionReply)),
        ["/tokenize"] = new("tokenize", "A text or a conversation to token ids.", typeof(TokenizeBody), typeof(TokenizeReply)),
        ["/detokenize"] = new("detokenize", "Token ids to text.", typeof(DetokenizeBody), typeof(DetokenizeReply)),
        ["/apply-template"] = new("applyTemplate", "The prompt that a conversation becomes.", typeof(TokenizeBody), typeof(DetokenizeReply)),
        ["/v1/load_lora_adapter"] = new("loadLoraAdapter", "Loads a LoRA adapter on every worker.", typeof(LoadLoraBody), typeof(StatusReply)) { Refusals = [.. s_refusals, StatusCodes.Status403Forbidden, StatusCodes.Status409Conflict] },
        ["/v1/unload_lora_adapter"] = new("unloadLoraAdapter", "No request finds the adapter any more; those on it run to their end.", typeof(UnloadLoraBody), typeof(StatusReply)),
        ["/version"] = new("getVersion", "The server's version.", null, typeof(VersionReply)),
        ["/v1/models"] = new("listModels", "The names of the served model.", null, typeof(ModelListReply)),
        ["/v1/models/{**id}"] = new("getModel", "The model by one of its names.", null, typeof(ModelReply)) { PathParameters = ["id"], Refusals = [StatusCodes.Status404NotFound] },
        ["/health/live"] = new("getLiveness", "The process serves.", null, typeof(StatusReply)),
        ["/health/ready"] = new("getReadiness", "A request would run at once.", null, typeof(StatusReply)) { Unready = typeof(StatusReply) },
        ["/topology"] = new("getTopology", "The ranks, what each owns, and where their time goes: tpserve.v1.GetTopologyResponse in JSON.", null, typeof(JsonElement)),
        ["/load"] = new("getLoad", "How much runs, waits and is held in the KV cache: tpserve.v1.GetLoadResponse in JSON.", null, typeof(JsonElement)),
        ["/info"] = new("getServerInfo", "Release, model, limits and defaults: tpserve.v1.GetServerInfoResponse in JSON.", null, typeof(JsonElement)),
        ["/"] = new("getPage", "The page for people: chat, and the ranks drawn.", null, typeof(string)) { ContentType = "text/html" },
        ["/page/{**file}"] = new("getPageFile", "A file that the page loads.", null, typeof(string)) { ContentType = "text/javascript", PathParameters = ["file"], Refusals = [StatusCodes.Status404NotFound] },
        ["/report"] = new("getReport", "The page of the last report.", null, typeof(string)) { ContentType = "text/html", Refusals = [StatusCodes.Status404NotFound] },
    };

    /// <summary>A stream of server-sent events.</summary>
    public const string Events = "text/event-stream";

    private const string Lines = "application/x-ndjson";

    /// <summary>Kind of content of a stream.</summary>
    public string StreamType { get; init; } = Events;

    /// <summary>Type of an error's body.</summary>
    public Type Fault { get; init; } = typeof(ErrorReply);

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
        : (Refusals ?? (Takes is null ? [] : s_refusals)).Select(status => (status, Fault));

    /// <summary>The facts of a path; of one that is not known here, that it takes and answers JSON.</summary>
    public static RouteFacts Of(string method, string path) => s_routes.TryGetValue($"{method} {path}", out RouteFacts? facts) || s_routes.TryGetValue(path, out facts)
        ? facts
        : new RouteFacts(string.Concat(path.Split(['/', '-', '{', '}', '*', '.', '_'], StringSplitOptions.RemoveEmptyEntries)), path, null, typeof(JsonElement));
}
