using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>The server's chat as <see cref="IChatClient"/>.</summary>
/// <remarks>
/// Threads  any.
/// Errors   <see cref="NotSupportedException"/> names an option or content that has no place in a request; <see cref="TpServeException"/> where the call fails.
/// GetService gives <see cref="ChatClientMetadata"/> and the <see cref="TpServeClient"/>. Disposal leaves the client alone.
/// </remarks>
public sealed class TpServeChatClient : IChatClient
{
    private readonly TpServeClient _client;
    private readonly string? _model;

    /// <summary>Chats through <paramref name="client"/>; <paramref name="model"/> is that of requests that name none.</summary>
    public TpServeChatClient(TpServeClient client, string? model = null)
    {
        ArgumentNullException.ThrowIfNull(client);
        (_client, _model) = (client, model ?? client.Options.Model);
    }

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ChatRequest request = ChatRequestMapping.Of(this, messages, options, _model);
        GenerateResponse answer = await _client.ChatAsync(request, cancellationToken: cancellationToken).ConfigureAwait(false);
        return ChatReplyMapping.Response(answer, ShowsReasoning(options), _client.Time.GetUtcNow());
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ChatRequest request = ChatRequestMapping.Of(this, messages, options, _model);
        StreamingReply reply = new(ShowsReasoning(options), _client.Time);
        await foreach (GenerateEvent happened in _client.ChatStreamAsync(request, cancellationToken: cancellationToken).ConfigureAwait(false))
            if (reply.Next(happened) is { } update)
                yield return update;
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? new ChatClientMetadata("tpserve", _client.Options.Address, _model)
            : serviceType == typeof(TpServeClient) ? _client
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private static bool ShowsReasoning(ChatOptions? options) => options?.Reasoning?.Output != ReasoningOutput.None;
}
