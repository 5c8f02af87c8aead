using TpServe.Checkpoint.Config;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>When a running group's split is changed, and into which: from what the ranks' arithmetic takes, and what each owns.</summary>
/// <remarks>
/// 1. Time in steps is cut into three windows of a third of <see cref="BalanceLimits.After"/>; idle time does not count.
/// 2. A rank whose arithmetic takes more than <see cref="BalanceLimits.Skew"/> times that of the others' mean in each of the last three is slow; a rank whose
///    host has run short of memory for as long is pressed. What others take of a core in whole time slices is no slowness of the rank: no split helps against it.
/// 3. Work is given in proportion to speed, which is what a rank owns by the time it takes (<see cref="BalanceSearch"/>).
/// 4. There is a finding where the predicted step is shorter, and what that saves within the horizon at the present load is more than the pause of the move costs.
/// 5. None is found for some time after a move, unless the group was lost since: what made the ranks slow may be another thing now.
/// A split that goes back when the cause is gone follows from the same rule.
/// Threads   one caller at a time.
/// </remarks>
/// <param name="config">The model.</param>
/// <param name="work">What its parts cost.</param>
/// <param name="limits">Its patience.</param>
/// <param name="time">The clock.</param>
internal sealed class BalancePolicy(ModelConfig config, ShardWork work, BalanceLimits limits, TimeProvider time)
{
    private const int Windows = 3;

    private readonly Queue<Window> _closed = new();
    private Partition _partition = Partition.Even(config, 1);
    private RankLoad[] _since = [];
    private long _windowBegan;
    private long? _moved, _pressedSince;
    private BalanceFinding? _finding, _pressed;

    /// <summary>What a load of everything took, and what a move took beside loading: what the next move is expected to take follows.</summary>
    public (double FullLoad, double Rejoin) Seconds { get; set; } = (1, 0.5);

    /// <summary>An epoch has begun.</summary>
    /// <param name="partition">Its split.</param>
    /// <param name="afterLoss">The one before was lost.</param>
    public void Begin(Partition partition, bool afterLoss)
    {
        _partition = partition;
        if (afterLoss)
            _moved = null;
        _since = [];
        _closed.Clear();
        _finding = _pressed = null;
        _pressedSince = null;
    }

    /// <summary>The split was changed, or could not be.</summary>
    public void Moved()
    {
        _moved = time.GetTimestamp();
        _closed.Clear();
        _finding = _pressed = null;
    }

    /// <summary>What is to be done, by the ranks' totals of this epoch; null = nothing.</summary>
    public BalanceFinding? Observe(IReadOnlyList<RankLoad> totals)
    {
        if (_since.Length != totals.Count)
            Open(totals);
        double served = totals[0].ServedSeconds - _since[0].ServedSeconds;
        if (served >= limits.After.TotalSeconds / Windows)
        {
            _closed.Enqueue(new Window(
                [.. totals.Select((load, rank) => Compute(load, _since[rank]))],
                [.. totals.Select((load, rank) => load.ServedSeconds - _since[rank].ServedSeconds)], time.GetElapsedTime(_windowBegan).TotalSeconds));
            if (_closed.Count > Windows)
                _closed.Dequeue();
            Open(totals);
            _finding = Skewed();
        }
        bool rests = _moved is { } moved && time.GetElapsedTime(moved) < limits.Rest;
        return rests ? null : Pressed(totals) ?? _finding;
    }

    private void Open(IReadOnlyList<RankLoad> totals)
    {
        _since = [.. totals];
        _windowBegan = time.GetTimestamp();
    }

    /// <summary>What a rank's arithmetic took of itself.</summary>
    /// <remarks>
    /// A neighbour that takes the core for moments makes the rank slow, and less work shortens its part. One that takes it for whole time slices stops the rank
    /// wherever it is, and with it all that wait for it: that part is the same under every split.
    /// </remarks>
    private double Compute(RankLoad now, RankLoad before)
    {
        double compute = now.ComputeSeconds - before.ComputeSeconds, ran = now.RanSeconds - before.RanSeconds, stolen = now.StolenSeconds - before.StolenSeconds;
        long times = now.StolenTimes - before.StolenTimes;
        return times > 0 && ran > 0 && stolen / times >= limits.LongSlice.TotalSeconds ? compute * ran / (ran + stolen) : compute;
    }

    private BalanceFinding? Skewed()
    {
        if (_closed.Count < Windows)
            return null;
        Window[] windows = [.. _closed];
        int slow = Slowest(windows[0].Compute);
        if (windows.Any(window => Slowest(window.Compute) != slow || Ratio(window.Compute, slow) <= limits.Skew))
            return null;

        // 1. Speeds, and the split that they ask for.
        double[] compute = [.. Enumerable.Range(0, _since.Length).Select(rank => windows.Sum(window => window.Compute[rank]))];
        double[] secondsOfByte = SecondsOfByte(compute);
        Partition after = BalanceSearch.Best(config, work, secondsOfByte, _partition);

        // 2. What a step would take: every rank waits for the slowest, and for what the exchange itself takes.
        double served = windows.Sum(window => window.Served.Max()), wall = windows.Sum(window => window.WallSeconds);
        double exchange = Enumerable.Range(0, compute.Length).Min(rank => windows.Sum(window => window.Served[rank]) - compute[rank]);
        double now = compute.Max(), then = BalanceSearch.Seconds(config, work, secondsOfByte, after).Max();
        double gain = (now - then) / (now + Math.Max(exchange, 0));
        double saved = gain * Math.Min(1, served / wall) * limits.Horizon.TotalSeconds;
        double pause = PauseSeconds(after);
        if (gain < limits.LeastGain || saved <= pause)
            return null;
        double ratio = Ratio(compute, slow);
        return new BalanceFinding(
            slow, FormattableString.Invariant($"rank {slow} computes {ratio:F2} times as long as the others"), _partition, after, gain, TimeSpan.FromSeconds(saved), TimeSpan.FromSeconds(pause));
    }

    /// <summary>A rank whose host has had too little memory for long enough, where another host has more.</summary>
    private BalanceFinding? Pressed(IReadOnlyList<RankLoad> totals)
    {
        int pressed = Enumerable.Range(0, totals.Count).Where(rank => totals[rank].FreeBytes is { } free && free < limits.MemoryFloorBytes).DefaultIfEmpty(-1).MinBy(rank => rank < 0 ? 0 : totals[rank].FreeBytes);
        if (pressed < 0)
        {
            _pressedSince = null;
            _pressed = null;
            return null;
        }
        if (_pressed?.Rank == pressed)
            return _pressed;
        _pressedSince ??= time.GetTimestamp();
        if (time.GetElapsedTime(_pressedSince.Value) < limits.After)
            return null;
        double[] shares = [.. Plans(_partition).Select(work.Of)];
        double given = shares[pressed] / 4, others = shares.Sum() - shares[pressed];
        Partition after = others <= 0 ? _partition : Partition.Weighted(config, [.. shares.Select((share, rank) => rank == pressed ? share - given : share * (1 + (given / others)))]);
        ShardPlan[] plans = [.. Plans(after)];
        for (int rank = 0; rank < shares.Length; rank++)
        {
            double more = work.Of(plans[rank]) - shares[rank];
            if (rank == pressed ? more >= 0 : more > 0 && !(totals[rank].FreeBytes - more >= limits.MemoryFloorBytes))
                return null; // nothing whole can be given, or nobody has room for it
        }
        return _pressed = new BalanceFinding(
            pressed, FormattableString.Invariant($"rank {pressed}'s host has {totals[pressed].FreeBytes >> 20} MiB of memory free"), _partition, after, 0, limits.Horizon, TimeSpan.FromSeconds(PauseSeconds(after)));
    }

    private double PauseSeconds(Partition after)
    {
        double[] before = [.. Plans(_partition).Select(work.Of)], then = [.. Plans(after).Select(work.Of)];
        double more = before.Zip(then, (old, next) => Math.Max(0, next - old)).Max();
        return Seconds.Rejoin + (Seconds.FullLoad * more / Math.Max(before.Max(), 1));
    }

    /// <summary>What a rank takes for a byte; one that owns nothing is taken for as fast as the others.</summary>
    private double[] SecondsOfByte(double[] compute)
    {
        double[] owned = [.. Plans(_partition).Select(work.Of)];
        double mean = compute.Where((_, rank) => owned[rank] > 0).Sum() / Math.Max(owned.Sum(), 1);
        return [.. compute.Select((seconds, rank) => owned[rank] > 0 ? seconds / owned[rank] : mean)];
    }

    private IEnumerable<ShardPlan> Plans(Partition partition) => Enumerable.Range(0, partition.Degree).Select(rank => new ShardPlan(config, partition, rank));

    private static int Slowest(double[] compute) => Array.IndexOf(compute, compute.Max());

    private static double Ratio(double[] compute, int rank) => compute[rank] / Math.Max((compute.Sum() - compute[rank]) / (compute.Length - 1), 1e-9);

    private sealed record Window(double[] Compute, double[] Served, double WallSeconds);
}

/// <summary>Totals of one rank since its epoch began.</summary>
/// <param name="ComputeSeconds">Arithmetic.</param>
/// <param name="ServedSeconds">Arithmetic and collectives, waiting included.</param>
/// <param name="FreeBytes">Memory that its host has free; null where another host's would not help.</param>
internal readonly record struct RankLoad(double ComputeSeconds, double ServedSeconds, long? FreeBytes = null)
{
    /// <summary>How long its thread ran; 0 where that is not known.</summary>
    public double RanSeconds { get; init; }

    /// <summary>How long its thread was kept from running though it could.</summary>
    public double StolenSeconds { get; init; }

    /// <summary>How often.</summary>
    public long StolenTimes { get; init; }
}

/// <summary>A split that is worth moving to.</summary>
/// <param name="Rank">The rank it is for.</param>
/// <param name="Reason">For people.</param>
/// <param name="Before">The split as it is.</param>
/// <param name="After">The split to move to.</param>
/// <param name="Gain">What a step is predicted to take less, as a share of it.</param>
/// <param name="Saved">What that saves within the horizon.</param>
/// <param name="Pause">How long the move is expected to take, beside computing the KV cache anew.</param>
internal sealed record BalanceFinding(int Rank, string Reason, Partition Before, Partition After, double Gain, TimeSpan Saved, TimeSpan Pause);

/// <summary>How patient balancing is.</summary>
internal sealed record BalanceLimits
{
    /// <summary>How long a rank must be slow, in time of steps, or its host pressed. Default 30 s.</summary>
    public TimeSpan After { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How much longer than the others' its arithmetic must take. Default 1.1.</summary>
    public double Skew { get; init; } = 1.1;

    /// <summary>The least predicted gain: less is lost in the noise. Default 0.03.</summary>
    public double LeastGain { get; init; } = 0.03;

    /// <summary>Host memory below which a rank is pressed. Default 256 MiB.</summary>
    public long MemoryFloorBytes { get; init; } = 256L << 20;

    /// <summary>Mean time for which others take a core at once, from which on they stop a rank rather than slow it. Default 0.5 ms.</summary>
    public TimeSpan LongSlice { get; init; } = TimeSpan.FromMicroseconds(500);

    /// <summary>How long an idle point is waited for before a step's boundary serves: twice <see cref="After"/>.</summary>
    public TimeSpan IdleFor => 2 * After;

    /// <summary>How long nothing moves after a move: ten times <see cref="After"/>.</summary>
    public TimeSpan Rest => 10 * After;

    /// <summary>Within which a move must repay itself: twenty times <see cref="After"/>.</summary>
    public TimeSpan Horizon => 20 * After;
}
