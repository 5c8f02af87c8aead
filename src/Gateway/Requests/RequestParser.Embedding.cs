using System.Globalization;
using Grpc.Core;
using TpServe.Gateway.Adapters;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Requests;

/// <summary>Requests that embed.</summary>
public sealed partial class RequestParser
{
    /// <summary>Checks what is to be embedded and tokenizes it; all inputs or none.</summary>
    public async Task<ValidatedRequest> ParseAsync(EmbedRequest request, DateTimeOffset? deadline = null, CancellationToken cancellation = default)
    {
        // 1. What can be said before any input is tokenized.
        ServedLora? lora = RequireModel(request.HasModel ? request.Model : null);
        if (request.HasRequestId)
            RequireRequestId(request.RequestId);
        RequireWithin("priority", request.Priority, -RequestLimits.Priority, RequestLimits.Priority);
        string salt = Salt(request.Cache);
        if (_model.Pooling.Unserved is { } unserved)
            throw new RequestRejectedException(StatusCode.FailedPrecondition, "POOLING_NOT_SERVED", $"Model '{_model.Name}' embeds with {unserved}, which is not served.");
        if (request.Texts.Count > 0 && request.TokenIds.Count > 0)
            throw RequestRejectedException.Invalid("token_ids", "'texts' and 'token_ids' exclude each other.");
        int count = request.Texts.Count + request.TokenIds.Count;
        if (count < 1 || count > _settings.Limits.EmbeddingInputs)
            throw RequestRejectedException.OutOfRange("input", count == 0 ? "empty" : $"{count} inputs", $"1 to {_settings.Limits.EmbeddingInputs} inputs");
        foreach (string text in request.Texts)
            _encoder.RequirePossible(text, _settings.MaxModelLen);

        // 2. One input after the other. Together they wait in the queue, which must be able to hold them.
        DateTimeOffset due = Due(deadline);
        List<IReadOnlyList<int>> inputs = new(count);
        List<int> all = [];
        for (int i = 0; i < count; i++)
        {
            IReadOnlyList<int> tokens = request.Texts.Count == 0
                ? [.. request.TokenIds[i].Ids]
                : await _encoder.EncodeAsync(
                    request.Texts[i], !request.HasAddSpecialTokens || request.AddSpecialTokens, !request.HasParseSpecialTokens || request.ParseSpecialTokens, _settings.MaxModelLen, due, cancellation);
            if (tokens.Count == 0)
                throw new RequestRejectedException(StatusCode.InvalidArgument, "PROMPT_EMPTY", $"Input {i} has no tokens; it needs at least one.", "input");
            if (tokens.Count > _settings.MaxModelLen)
                throw RequestRejectedException.PromptTooLong(tokens.Count.ToString(CultureInfo.InvariantCulture), _settings.MaxModelLen);
            RequireTokens("input", tokens);
            inputs.Add(tokens);
            all.AddRange(tokens);
            if (count > 1 && all.Count > _settings.QueueTokens)
                throw RequestRejectedException.BeyondTheQueue($"more than {_settings.QueueTokens} tokens", $"{_settings.QueueTokens} prompt tokens (--queue-tokens)");
        }
        return new ValidatedRequest
        {
            RequestId = request.HasRequestId ? request.RequestId : $"req-{Guid.NewGuid():N}",
            PromptTokens = all,
            Embedding = new EmbeddingOrder(inputs, PoolingOf(_model.Pooling.Pooling), !request.HasNormalize || request.Normalize),
            Outputs = count,
            Sampling = DefaultSampling,
            Stopping = new ResolvedStopping { MaxTokens = 0, MinTokens = 0, IgnoreEos = true, IncludeStop = false },
            Priority = request.Priority,
            CacheSalt = salt,
            Lora = lora,
            BypassCache = request.Cache?.Bypass ?? false,
            Deadline = due,
        };
    }

    private static Pooling PoolingOf(Checkpoint.Config.Pooling pooling) => pooling switch
    {
        Checkpoint.Config.Pooling.Mean => Pooling.Mean,
        Checkpoint.Config.Pooling.First => Pooling.First,
        _ => Pooling.Last,
    };
}
