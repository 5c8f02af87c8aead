using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Grpc.Core;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Has the next steps traced by every rank, for one caller at a time, and lays their answers side by side.</summary>
/// <remarks>Threads  safe; plans are marked and results added in the order of steps.</remarks>
internal sealed class StepTracer
{
    /// <summary>Most steps of one trace: some 100 KiB each for a model of 30 layers on 2 ranks.</summary>
    public const int MostSteps = 1000;

    /// <summary>What a request without a number gets.</summary>
    public const int DefaultSteps = 20;

    private readonly Lock _gate = new();
    private readonly Queue<TracedStep> _marked = new();
    private Channel<TracedStep>? _traced;
    private int _unmarked;

    /// <summary>Steps as they end; fewer where the epoch ends first.</summary>
    /// <exception cref="RequestRejectedException">Another trace runs, or too many steps are asked for.</exception>
    public async IAsyncEnumerable<TracedStep> TraceAsync(int steps, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (steps is < 0 or > MostSteps)
            throw RequestRejectedException.OutOfRange("steps", FormattableString.Invariant($"{steps}"), $"1 to {MostSteps}");
        Channel<TracedStep> traced = Channel.CreateBounded<TracedStep>(MostSteps);
        lock (_gate)
        {
            if (_traced is not null)
                throw new RequestRejectedException(StatusCode.FailedPrecondition, "TRACE_RUNNING", "Another call traces steps; try again when it has ended.", "steps");
            _traced = traced;
            _unmarked = steps == 0 ? DefaultSteps : steps;
        }
        try
        {
            await foreach (TracedStep step in traced.Reader.ReadAllAsync(cancellation))
                yield return step;
        }
        finally
        {
            End(traced);
        }
    }

    /// <summary>A plan is about to be sent.</summary>
    public void Mark(StepPlan plan)
    {
        lock (_gate)
        {
            plan.Trace = _unmarked > 0;
            if (!plan.Trace)
                return;
            _unmarked--;
            _marked.Enqueue(new TracedStep
            {
                Epoch = plan.Epoch,
                Step = plan.Step,
                Rows = plan.Sequences.Sum(step => step.Tokens + step.DraftIds.Count + step.DraftTokens),
                Sequences = plan.Sequences.Count,
            });
        }
    }

    /// <summary>Every rank has answered a step.</summary>
    public void Add(IReadOnlyList<RankStatus> ranks)
    {
        lock (_gate)
        {
            if (ranks[0].LastStep is not { Trace: not null } answer || !_marked.TryPeek(out TracedStep? step) || (step.Epoch, step.Step) != (answer.Epoch, answer.Step))
                return; // asked for by a caller who has left
            _marked.Dequeue();
            for (int rank = 0; rank < ranks.Count; rank++)
                step.Ranks.Add(Shifted(rank, ranks[rank], ranks[0]));
            _traced?.Writer.TryWrite(step);
            if (_unmarked == 0 && _marked.Count == 0)
                _traced?.Writer.TryComplete();
        }
    }

    /// <summary>No step in flight will be answered: the epoch has ended.</summary>
    public void EndEpoch()
    {
        lock (_gate)
            _traced?.Writer.TryComplete();
    }

    private void End(Channel<TracedStep> traced)
    {
        lock (_gate)
        {
            if (_traced != traced)
                return;
            _traced = null;
            _unmarked = 0;
            _marked.Clear();
        }
    }

    /// <summary>A rank's trace on the clock of rank 0.</summary>
    private static TracedRank Shifted(int rank, RankStatus status, RankStatus first)
    {
        Protos.Worker.StepTrace trace = status.LastStep.Trace;
        long shift = status.Facts.Machine() == first.Facts.Machine() ? 0 : ShiftBetween(trace, first.LastStep.Trace);
        return new TracedRank { Rank = rank, StartNanoseconds = trace.StartNanoseconds + shift, DurationNanoseconds = trace.DurationNanoseconds, Spans = { trace.Spans } };
    }

    /// <summary>An exchange ends nearly together everywhere: the median difference of the ends is the clocks'.</summary>
    internal static long ShiftBetween(Protos.Worker.StepTrace own, Protos.Worker.StepTrace reference)
    {
        long[] differences = [.. Ends(reference).Zip(Ends(own), (theirs, mine) => theirs - mine).Order()];
        return differences.Length == 0 ? reference.StartNanoseconds - own.StartNanoseconds : differences[differences.Length / 2];

        static IEnumerable<long> Ends(Protos.Worker.StepTrace trace) =>
            trace.Spans.Where(span => span.Collective).Select(span => trace.StartNanoseconds + span.StartNanoseconds + span.DurationNanoseconds);
    }
}
