using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>The server's embeddings as <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>.</summary>
/// <remarks>
/// Threads  any.
/// Errors   <see cref="NotSupportedException"/> names an option that has no place in a request; <see cref="TpServeException"/> where the call fails.
/// More texts than one call takes go in several. GetService gives <see cref="EmbeddingGeneratorMetadata"/> and the <see cref="TpServeClient"/>. Disposal leaves the client alone.
/// </remarks>
public sealed class TpServeEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>
{
    private const int MostTexts = 256; // of one EmbedRequest
    private readonly TpServeClient _client;
    private readonly string? _model;

    /// <summary>Embeds through <paramref name="client"/>; <paramref name="model"/> is that of requests that name none.</summary>
    public TpServeEmbeddingGenerator(TpServeClient client, string? model = null)
    {
        ArgumentNullException.ThrowIfNull(client);
        (_client, _model) = (client, model ?? client.Options.Model);
    }

    /// <inheritdoc/>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        EmbedRequest request = Request(options);
        GeneratedEmbeddings<Embedding<float>> embeddings = [];
        long tokens = 0;
        foreach (string[] texts in values.Chunk(MostTexts))
        {
            EmbedResponse answer = await _client.EmbedAsync(new EmbedRequest(request) { Texts = { texts } }, cancellationToken: cancellationToken).ConfigureAwait(false);
            if (answer.Embeddings.Count != texts.Length)
                throw TpServeException.OfStream($"The server gave {answer.Embeddings.Count} vectors for {texts.Length} texts.");
            DateTimeOffset now = _client.Time.GetUtcNow();
            embeddings.AddRange(answer.Embeddings.Select(vector => new Embedding<float>(vector.Values.ToArray()) { CreatedAt = now, ModelId = answer.Model }));
            tokens += answer.PromptTokens;
        }
        embeddings.Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens };
        return embeddings;
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("tpserve", _client.Options.Address, _model)
            : serviceType == typeof(TpServeClient) ? _client
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private EmbedRequest Request(EmbeddingGenerationOptions? options)
    {
        EmbedRequest request = options?.RawRepresentationFactory?.Invoke(this) switch
        {
            null => new EmbedRequest(),
            EmbedRequest raw => raw.Clone(),
            { } other => throw new NotSupportedException($"EmbeddingGenerationOptions.RawRepresentationFactory gave a {other.GetType()}; only a {typeof(EmbedRequest)} can be sent to TpServe."),
        };
        if (options?.Dimensions is { } dimensions)
            throw new NotSupportedException($"EmbeddingGenerationOptions.Dimensions is {dimensions}; only whole vectors come from TpServe.");
        if ((options?.ModelId ?? (request.HasModel ? null : _model)) is { } model)
            request.Model = model;
        foreach ((string name, object? value) in options?.AdditionalProperties ?? [])
            request.Normalize = (name, value) is ("normalize", bool normalize)
                ? normalize
                : throw new NotSupportedException($"EmbeddingGenerationOptions.AdditionalProperties[\"{name}\"] is '{value}'; \"normalize\", true or false, is what can be sent to TpServe.");
        return request;
    }
}
