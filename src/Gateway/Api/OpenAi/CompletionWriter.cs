using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>The choices of one prompt of a completion, whole or piece by piece.</summary>
internal sealed class CompletionWriter(CompletionBody body, ValidatedRequest request, string echo, int promptIndex, TokenReports reports)
{
    private readonly bool _logprobs = body.Response.Logprobs;
    private readonly bool _echoes = body.Echo == true;
    private readonly bool _promptLogprobs = body.Response.HasPromptLogprobs;
    private readonly int[] _offsets = new int[request.Outputs]; // where each choice's text has come to, in code points
    private readonly bool[] _begun = new bool[request.Outputs];
    private IReadOnlyList<ReportedToken> _prompt = [];

    /// <summary>Every choice of a finished request.</summary>
    public IEnumerable<CompletionChoice> Whole(GenerationResult result)
    {
        _prompt = result.PromptTokens;
        for (int output = 0; output < result.Outputs.Count; output++)
        {
            GenerationResult.OutputResult whole = result.Outputs[output];
            yield return Piece(output, whole.Text, whole.Tokens, whole.Finished);
        }
    }

    /// <summary>The chunk an event makes; null = none.</summary>
    public CompletionChoice? Next(GenerationEvent happened)
    {
        switch (happened)
        {
            case DeltaEvent delta:
                if (delta.PromptTokens.Count > 0)
                    _prompt = delta.PromptTokens;
                return Piece(delta.OutputIndex, delta.Text, delta.Tokens, null);
            case FinishedEvent finished:
                return Piece(finished.OutputIndex, "", [], finished);
            default:
                return null;
        }
    }

    // What belongs to the prompt comes with a choice's first piece.
    private CompletionChoice Piece(int output, string text, IReadOnlyList<ReportedToken> tokens, FinishedEvent? finished)
    {
        bool first = !_begun[output];
        _begun[output] = true;
        IEnumerable<ReportedToken> reported = first && _echoes ? _prompt.Concat(tokens) : tokens;
        return new CompletionChoice
        {
            Index = promptIndex * request.Outputs + output,
            Text = first ? echo + text : text,
            Logprobs = _logprobs && (finished is null || first) ? reports.Legacy(reported, ref _offsets[output]) : null,
            FinishReason = finished is null ? null : FinishReasons.Of(finished),
            StopReason = finished is null ? null : FinishReasons.StopOf(finished),
            PromptLogprobs = first && _promptLogprobs ? reports.Prompt(_prompt) : null,
            PromptTokenIds = first && request.ReturnTokenIds ? request.PromptTokens : null,
            TokenIds = request.ReturnTokenIds ? [.. tokens.Select(token => token.Id)] : null,
        };
    }
}
