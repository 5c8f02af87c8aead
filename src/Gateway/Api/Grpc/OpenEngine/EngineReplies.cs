using Grpc.Core;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.Worker;
using Oe = TpServe.Protos.OpenEngine;

namespace TpServe.Gateway.Api.Grpc.OpenEngine;

/// <summary>A request's events in openengine.v1's words.</summary>
internal sealed class EngineReplies(ValidatedRequest request, ServingModel model, TokenTexts texts)
{
    private readonly int[] _last = new int[request.Outputs]; // the token that may turn out to have ended an output

    /// <summary>What an event becomes; some become nothing, one may become two.</summary>
    public IEnumerable<Oe.GenerateResponse> Of(GenerationEvent happened)
    {
        switch (happened)
        {
            case DeltaEvent delta:
                if (delta.PromptTokens.Count > 0)
                    yield return new Oe.GenerateResponse { RequestId = request.RequestId, Prompt = new Oe.PromptOutput { Tokens = { delta.PromptTokens.Select(Token) } } };
                if (delta.Tokens.Count > 0)
                    _last[delta.OutputIndex] = delta.Tokens[^1].Id;
                if (delta.Tokens.Count > 0 || delta.Text.Length > 0)
                    yield return new Oe.GenerateResponse
                    {
                        RequestId = request.RequestId,
                        Token = new Oe.TokenOutput { OutputIndex = (uint)delta.OutputIndex, Text = delta.Text, Tokens = { delta.Tokens.Select(Token) } },
                    };
                break;
            case FinishedEvent finished:
                Oe.GenerateResponse last = new() { RequestId = request.RequestId, Finished = Finished(finished) };
                if (finished.Totals is { } totals)
                    last.Usage = new Oe.Usage
                    {
                        PromptTokens = (uint)totals.PromptTokens,
                        CompletionTokens = (uint)totals.CompletionTokens,
                        TotalTokens = (uint)(totals.PromptTokens + totals.CompletionTokens),
                        CachedPromptTokens = (uint)totals.CachedTokens,
                        ReasoningTokens = (uint)totals.ReasoningTokens,
                    };
                yield return last;
                break;
        }
    }

    /// <summary>The end of a request that had been accepted.</summary>
    public Oe.GenerateResponse Failed(ApiError error) => new() { RequestId = request.RequestId, Error = ErrorOf(error) };

    /// <summary>A failure as the contract names it.</summary>
    public static Oe.EngineError ErrorOf(ApiError error)
    {
        Oe.EngineError reply = new()
        {
            Code = error.Status switch
            {
                StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange => Oe.ErrorCode.InvalidArgument,
                StatusCode.Unimplemented => Oe.ErrorCode.UnsupportedFeature,
                StatusCode.ResourceExhausted => Oe.ErrorCode.Overloaded,
                StatusCode.Cancelled or StatusCode.DeadlineExceeded or StatusCode.Aborted => Oe.ErrorCode.Cancelled,
                StatusCode.Unavailable when error.Reason is "DRAINING" or "STOPPING" => Oe.ErrorCode.Draining,
                _ => Oe.ErrorCode.Internal,
            },
            Message = error.Message,
            Retryable = error.RetryAfter is not null,
        };
        if (error.RetryAfter is { } delay)
            reply.RetryAfterMs = (ulong)delay.TotalMilliseconds;
        return reply;
    }

    private Oe.GenerationFinished Finished(FinishedEvent finished)
    {
        Oe.GenerationFinished reply = new()
        {
            OutputIndex = (uint)finished.OutputIndex,
            Reason = finished.Reason switch
            {
                EndReason.Length => Oe.FinishReason.Length,
                EndReason.Aborted => Oe.FinishReason.Cancelled,
                _ => Oe.FinishReason.Stop,
            },
        };
        if (finished.StopString is { } text)
            reply.StopMatch = new Oe.StopMatch { StopText = text };
        else if (finished.StopTokenId is { } id)
            reply.StopMatch = new Oe.StopMatch { StopTokenId = (uint)id };
        else if (finished.Reason == EndReason.Stop && model.Generation.EosTokenIds.Contains(_last[finished.OutputIndex]))
            reply.StopMatch = new Oe.StopMatch { EosTokenId = (uint)_last[finished.OutputIndex] };
        return reply;
    }

    private Oe.TokenInfo Token(ReportedToken token)
    {
        Oe.TokenInfo info = new() { TokenId = (uint)token.Id, Token = texts.Text(token.Id) };
        if (token.Logprobs is not { } logprobs)
            return info;
        (info.Logprob, info.Rank) = (logprobs.Logprob, (uint)logprobs.Rank);
        for (int i = 0; i < logprobs.TopIds.Count; i++)
            info.Candidates.Add(new Oe.LogProb { TokenId = (uint)logprobs.TopIds[i], Logprob = logprobs.TopLogprobs[i], Token = texts.Text(logprobs.TopIds[i]), Rank = (uint)i + 1 });
        return info;
    }
}
