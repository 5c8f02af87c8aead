using TpServe.Checkpoint;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>Splits the model by what the workers can do: times them before they load for the first time, and plans for whoever takes part.</summary>
/// <remarks>Threads  the group's life alone.</remarks>
/// <param name="checkpoint">The model.</param>
/// <param name="options">Checked settings.</param>
/// <param name="planFor">The group's plan for some of the workers and a split.</param>
/// <param name="log">Told what was measured and chosen.</param>
internal sealed partial class MeasuredPartition(
    ModelCheckpoint checkpoint, GatewayOptions options, Func<IReadOnlyList<int>, Partition, GroupPlan> planFor, ILogger<MeasuredPartition> log)
{
    private GroupProfile? _profile; // by seat

    /// <summary>The plan for workers that have said what their hosts are; measures where none has loaded yet.</summary>
    /// <param name="even">The plan that splits evenly.</param>
    /// <param name="seats">Who takes part, ascending; all of them the first time.</param>
    /// <param name="workers">By rank.</param>
    /// <param name="facts">By rank.</param>
    /// <param name="transport">What the group goes over.</param>
    /// <param name="firstEpoch">The first of <see cref="GroupProfile.Epochs"/> that no worker has seen.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure.</exception>
    /// <exception cref="ShardingException">The model has no room on them.</exception>
    public async Task<GroupPlan> PlanAsync(
        GroupPlan even, IReadOnlyList<int> seats, IReadOnlyList<HeldWorker> workers, HelloReply[] facts, TransportChoice transport, long firstEpoch, CancellationToken cancellation)
    {
        if (even.Degree == 1)
            return even;
        if (even.Devices.Ranks.Any(rank => rank.Kind != DeviceKind.Cpu))
        {
            LogEven("only CPUs are timed yet");
            return even;
        }
        if (_profile is null)
        {
            _profile = await GroupProfile.MeasureAsync(checkpoint, options, even, workers, facts, transport, firstEpoch, cancellation);
            foreach (string note in _profile.Notes)
                LogMeasured(note);
        }
        (RankedPlan best, double evenExcess) = _profile.PlanFor(checkpoint, options, seats);
        LogChosen(
            Shares(best.Partition.HeadBoundaries), Shares(best.Partition.LeafBoundaries), Shares(best.Partition.VocabBoundaries),
            best.Prediction.PromptSeconds * 1e3, best.Prediction.StepSeconds * 1e3, evenExcess);
        return planFor(seats, best.Partition);
    }

    private static string Shares(IReadOnlyList<int> boundaries) => string.Join('+', boundaries.Skip(1).Zip(boundaries, (end, first) => end - first));

    [LoggerMessage(1070, LogLevel.Information, "Partition auto: heads {Heads}, MLP leaves {Leaves}, vocabulary {Rows}; predicted for 512 and 128 tokens: first token {PromptMs:F0} ms, then {StepMs:F2} ms each; even shares would take {EvenExcess:P1} more")]
    private partial void LogChosen(string heads, string leaves, string rows, double promptMs, double stepMs, double evenExcess);

    [LoggerMessage(1071, LogLevel.Information, "Measured: {Note}")]
    private partial void LogMeasured(string note);

    [LoggerMessage(1072, LogLevel.Information, "Partition auto: even shares: {Reason}")]
    private partial void LogEven(string reason);
}
