using System.Text;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Engine;

/// <summary>One output in flight: what its sequence computes becomes events of its request.</summary>
/// <remarks>Threads  only under the engine's lock.</remarks>
internal sealed class ActiveOutput(ActiveRequest request, int index, OutputText text, Sequence sequence)
{
    private readonly List<int> _starts = []; // of each token, in the visible text
    private int _visible; // characters
    private long? _lastToken;

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
        if (progress.Embedding.Count > 0)
            request.Events.Append(new EmbeddedEvent(index, progress.Embedding));
        if (progress.Tokens.Count == 0)
        {
            if (progress.End == SequenceEnd.Length)
                Finish(EndReason.Length, text.End(), [], null, 0); // only the prompt was asked for
            return false; // else a chunk of it
        }

        _lastToken = request.CountStep(_lastToken, progress.Tokens.Count);

        // Text and tokens of the whole step go out as one event, cut where the output ends.
        StringBuilder visible = new();
        List<ReportedToken> reported = [];
        int generated = sequence.GeneratedTokens - progress.Tokens.Count;
        for (int i = 0; i < progress.Tokens.Count; i++)
        {
            int token = progress.Tokens[i];
            request.CountToken();
            if (request.Request.Answer is not null)
                _starts.Add(_visible + visible.Length);
            if (request.ReportsTokens)
                reported.Add(new ReportedToken(token, progress.Logprobs.Count > 0 ? progress.Logprobs[i] : null));
            bool last = i == progress.Tokens.Count - 1;
            if (last && progress.End == SequenceEnd.EndToken)
            {
                visible.Append(text.End(token));
                ResolvedStopping stopping = request.Request.Stopping;
                Finish(EndReason.Stop, visible.ToString(), reported, stopping.StopTokenIds.Contains(token) ? token : null, generated + i + 1, stopping.StopStringOfToken.GetValueOrDefault(token));
                return false;
            }
            visible.Append(text.Push(token));
            if (text.Stopped is not null)
            {
                Finish(EndReason.Stop, visible.ToString(), reported, null, generated + i + 1);
                return progress.End == SequenceEnd.None;
            }
        }
        if (progress.End == SequenceEnd.Complete)
            Finish(EndReason.Stop, visible.Append(text.End()).ToString(), reported, null, sequence.GeneratedTokens);
        else if (progress.End == SequenceEnd.Length)
            Finish(EndReason.Length, visible.Append(text.End()).ToString(), reported, null, sequence.GeneratedTokens);
        else
        {
            _visible += visible.Length;
            request.Post(index, visible.ToString(), reported);
        }
        return false;
    }

    /// <summary>What ended a sequence that cannot go on.</summary>
    public static RequestFaultException FaultOf(SequenceProgress progress) => progress.Sequence.Constraint?.Fault is { } stuck
        ? new RequestFaultException("CONSTRAINT_STUCK", $"The output cannot be what its constraint asks for: {stuck}.", isAsked: true)
        : new RequestFaultException("NOT_FINITE", $"The request's own arithmetic failed at token {progress.Sequence.Known}: {progress.Fault}.");

    /// <summary>An operator ends it: what was held back goes out.</summary>
    public void Abort() => Finish(EndReason.Aborted, text.End(), [], null, sequence.GeneratedTokens);

    private void Finish(EndReason reason, string rest, IReadOnlyList<ReportedToken> tokens, int? stopTokenId, int completionTokens, string? stopString = null)
    {
        Finished = true;
        request.Post(index, rest, tokens);
        if ((text.Stopped ?? stopString) is { } stop)
            request.Finish(index, EndReason.Stop, stop, null, completionTokens, _starts);
        else
            request.Finish(index, reason, null, stopTokenId, completionTokens, _starts);
    }
}
