using TpServe.Checkpoint;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>Splits the model by what the workers can do: finds that out before they load for the first time, and plans for whoever takes part.</summary>
/// <remarks>Threads  the group's life alone.</remarks>
/// <param name="checkpoint">The model.</param>
/// <param name="options">Checked settings.</param>
/// <param name="profiler">Finds out what workers can do.</param>
/// <param name="planFor">The group's plan for some of the workers and a split.</param>
/// <param name="tell">Told what was chosen, and why.</param>
/// <param name="log">Told what was measured.</param>
internal sealed partial class MeasuredPartition(
    ModelCheckpoint checkpoint, GatewayOptions options, GroupProfiler profiler, Func<IReadOnlyList<int>, Partition, GroupPlan> planFor, Action<string> tell, ILogger<MeasuredPartition> log)
{
    private GroupProfile? _profile; // by seat

    /// <summary>Rows of a block whose sum travels beside the next, as the last plan has it; 0 = that would not pay.</summary>
    public int OverlapRows { get; private set; }

    /// <summary>Whether a group's split follows from measuring: its ranks are several, on CPUs, and nobody has chosen it.</summary>
    public static bool IsFor(GatewayOptions options, GroupPlan plan) => options.Partition.IsAuto && plan.Degree > 1 && plan.Devices.Ranks.All(rank => rank.Kind == DeviceKind.Cpu);

    /// <summary>The plan for workers that have said what their hosts are, and who of them computes; finds out what they can do where none has loaded yet.</summary>
    /// <param name="even">The plan that is made without it.</param>
    /// <param name="seats">Who takes part, ascending; all of them the first time.</param>
    /// <param name="workers">By rank.</param>
    /// <param name="facts">By rank.</param>
    /// <param name="transport">What the group goes over.</param>
    /// <param name="firstEpoch">The first of <see cref="GroupMeasurer.Epochs"/> that no worker has seen.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure.</exception>
    public async Task<(GroupPlan Plan, IReadOnlyList<int> Seats)> PlanAsync(
        GroupPlan even, IReadOnlyList<int> seats, IReadOnlyList<HeldWorker> workers, HelloReply[] facts, TransportChoice transport, long firstEpoch, CancellationToken cancellation)
    {
        if (_profile is null && even.Degree == 1)
            return (even, seats);
        if (_profile is null)
        {
            _profile = await profiler.ProfileAsync(even, workers, facts, transport, firstEpoch, cancellation);
            foreach (string note in _profile.Notes)
                LogMeasured(note);
        }
        try
        {
            // What was announced as the longest context must have room in every split.
            SplitChoice choice = _profile.PlanFor(checkpoint, options, seats, even.MaxModelLen, mayLeaveOut: options.Tp is null);
            GroupPlan plan = planFor(choice.Seats, choice.Partition);
            if (plan.MaxModelLen < even.MaxModelLen)
                throw new ShardingException(FormattableString.Invariant($"the split that is predicted to be fastest has room for a context of {plan.MaxModelLen} tokens, not {even.MaxModelLen}"));
            double saved = options.Overlap == OverlapWish.Off ? 0 : _profile.OverlapSavedSeconds(checkpoint, options, choice);
            OverlapRows = saved > Overlap.WorthShare * choice.Prediction.PromptSeconds ? Overlap.BlockRows : 0;
            double prompt = choice.Prediction.PromptSeconds - (OverlapRows > 0 ? saved : 0);
            tell(FormattableString.Invariant(
                $"auto: {choice.Reason}; predicted for 512 and 128 tokens: first token {prompt * 1e3:F0} ms, then {choice.Prediction.StepSeconds * 1e3:F2} ms each ({_profile.Origin})"));
            return (plan, choice.Seats);
        }
        catch (ShardingException fault)
        {
            tell($"auto: the split stays as it would be without measuring: {fault.Message}");
            return (even, seats);
        }
    }

    [LoggerMessage(1071, LogLevel.Debug, "Measured: {Note}")]
    private partial void LogMeasured(string note);
}
