using TpServe.Gateway.Access;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>POST /api/embed, and the older /api/embeddings, whose vector is not scaled.</summary>
internal sealed class OllamaEmbedEndpoint(RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings)
{
    /// <summary>Answers /api/embed.</summary>
    public async Task EmbedAsync(HttpContext http)
    {
        OllamaEmbedBody body = await ReadAsync(http);
        if (body.Input is null)
            throw RequestRejectedException.Invalid("input", "'input' must be set.");
        EmbedRequest request = new() { Texts = { body.Input }, Normalize = true };
        EmbeddingResult result = await RunAsync(http, body, request);
        await JsonBody.WriteAsync(
            http, new OllamaEmbedReply(string.IsNullOrEmpty(body.Model) ? model.Name : body.Model, result.Vectors, OllamaEndpoint.Nanoseconds(result.Totals.Total), result.Totals.PromptTokens),
            OllamaJson.Api.OllamaEmbedReply);
    }

    /// <summary>Answers /api/embeddings.</summary>
    public async Task EmbedOneAsync(HttpContext http)
    {
        OllamaEmbedBody body = await ReadAsync(http);
        EmbedRequest request = new() { Texts = { body.Prompt ?? throw RequestRejectedException.Invalid("prompt", "'prompt' must be set.") }, Normalize = false };
        EmbeddingResult result = await RunAsync(http, body, request);
        await JsonBody.WriteAsync(http, new OllamaEmbeddingReply(result.Vectors[0]), OllamaJson.Api.OllamaEmbeddingReply);
    }

    private async Task<OllamaEmbedBody> ReadAsync(HttpContext http)
    {
        engine.RequireRoom();
        OllamaEmbedBody body = await JsonBody.ReadAsync(http, OllamaJson.Api.OllamaEmbedBody, settings.Limits.BodyBytes);
        return body.Dimensions is { } dimensions && dimensions != model.Config.Hidden ? throw RequestRejectedException.Unimplemented("dimensions") : body;
    }

    private async Task<EmbeddingResult> RunAsync(HttpContext http, OllamaEmbedBody body, EmbedRequest request)
    {
        if (OllamaTranslation.Served(body.Model, model) is { } name)
            request.Model = name;
        if (CallId.Given(http, settings.Limits) is { } id)
            request.RequestId = id;
        ValidatedRequest valid = (await parser.ParseAsync(request, cancellation: http.RequestAborted)).BoundTo(http);
        CallId.Tell(http, valid.RequestId);
        return await EmbeddingResult.CollectAsync(engine, valid, http.RequestAborted);
    }
}
