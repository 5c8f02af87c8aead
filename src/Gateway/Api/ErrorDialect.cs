using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.Ollama;
using TpServe.Gateway.Api.OpenAi;

namespace TpServe.Gateway.Api;

/// <summary>How one of the APIs served over HTTP words an error: its body, its last event in a stream, and its own names of fields.</summary>
internal abstract class ErrorDialect
{
    private static readonly ErrorDialect s_openAi = new OpenAiErrors(), s_responses = new ResponsesErrors(), s_embeddings = new EmbeddingErrors(), s_anthropic = new AnthropicErrors(), s_ollama = new OllamaErrors();

    /// <summary>The dialect's names of fields whose names in the proto are others.</summary>
    protected virtual IReadOnlyDictionary<string, string> Names { get; } = new Dictionary<string, string>();

    /// <summary>The dialect of a call: its path tells.</summary>
    public static ErrorDialect Of(HttpContext http) => http.Request.Path switch
    {
        var path when path.StartsWithSegments("/v1/messages", StringComparison.Ordinal) => s_anthropic,
        var path when path.StartsWithSegments("/v1/responses", StringComparison.Ordinal) => s_responses,
        var path when path.StartsWithSegments("/v1/embeddings", StringComparison.Ordinal) => s_embeddings,
        var path when path.StartsWithSegments("/api", StringComparison.Ordinal) => s_ollama,
        _ => s_openAi,
    };

    /// <summary>The error with the field at fault called as the dialect calls it.</summary>
    public ApiError Named(ApiError error)
    {
        if (error.Field is null || NameOf(error.Field) is var name && name == error.Field)
            return error;
        return error with { Field = name, Message = error.Message.Replace($"'{error.Field}'", $"'{name}'", StringComparison.Ordinal) };
    }

    /// <summary>The dialect's name of a field.</summary>
    protected virtual string NameOf(string field) => Names.GetValueOrDefault(field, field);

    // "tools[0].function.name" where a tool is the function itself.
    private protected static string Flat(string field) =>
        field.StartsWith("tools[", StringComparison.Ordinal) ? field.Replace("].function", "]", StringComparison.Ordinal) : field;

    /// <summary>Writes the body of an answer whose status and headers are set.</summary>
    public abstract Task AnswerAsync(HttpContext http, int status, ApiError error);

    /// <summary>Writes the last event of a stream that has begun.</summary>
    public abstract Task EndStreamAsync(HttpContext http, int status, ApiError error);
}
