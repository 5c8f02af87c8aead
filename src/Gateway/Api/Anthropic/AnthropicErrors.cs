namespace TpServe.Gateway.Api.Anthropic;

/// <summary>{"type": "error", "error": {type, message}, "request_id"}; in a stream the event "error".</summary>
internal sealed class AnthropicErrors : ErrorDialect
{
    /// <inheritdoc/>
    protected override IReadOnlyDictionary<string, string> Names { get; } = new Dictionary<string, string>
    {
        ["stop"] = "stop_sequences",
        ["prompt"] = "messages",
        ["constraint.json_schema"] = "output_config.format.schema",
        ["reasoning_effort"] = "output_config.effort",
        ["parallel_tool_calls"] = "tool_choice.disable_parallel_tool_use",
    };

    /// <inheritdoc/>
    protected override string NameOf(string field) => Flat(base.NameOf(field)).Replace("].parameters", "].input_schema", StringComparison.Ordinal);

    /// <inheritdoc/>
    public override Task AnswerAsync(HttpContext http, int status, ApiError error) => JsonBody.WriteAsync(http, Reply(http, status, error), MessagesJson.Api.MessagesErrorReply);

    /// <inheritdoc/>
    public override Task EndStreamAsync(HttpContext http, int status, ApiError error) =>
        new SseStream(http).WriteAsync(Reply(http, status, error), MessagesJson.Api.MessagesErrorReply, "error");

    private static MessagesErrorReply Reply(HttpContext http, int status, ApiError error) => new(
        new MessagesFault(Type(status), error.Message, error.Field, error.Reason.ToLowerInvariant()), MessagesEndpoint.RequestIdOf(http));

    private static string Type(int status) => status switch
    {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        >= 500 => "api_error",
        _ => "invalid_request_error",
    };
}
