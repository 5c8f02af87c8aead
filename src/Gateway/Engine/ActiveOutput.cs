using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Engine;

/// <summary>One output in flight: what its sequence computes becomes events of its request.</summary>
/// <remarks>Threads  only under the engine's lock.</remarks>
internal sealed class ActiveOutput(ActiveRequest request, int index, OutputText text, Sequence sequence)
{
    /// <summary>Whose output it is.</summary>
    public ActiveRequest Request => request;

    /// <summary>What computes it; holds its token log.</summary>
    public Sequence Sequence => sequence;

    /// <summary>It has finished.</summary>
    public bool Finished { get; private set; }

    /// <summary>Takes in a step. True where a stop string has ended the output while the scheduler would go on.</summary>
    public bool Take(SequenceProgress progress)
    {
        if (progress.PromptLogprobs.Count > 0)
            request.AddPromptLogprobs(progress.PromptLogprobs);
        if (progress.Token is { } token)
            request.CountToken();
        else if (progress.End == SequenceEnd.None)
            return false; // a chunk of the prompt
        else
        {
            Finish(EndReason.Length, text.End(), [], null); // only the prompt was asked for
            return false;
        }

        ReportedToken[] tokens = request.ReportsTokens ? [new ReportedToken(token, progress.Logprobs)] : [];
        switch (progress.End)
        {
            case SequenceEnd.EndToken:
                Finish(EndReason.Stop, text.End(token), tokens, request.Request.Stopping.StopTokenIds.Contains(token) ? token : null);
                return false;
            case SequenceEnd.Length:
                Finish(EndReason.Length, text.Push(token) + text.End(), tokens, null);
                return false;
            default:
                string visible = text.Push(token);
                if (text.Stopped is null)
                    request.Post(index, visible, tokens);
                else
                    Finish(EndReason.Stop, visible, tokens, null);
                return Finished;
        }
    }

    /// <summary>An operator ends it: what was held back goes out.</summary>
    public void Abort() => Finish(EndReason.Aborted, text.End(), [], null);

    private void Finish(EndReason reason, string rest, ReportedToken[] tokens, int? stopTokenId)
    {
        Finished = true;
        request.Post(index, rest, tokens);
        if (text.Stopped is { } stop)
            request.Finish(index, EndReason.Stop, stop, null, sequence.Generated.Count);
        else
            request.Finish(index, reason, null, stopTokenId, sequence.Generated.Count);
    }
}
