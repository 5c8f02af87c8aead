using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>{"error": {message, type, param, code}}.</summary>
internal class OpenAiErrors : ErrorDialect
{
    /// <inheritdoc/>
    public override Task AnswerAsync(HttpContext http, int status, ApiError error) => JsonBody.WriteAsync(http, Reply(status, error), OpenAiJson.Api.ErrorReply);

    /// <inheritdoc/>
    public override Task EndStreamAsync(HttpContext http, int status, ApiError error) => new SseStream(http).WriteAsync(Reply(status, error), OpenAiJson.Api.ErrorReply);

    private static ErrorReply Reply(int status, ApiError error) =>
        new(new ErrorReply.Detail(error.Message, Type(status), error.Field, error.Reason.ToLowerInvariant()));

    private static string Type(int status) => status switch
    {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        >= 500 => "server_error",
        _ => "invalid_request_error",
    };
}

/// <summary>The same of /v1/responses, whose fields have names of their own.</summary>
internal sealed class ResponsesErrors : OpenAiErrors
{
    /// <inheritdoc/>
    protected override IReadOnlyDictionary<string, string> Names { get; } = new Dictionary<string, string>
    {
        ["max_tokens"] = "max_output_tokens",
        ["messages"] = "input",
        ["prompt"] = "input",
        ["constraint.json_schema"] = "text.format.schema",
        ["constraint.json_object"] = "text.format",
        ["reasoning_effort"] = "reasoning.effort",
    };

    /// <inheritdoc/>
    protected override string NameOf(string field) => Flat(base.NameOf(field));
}

/// <summary>The same of /v1/embeddings, whose texts are its input.</summary>
internal sealed class EmbeddingErrors : OpenAiErrors
{
    /// <inheritdoc/>
    protected override IReadOnlyDictionary<string, string> Names { get; } = new Dictionary<string, string> { ["prompt"] = "input" };
}
