using System.Diagnostics;
using TpServe.Collectives;
using TpServe.Model;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>One Run call: steps counted from 1, sequences its own.</summary>
/// <remarks>Threads   the rank's thread, which takes one step after the other; what it waits for in between is told with each.</remarks>
internal sealed class StepLoop(LoadedShard shard, long epoch, int blockTokens, ProcessorTimes? processor = null, MaskInbox? masks = null)
{
    /// <summary>What people call each <see cref="CollectivePurpose"/>.</summary>
    private static readonly string[] s_purposes = [.. Enum.GetValues<CollectivePurpose>().Select(purpose => purpose.ToString().ToLowerInvariant())];

    private readonly StepBatchBuilder _builder = new(epoch, blockTokens, shard.DraftPasses, masks, shard.Loras);
    private readonly Model.StepTrace _trace = new();
    private string? _toldRecordingFault;
    private TimeSpan _waited = AtRest(shard.Relay);
    private UnansweredSteps? _unanswered;
    private long _endedAt;
    private long _rows;
    private bool _failed;

    /// <summary>Runs one step. Null where this rank is not to answer it.</summary>
    /// <exception cref="PlanMismatchException">The plan does not fit, or an earlier step has failed.</exception>
    /// <exception cref="GroupLostException">A peer is lost.</exception>
    public StepResult? Run(StepPlan plan)
    {
        if (_failed)
            throw new PlanMismatchException($"step {plan.Step} follows a step that failed.");
        try
        {
            long start = Stopwatch.GetTimestamp();
            Trace(plan);
            StepBatch batch = _builder.Lay(plan);
            StepOutput output = shard.Rank.Run(batch);
            _rows += batch.Rows;
            shard.Relay.ThrowIfLost();
            StepResult result = _builder.Conclude(plan, output, reports: shard.Relay.Rank == 0);
            AddTimes(result, plan, start);
            if (plan.Trace)
                AddTrace(result, start);
            if (shard.Relay.Rank != 0 && !plan.AllAnswer)
            {
                Keep(result);
                return null;
            }
            (result.Unanswered, _unanswered) = (_unanswered, null);
            if (plan.AllAnswer)
                AddCollectives(result);
            AddRecordingFault(result);
            return result;
        }
        catch (Exception fault)
        {
            _failed = true;
            // What the ranks disagree about leaves device and weights as they were; nobody knows what anything else has done to them.
            if (fault is not (GroupLostException or PlanMismatchException))
                shard.IsSpoiled = true;
            throw;
        }
    }

    /// <summary>What the group has waited by now; what joining it took is no step's.</summary>
    private static TimeSpan AtRest(RelayCommunicator relay)
    {
        relay.TakeElapsed();
        relay.Meter.Clear();
        return relay.Waited;
    }

    private void AddTimes(StepResult result, StepPlan plan, long start)
    {
        long end = Stopwatch.GetTimestamp();
        TimeSpan whole = Stopwatch.GetElapsedTime(start, end), collective = shard.Relay.TakeElapsed();
        TimeSpan waited = shard.Relay.Waited;
        result.WaitMicroseconds = (int)(waited - _waited).TotalMicroseconds;
        _waited = waited;
        result.StepMicroseconds = (int)whole.TotalMicroseconds;
        result.CollectiveMicroseconds = (int)collective.TotalMicroseconds;
        result.ComputeMicroseconds = (int)(whole - collective).TotalMicroseconds;
        if (plan.AllAnswer)
            processor?.AddTo(result);
        if (shard.DraftPasses is { } draft)
            (result.DraftMicroseconds, result.DraftRows) = ((int)draft.Elapsed.TotalMicroseconds, draft.Rows);
        if (_endedAt != 0)
            result.IdleMicroseconds = (int)Math.Min(Stopwatch.GetElapsedTime(_endedAt, start).TotalMicroseconds, int.MaxValue);
        _endedAt = end;
    }

    /// <summary>The times of a step that is not answered, for the next answer.</summary>
    private void Keep(StepResult result)
    {
        _unanswered ??= new UnansweredSteps();
        _unanswered.Steps++;
        _unanswered.ComputeMicroseconds += result.ComputeMicroseconds;
        _unanswered.CollectiveMicroseconds += result.CollectiveMicroseconds;
        _unanswered.WaitMicroseconds += result.WaitMicroseconds;
        _unanswered.IdleMicroseconds += result.IdleMicroseconds;
    }

    private void AddCollectives(StepResult result)
    {
        result.Rows = _rows;
        ReadOnlySpan<CollectiveCount> counts = shard.Relay.Meter.Counts;
        for (int purpose = 0; purpose < counts.Length; purpose++)
        {
            if (counts[purpose].Calls == 0)
                continue;
            result.Collectives.Add(new Protos.V1.CollectiveTraffic
            {
                Purpose = s_purposes[purpose],
                Calls = counts[purpose].Calls,
                SentBytes = counts[purpose].Sent.Bytes,
                AcrossBytes = counts[purpose].Sent.AcrossBytes,
                Seconds = counts[purpose].Elapsed.TotalSeconds,
            });
        }
    }

    private void Trace(StepPlan plan)
    {
        Model.StepTrace? trace = plan.Trace ? _trace : null;
        shard.Rank.Trace = trace;
        shard.Relay.Observer = trace;
        if (trace is null)
            return;
        trace.Clear();
        trace.Begin(shard.DraftPasses is null ? "plan" : "draft");
    }

    private void AddTrace(StepResult result, long start)
    {
        result.Trace = new Protos.Worker.StepTrace { StartNanoseconds = Nanoseconds(start), DurationNanoseconds = Nanoseconds(_endedAt - start) };
        foreach (TraceSpan span in _trace.Spans)
        {
            Protos.V1.TraceSpan message = new()
            {
                Name = span.Name,
                Collective = span.IsCollective,
                StartNanoseconds = Nanoseconds(span.Start - start),
                DurationNanoseconds = Nanoseconds(span.End - span.Start),
                WaitNanoseconds = Nanoseconds(span.Waited.Ticks * (Stopwatch.Frequency / TimeSpan.TicksPerSecond)),
            };
            if (span.Layer >= 0)
                message.Layer = span.Layer;
            result.Trace.Spans.Add(message);
        }
    }

    private static long Nanoseconds(long ticks) => (long)((Int128)ticks * 1_000_000_000 / Stopwatch.Frequency);

    private void AddRecordingFault(StepResult result)
    {
        if (shard.Rank.RecordingFault is not { } fault || fault == _toldRecordingFault)
            return;
        _toldRecordingFault = fault;
        result.RecordingFault = fault;
    }
}
