using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Links;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>What is known of one rank of a ready group.</summary>
internal sealed class RankStatus(HeldWorker worker, LoadRequest request, LoadReport report, IReadOnlyList<PathInfo> paths)
{
    private static readonly UnansweredSteps s_none = new();

    public HeldWorker Worker { get; } = worker;

    /// <summary>How the gateway reaches it.</summary>
    public IWorkerLink Client => Worker.Link;

    /// <summary>What its host is and has.</summary>
    public HelloReply Facts { get; } = worker.Facts!;

    public LoadRequest Request { get; } = request;

    public LoadReport Report { get; } = report;

    /// <summary>What its paths cost when they were proved; empty where they were not.</summary>
    public IReadOnlyList<PathInfo> Paths { get; } = paths;

    /// <summary>The last result: of the last step on rank 0, on others of the last one they answered. Written by the step loop alone; readers may see it beside the totals of another step.</summary>
    public StepResult LastStep { get; private set; } = new();

    /// <summary>Steps of this life.</summary>
    public long Steps { get; private set; }

    /// <summary>Their time, in microseconds: arithmetic, collectives, what of those was waiting, and between steps.</summary>
    public (long Compute, long Collective, long Wait, long Idle) TotalMicroseconds { get; private set; }

    /// <summary>Of the rank's own thread: seconds it ran, and was kept from running though it could, and how often.</summary>
    public (double Ran, double Stolen, long Times) Processor { get; private set; }

    /// <summary>What its collectives came to by the last step that all ranks answered, and the tokens computed by then: at least one where there is any.</summary>
    public IReadOnlyList<CollectiveTraffic> Collectives { get; private set; } = [];

    /// <summary>Tokens computed in the steps that <see cref="Collectives"/> are of.</summary>
    public long CollectiveTokens { get; private set; }

    /// <summary>Where the last minute went.</summary>
    public RankClock Clock { get; } = new();

    /// <summary>A step has ended.</summary>
    /// <param name="result">What the rank answered.</param>
    /// <param name="second">In which second of the group's clock.</param>
    public void Add(StepResult result, long second)
    {
        LastStep = result;
        if (Steps == 0)
            result.IdleMicroseconds = 0; // it was waited for since the group began
        UnansweredSteps before = result.Unanswered ?? s_none;
        Steps += 1 + before.Steps;
        (long compute, long collective, long wait, long idle) = TotalMicroseconds;
        TotalMicroseconds = (
            compute + before.ComputeMicroseconds + result.ComputeMicroseconds, collective + before.CollectiveMicroseconds + result.CollectiveMicroseconds,
            wait + before.WaitMicroseconds + result.WaitMicroseconds, idle + before.IdleMicroseconds + result.IdleMicroseconds);
        (double ran, double stolen, long times) = Processor;
        Processor = (ran + (result.RanMicroseconds * 1e-6), stolen + (result.StolenMicroseconds * 1e-6), times + result.StolenTimes);
        if (result.Rows > 0)
            (Collectives, CollectiveTokens) = (result.Collectives, result.Rows);
        Clock.Add(second, result);
    }
}

/// <summary>Lays out what is known of a group, once for everyone who shows it: GetTopology, /topology, the banner.</summary>
internal static class TopologyReport
{
    /// <param name="plan">Who owns what.</param>
    /// <param name="state">What the group is doing.</param>
    /// <param name="epoch">The epoch of <paramref name="ranks"/>.</param>
    /// <param name="ranks">By rank; none before the group was ready for the first time.</param>
    /// <param name="second">Now, by the group's clock.</param>
    /// <param name="balancer">Who knows of moves; null = nobody.</param>
    public static GetTopologyResponse Create(GroupPlan plan, GroupState state, long epoch, IReadOnlyList<RankStatus> ranks, long second, Balancer? balancer = null)
    {
        GetTopologyResponse topology = new() { State = state, DeviceReason = plan.Devices.Reason, Advice = balancer?.Advice };
        topology.Moves.Add(balancer?.Moves ?? []);
        foreach (RankStatus status in ranks)
            topology.Ranks.Add(Describe(plan.Shards[topology.Ranks.Count], plan.Devices.Ranks[topology.Ranks.Count], status, second));
        topology.Epoch = topology.Ranks.Count == 0 ? 0 : epoch;
        return topology;
    }

    private static RankInfo Describe(ShardPlan shard, RankDevice device, RankStatus status, long second)
    {
        (long compute, long collective, long wait, long idle) = status.TotalMicroseconds;
        LoadReport report = status.Report;
        return new RankInfo
        {
            Rank = shard.Rank,
            Address = status.Client.Address,
            Link = LinkSecurity.Describe(status.Client.Address),
            Pid = status.Facts.Pid,
            Device = device.Describe(status.Facts.Device),
            Isa = Words.InstructionSets.Of(status.Request.Isa),
            Backend = report.Backend,
            Transport = report.Transport,
            TransportReason = report.TransportReason,
            AllReduceMicroseconds = report.AllReduceMicroseconds,
            Paths = { status.Paths },
            Heads = Range(shard.FirstHead, shard.LocalHeads),
            KvHeads = Range(shard.FirstKvHead, shard.LocalKvHeads),
            MlpLeaves = new IndexRange { Start = shard.MlpShare.First, End = shard.MlpShare.End },
            VocabRows = Range(shard.FirstVocab, shard.LocalVocab),
            WeightBytes = report.WeightBytes,
            KvBytes = report.KvBytes,
            LoadSeconds = report.Seconds,
            ComputeMicroseconds = status.LastStep.ComputeMicroseconds,
            CollectiveMicroseconds = status.LastStep.CollectiveMicroseconds,
            StepMicroseconds = status.LastStep.StepMicroseconds,
            IdleMicroseconds = status.LastStep.IdleMicroseconds,
            DraftMicroseconds = status.LastStep.DraftMicroseconds,
            Steps = status.Steps,
            ComputeSeconds = compute * 1e-6,
            CollectiveSeconds = collective * 1e-6,
            IdleSeconds = idle * 1e-6,
            WaitMicroseconds = status.LastStep.WaitMicroseconds,
            WaitSeconds = wait * 1e-6,
            Recent = { status.Clock.Recent(second) },
            Collectives = { status.Collectives.Select(traffic => PerToken(traffic, status.CollectiveTokens)) },
            CollectiveTokens = status.CollectiveTokens,
            Wire = Words.Wires.Of(status.Request.Wire),
            OverlapRows = status.Request.OverlapRows,
        };
    }

    private static CollectiveTraffic PerToken(CollectiveTraffic traffic, long tokens)
    {
        CollectiveTraffic shown = traffic.Clone();
        shown.SentBytesPerToken = (double)traffic.SentBytes / tokens;
        shown.AcrossBytesPerToken = (double)traffic.AcrossBytes / tokens;
        return shown;
    }

    private static IndexRange Range(int first, int count) => new() { Start = first, End = first + count };
}
