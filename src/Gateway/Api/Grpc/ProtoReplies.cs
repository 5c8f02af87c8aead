using Google.Protobuf;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>What the engine tells, in the words of the public proto.</summary>
public sealed class ProtoReplies(ServingModel model, TokenTexts texts, ServingSettings settings)
{
    /// <summary>The next event of a stream.</summary>
    public GenerateEvent Event(ValidatedRequest request, GenerationEvent happened, ulong seq) => happened switch
    {
        StartedEvent started => new GenerateEvent { Seq = seq, Started = Started(request, started.CachedTokens) },
        RecoveringEvent recovering => new GenerateEvent { Seq = seq, Recovering = new Recovering { Reason = recovering.Reason } },
        DeltaEvent delta => new GenerateEvent { Seq = seq, Delta = Delta(delta) },
        FinishedEvent finished => new GenerateEvent { Seq = seq, Finished = Finished(finished) },
        _ => throw new ArgumentException($"Unknown event {happened.GetType().Name}.", nameof(happened)),
    };

    /// <summary>All of a request in one message.</summary>
    public GenerateResponse Response(ValidatedRequest request, GenerationResult result)
    {
        GenerateResponse response = new()
        {
            Started = Started(request, result.Totals.CachedTokens),
            Usage = Usage(result.Totals),
            Timings = Timings(result.Totals),
        };
        response.PromptLogprobs.AddRange(result.PromptTokens.Select(Token));
        for (int i = 0; i < result.Outputs.Count; i++)
        {
            GenerationResult.OutputResult output = result.Outputs[i];
            Output reply = new() { Index = i, Text = output.Text, Reasoning = output.Reasoning, Finished = Finished(output.Finished with { Totals = null }) };
            reply.ToolCalls.AddRange(output.ToolCalls.Select(Call));
            reply.Tokens.AddRange(output.Tokens.Select(Token));
            response.Outputs.Add(reply);
        }
        return response;
    }

    /// <summary>Vectors.</summary>
    public EmbedResponse Embeddings(ValidatedRequest request, EmbeddingResult result)
    {
        EmbedResponse response = new() { RequestId = request.RequestId, Model = model.Name, PromptTokens = result.Totals.PromptTokens, CachedTokens = result.Totals.CachedTokens };
        foreach (float[] vector in result.Vectors)
        {
            Embedding reply = new();
            reply.Values.AddRange(vector);
            response.Embeddings.Add(reply);
        }
        return response;
    }

    /// <summary>Sampling values in force.</summary>
    public static SamplingOptions Sampling(SamplingParameters sampling, int outputs) => new()
    {
        Temperature = sampling.Temperature,
        TopP = sampling.TopP,
        TopK = sampling.TopK,
        MinP = sampling.MinP,
        PresencePenalty = sampling.PresencePenalty,
        FrequencyPenalty = sampling.FrequencyPenalty,
        RepetitionPenalty = sampling.RepetitionPenalty,
        Seed = sampling.Seed,
        N = outputs,
        LogitBias = { sampling.LogitBias },
        AllowedTokenIds = { sampling.AllowedTokenIds },
    };

    private Started Started(ValidatedRequest request, int cachedTokens)
    {
        StoppingOptions stopping = new()
        {
            MaxTokens = request.Stopping.MaxTokens,
            MinTokens = request.Stopping.MinTokens,
            IgnoreEos = request.Stopping.IgnoreEos,
            IncludeStop = request.Stopping.IncludeStop,
        };
        stopping.Stop.AddRange(request.Stopping.StopStrings);
        stopping.StopTokenIds.AddRange(request.Stopping.StopTokenIds.Order());
        Started started = new()
        {
            RequestId = request.RequestId,
            Model = model.NameFor(request),
            PromptTokens = request.PromptTokens.Count,
            CachedTokens = cachedTokens,
            Sampling = Sampling(request.Sampling, request.Outputs),
            Stopping = stopping,
            Deterministic = settings.Wire == Protos.Worker.Wire.F32,
        };
        if (request.ReturnTokenIds)
            started.PromptTokenIds.AddRange(request.PromptTokens);
        return started;
    }

    private Delta Delta(DeltaEvent delta)
    {
        Delta reply = new() { OutputIndex = delta.OutputIndex, Text = delta.Text, Reasoning = delta.Reasoning };
        reply.ToolCalls.AddRange(delta.ToolCalls.Select(Call));
        foreach (ReportedToken token in delta.Tokens)
            reply.Tokens.Add(Token(token));
        foreach (ReportedToken token in delta.PromptTokens)
            reply.PromptLogprobs.Add(Token(token));
        return reply;
    }

    private static Finished Finished(FinishedEvent finished)
    {
        Finished reply = new()
        {
            OutputIndex = finished.OutputIndex,
            Reason = finished.Reason switch
            {
                EndReason.Stop => FinishReason.Stop,
                EndReason.Length => FinishReason.Length,
                EndReason.ToolCalls => FinishReason.ToolCalls,
                _ => FinishReason.Aborted,
            },
            CompletionTokens = finished.CompletionTokens,
        };
        if (finished.StopString is not null)
            reply.StopString = finished.StopString;
        else if (finished.StopTokenId is { } id)
            reply.StopTokenId = id;
        if (finished.Totals is { } totals)
        {
            reply.Usage = Usage(totals);
            reply.Timings = Timings(totals);
        }
        return reply;
    }

    private static ToolCall Call(ToolCallPiece piece)
    {
        ToolCall call = new() { Index = piece.Index, Arguments = piece.Arguments };
        if (piece.Id is not null)
            call.Id = piece.Id;
        if (piece.Name is not null)
            call.Name = piece.Name;
        return call;
    }

    private TokenInfo Token(ReportedToken token)
    {
        TokenInfo info = new() { Id = token.Id, Bytes = Bytes(token.Id) };
        if (token.Logprobs is not { } logprobs)
            return info;
        info.Logprob = logprobs.Logprob;
        info.Rank = logprobs.Rank;
        for (int i = 0; i < logprobs.TopIds.Count; i++)
            info.Top.Add(new TopToken { Id = logprobs.TopIds[i], Bytes = Bytes(logprobs.TopIds[i]), Logprob = logprobs.TopLogprobs[i] });
        return info;
    }

    private ByteString Bytes(int id) => ByteString.CopyFrom(texts.Bytes(id).Span);

    private static Usage Usage(RequestTotals totals) => new()
    {
        PromptTokens = totals.PromptTokens,
        CompletionTokens = totals.CompletionTokens,
        CachedTokens = totals.CachedTokens,
        ReasoningTokens = totals.ReasoningTokens,
    };

    private static Timings Timings(RequestTotals totals) => new()
    {
        QueueSeconds = totals.Queue.TotalSeconds,
        PrefillSeconds = totals.Prefill.TotalSeconds,
        DecodeSeconds = totals.Decode.TotalSeconds,
        TotalSeconds = totals.Total.TotalSeconds,
    };
}
