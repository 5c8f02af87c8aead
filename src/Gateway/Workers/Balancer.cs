using Grpc.Core;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>What is done about a split that the ranks have outgrown.</summary>
public enum Rebalance
{
    /// <summary>Nothing, and nobody looks.</summary>
    Off,

    /// <summary>It is said what another split would bring.</summary>
    Advise,

    /// <summary>The group moves to it.</summary>
    On,
}

/// <summary>Whether the sums of a prompt's rows are computed beside the next rows.</summary>
public enum OverlapWish
{
    /// <summary>Where it is predicted to pay.</summary>
    Auto,

    /// <summary>Always.</summary>
    On,

    /// <summary>Never.</summary>
    Off,
}

/// <summary>What the group asks of the engine.</summary>
public enum MoveWish
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>A pause when nothing runs.</summary>
    WhenIdle,

    /// <summary>A pause between two steps.</summary>
    Now,
}

/// <summary>Watches how even a group's ranks are, says what another split would bring, takes splits that are asked for, and keeps what was moved.</summary>
/// <remarks>
/// Threads   the group's life begins epochs and watches them; <see cref="Wish"/>, <see cref="Take"/>, <see cref="AskAsync"/>, <see cref="Moves"/>,
///           <see cref="Count"/> and <see cref="Advice"/> by anyone.
/// </remarks>
/// <param name="policy">When, and into which split.</param>
/// <param name="limits">Its patience.</param>
/// <param name="mode">What is done about it.</param>
/// <param name="config">The model.</param>
/// <param name="planFor">The group's plan of a split, all workers taking part.</param>
/// <param name="time">The clock.</param>
/// <param name="log">The log.</param>
internal sealed partial class Balancer(
    BalancePolicy policy, BalanceLimits limits, Rebalance mode, ModelConfig config, Func<Partition, GroupPlan> planFor, TimeProvider time, ILogger<Balancer> log)
{
    private const int Kept = 8, NobodysRank = -1;
    private static readonly TimeSpan s_tick = TimeSpan.FromSeconds(1), s_memoryTimeout = TimeSpan.FromSeconds(2), s_patience = TimeSpan.FromMinutes(10);

    private readonly Lock _gate = new();
    private readonly Queue<GroupMove> _moves = new();
    private GroupMove? _advice;
    private BalanceFinding? _judged; // the policy gives the same one until it has looked again
    private Proposal? _proposed, _asked, _taken;
    private long _takenAt, _count;
    private (int Rank, long At)? _told;

    /// <summary>Whether a pause is wanted.</summary>
    public MoveWish Wish
    {
        get
        {
            lock (_gate)
                return _asked is { } asked ? asked.When : _proposed is not { } proposed ? MoveWish.None : time.GetElapsedTime(proposed.Since) < limits.IdleFor ? MoveWish.WhenIdle : MoveWish.Now;
        }
    }

    /// <summary>The last moves, the latest last.</summary>
    public IReadOnlyList<GroupMove> Moves
    {
        get
        {
            lock (_gate)
                return [.. _moves];
        }
    }

    /// <summary>Moves since the start.</summary>
    public long Count
    {
        get
        {
            lock (_gate)
                return _count;
        }
    }

    /// <summary>What would be moved now, and what it would bring; null = nothing.</summary>
    public GroupMove? Advice
    {
        get
        {
            lock (_gate)
                return _advice;
        }
    }

    /// <summary>Watches an epoch in which all take part until the token says that it has ended.</summary>
    /// <param name="group">The epoch.</param>
    /// <param name="plan">Its plan.</param>
    /// <param name="leastModelLen">The longest context that clients were promised.</param>
    /// <param name="afterLoss">The epoch before was lost.</param>
    /// <param name="over">The epoch has ended.</param>
    public async Task WatchAsync(GroupEpoch group, GroupPlan plan, int leastModelLen, bool afterLoss, CancellationToken over)
    {
        if (mode == Rebalance.Off || plan.Degree == 1 || plan.Devices.Ranks.Any(rank => rank.Kind != DeviceKind.Cpu))
            return; // a GPU's arithmetic is not timed by the host that enqueues it
        policy.Begin(plan.Partition, afterLoss);
        if (!group.Ranks[0].Report.Reused && group.Ranks.Max(rank => rank.Report.Seconds) is var full && group.Ranks.All(rank => rank.Report.ReadBytes >= rank.Report.WeightBytes / 2))
            policy.Seconds = policy.Seconds with { FullLoad = full };
        bool manyHosts = group.Ranks.Select(rank => rank.Facts.HostId).Distinct().Count() > 1;
        TimeSpan look = limits.After / 3 < s_tick ? limits.After / 3 : s_tick;
        long?[] free = new long?[plan.Degree];
        long looked = time.GetTimestamp();
        try
        {
            while (true)
            {
                await Task.Delay(look, time, over);
                if (manyHosts && time.GetElapsedTime(looked) >= limits.After / 3)
                {
                    looked = time.GetTimestamp();
                    free = await Task.WhenAll(group.Ranks.Select(rank => FreeBytesAsync(rank, over)));
                }
                Judge(policy.Observe([.. group.Ranks.Select((rank, index) => Load(rank, free[index]))]), leastModelLen);
            }
        }
        catch (OperationCanceledException) when (over.IsCancellationRequested)
        {
            // The next epoch is watched anew.
        }
        catch (Exception fault) when (fault is not OperationCanceledException)
        {
            LogBlind(fault); // the group serves on as it is
        }
        finally
        {
            _judged = null;
            Withdraw();
        }
    }

    /// <summary>Wants a split whatever it brings, and returns when the group serves with it; null where it has that split already.</summary>
    /// <param name="present">The split it has.</param>
    /// <param name="weights">A share for each worker; none = even shares.</param>
    /// <param name="when">How long the move can wait.</param>
    /// <param name="leastModelLen">The longest context that clients were promised.</param>
    /// <param name="cancellation">Gives it up where the move has not begun.</param>
    /// <exception cref="RequestRejectedException">The split does not fit, another move is under way, or this one did not come to be.</exception>
    public async Task<GroupMove?> AskAsync(Partition present, IReadOnlyList<double> weights, MoveWish when, int leastModelLen, CancellationToken cancellation)
    {
        Partition split = SplitOf(weights, present.Degree);
        if (Shares(split) == Shares(present))
            return null;
        BalanceFinding finding = new(NobodysRank, "asked for", present, split, 0, TimeSpan.Zero, TimeSpan.Zero);
        if (PlanOf(finding, leastModelLen, out string shortage) is not { } plan)
            throw NoRoom(Shares(split), shortage);
        Proposal asked = new(finding, plan, time.GetTimestamp()) { When = when, Done = new(TaskCreationOptions.RunContinuationsAsynchronously) };
        lock (_gate)
        {
            if (_asked is not null || _taken is not null)
                throw new RequestRejectedException(StatusCode.FailedPrecondition, "MOVE_UNDER_WAY", "The group is about to move to another split; try again when it has.");
            _asked = asked;
        }
        try
        {
            return await asked.Done.Task.WaitAsync(s_patience, time, cancellation);
        }
        catch (TimeoutException)
        {
            throw new RequestRejectedException(StatusCode.DeadlineExceeded, "NO_MOMENT", FormattableString.Invariant($"No moment came for the move within {s_patience.TotalMinutes:F0} minutes."));
        }
        finally
        {
            lock (_gate)
                if (_asked == asked)
                    _asked = null;
        }
    }

    /// <summary>UNAVAILABLE: there is no group of all workers to split.</summary>
    public static RequestRejectedException NotWhole() =>
        new(StatusCode.Unavailable, "GROUP_NOT_WHOLE", "The group does not compute with all its workers now; the topology says why.");

    /// <summary>The plan to go on with, where one is wanted and worth a pause now; it is then awaited as the next one.</summary>
    /// <param name="present">The split the group has.</param>
    /// <param name="usedBlocks">Blocks of the KV cache that are in use.</param>
    /// <param name="recompute">What computing them anew takes.</param>
    public GroupPlan? Take(Partition present, int usedBlocks, TimeSpan recompute)
    {
        lock (_gate)
        {
            if (_asked is { } asked)
            {
                _asked = null;
                if (asked.Plan.Degree != present.Degree)
                    asked.Done!.SetException(NotWhole());
                else if (usedBlocks > asked.Plan.KvBlocks)
                    asked.Done!.SetException(NoRoom(Shares(asked.Finding.After), FormattableString.Invariant($"it has {asked.Plan.KvBlocks} blocks of KV cache, and {usedBlocks} are in use")));
                else
                    return Begin(asked with { Finding = asked.Finding with { Before = present } });
            }
            if (_proposed is not { } proposed)
                return null;
            _proposed = null;
            if (usedBlocks > proposed.Plan.KvBlocks || proposed.Finding.Saved <= proposed.Finding.Pause + recompute)
                return null; // the next window may say the same, at a better moment
            return Begin(proposed);
        }
    }

    private GroupPlan Begin(Proposal proposal)
    {
        _taken = proposal;
        _takenAt = time.GetTimestamp();
        return proposal.Plan;
    }

    /// <summary>The epoch of the plan that was taken is ready.</summary>
    public void Succeeded(GroupEpoch group)
    {
        GroupMove made;
        Proposal? taken;
        lock (_gate)
        {
            if ((taken = _taken) is null)
                return;
            _taken = null;
            double pause = time.GetElapsedTime(_takenAt).TotalSeconds;
            made = Describe(taken.Finding);
            made.Epoch = group.Number;
            made.PauseSeconds = pause;
            made.ReadBytes = group.Ranks.Sum(rank => rank.Report.ReadBytes);
            if (_moves.Count == Kept)
                _moves.Dequeue();
            _moves.Enqueue(made);
            _count++;
            policy.Seconds = policy.Seconds with { Rejoin = pause };
        }
        policy.Moved();
        LogMoved(made.Reason, made.Before, made.After, made.ReadBytes / 1048576.0, made.PauseSeconds, made.Gain);
        taken.Done?.SetResult(made);
    }

    /// <summary>The epoch of the plan that was taken did not come up: the plan before it serves again.</summary>
    public void Failed(string reason)
    {
        Proposal? taken;
        lock (_gate)
        {
            if ((taken = _taken) is null)
                return;
            _taken = null;
        }
        policy.Moved();
        LogUndone(reason);
        taken.Done?.SetException(new RequestRejectedException(StatusCode.Unavailable, "MOVE_FAILED", $"The split before serves again: {reason}"));
    }

    private static RankLoad Load(RankStatus rank, long? free)
    {
        (long compute, long collective, long _, long _) = rank.TotalMicroseconds;
        (double ran, double stolen, long times) = rank.Processor;
        return new RankLoad(compute * 1e-6, (compute + collective) * 1e-6, free) { RanSeconds = ran, StolenSeconds = stolen, StolenTimes = times };
    }

    private static async Task<long?> FreeBytesAsync(RankStatus rank, CancellationToken cancellation)
    {
        try
        {
            return (await rank.Client.HelloAsync(surveyGpus: false, s_memoryTimeout, cancellation)).FreeBytes;
        }
        catch (WorkerStartException)
        {
            return null; // whether it lives is for others to say
        }
    }

    private void Judge(BalanceFinding? finding, int leastModelLen)
    {
        if (ReferenceEquals(finding, _judged))
            return;
        _judged = finding;
        if (finding is null)
        {
            Withdraw();
            return;
        }
        GroupPlan? plan = PlanOf(finding, leastModelLen, out string shortage);
        bool tells;
        lock (_gate)
        {
            if (plan is not null && mode == Rebalance.On)
                _proposed = new Proposal(finding, plan, _proposed?.Since ?? time.GetTimestamp());
            tells = _told is not var (rank, at) || rank != finding.Rank || time.GetElapsedTime(at) >= limits.Rest;
            if (tells)
                _told = (finding.Rank, time.GetTimestamp());
            _advice = plan is null ? null : Describe(finding);
        }
        if (!tells)
            return;
        if (plan is null)
            LogNoRoom(finding.Reason, Shares(finding.After), shortage);
        else if (mode == Rebalance.Advise)
            LogAdvice(finding.Reason, Shares(finding.Before), Shares(finding.After), finding.Gain, finding.Pause.TotalSeconds);
        else
            LogWaiting(finding.Reason, Shares(finding.Before), Shares(finding.After), finding.Gain);
    }

    private GroupPlan? PlanOf(BalanceFinding finding, int leastModelLen, out string shortage)
    {
        try
        {
            GroupPlan plan = planFor(finding.After);
            shortage = FormattableString.Invariant($"it would hold contexts of {plan.MaxModelLen} tokens, and {leastModelLen} were promised");
            return plan.MaxModelLen < leastModelLen ? null : plan;
        }
        catch (ShardingException fault)
        {
            shortage = fault.Message;
            return null;
        }
    }

    private Partition SplitOf(IReadOnlyList<double> weights, int degree)
    {
        if (weights.Count > 0 && weights.Count != degree)
            throw RequestRejectedException.OutOfRange("weights", FormattableString.Invariant($"{weights.Count} numbers"), FormattableString.Invariant($"none, or one for each of {degree} workers"));
        foreach (double weight in weights)
            if (!(weight is >= PartitionWish.Least and <= PartitionWish.Most))
                throw RequestRejectedException.OutOfRange("weights", FormattableString.Invariant($"{weight}"), "in 0.000001..1000000");
        return weights.Count == 0 ? Partition.Even(config, degree) : Partition.Weighted(config, weights);
    }

    private static RequestRejectedException NoRoom(string shares, string shortage) =>
        new(StatusCode.FailedPrecondition, "NO_ROOM", $"{shares} has no room: {shortage}.");

    private void Withdraw()
    {
        lock (_gate)
        {
            _proposed = null;
            _advice = null;
        }
    }

    private GroupMove Describe(BalanceFinding finding) => new()
    {
        Time = time.GetUtcNow().ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture),
        Rank = finding.Rank,
        Reason = finding.Reason,
        Before = Shares(finding.Before),
        After = Shares(finding.After),
        Gain = finding.Gain,
    };

    private static string Shares(Partition partition) =>
        $"heads {Counts(partition.HeadBoundaries)}, MLP leaves {Counts(partition.LeafBoundaries)}, vocabulary {Counts(partition.VocabBoundaries)}";

    private static string Counts(IReadOnlyList<int> boundaries) => string.Join('+', boundaries.Skip(1).Zip(boundaries, (end, first) => end - first));

    [LoggerMessage(1080, LogLevel.Warning, "Uneven: {Reason}: {Before} could be {After}: steps {Gain:P0} shorter after a pause of {PauseSeconds:F1} s; --rebalance on would move it")]
    private partial void LogAdvice(string reason, string before, string after, double gain, double pauseSeconds);

    [LoggerMessage(1081, LogLevel.Information, "Uneven: {Reason}: {Before} is to become {After} when nothing runs, or between two steps: steps {Gain:P0} shorter")]
    private partial void LogWaiting(string reason, string before, string after, double gain);

    [LoggerMessage(1082, LogLevel.Information, "Moved: {Reason}: {Before} became {After}: {ReadMiB:F1} MiB read, a pause of {PauseSeconds:F2} s, steps {Gain:P0} shorter by prediction")]
    private partial void LogMoved(string reason, string before, string after, double readMiB, double pauseSeconds, double gain);

    [LoggerMessage(1083, LogLevel.Warning, "Not moved: the split before serves again: {Reason}")]
    private partial void LogUndone(string reason);

    [LoggerMessage(1084, LogLevel.Warning, "Uneven: {Reason}, but {After} has no room: {Shortage}")]
    private partial void LogNoRoom(string reason, string after, string shortage);

    [LoggerMessage(1085, LogLevel.Error, "The ranks of this epoch are not watched for evenness any more")]
    private partial void LogBlind(Exception fault);

    /// <summary>A split that is to be moved to.</summary>
    private sealed record Proposal(BalanceFinding Finding, GroupPlan Plan, long Since)
    {
        /// <summary>How long it can wait, where it was asked for.</summary>
        public MoveWish When { get; init; }

        /// <summary>Told how it ended, where it was asked for.</summary>
        public TaskCompletionSource<GroupMove>? Done { get; init; }
    }
}
