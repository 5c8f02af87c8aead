namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>OpenAI's error body.</summary>
public sealed record ErrorReply(ErrorReply.Detail Error)
{
    /// <summary>What went wrong.</summary>
    /// <param name="Message">For people.</param>
    /// <param name="Type">invalid_request_error, rate_limit_error, server_error.</param>
    /// <param name="Param">The field at fault, if one is.</param>
    /// <param name="Code">The reason, for programs.</param>
    public sealed record Detail(string Message, string Type, string? Param, string Code);
}
