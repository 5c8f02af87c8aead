using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Chooses who owns what, and which devices take part, by what it is predicted to cost. Pure: the same question has the same answer, on any machine.</summary>
/// <remarks>
/// 1. Every group of the devices, in their order, has a lower bound that takes no search; like groups count once.
/// 2. Groups are searched (<see cref="GroupSearch"/>) from the lowest bound upwards, until no bound is below the best plan; of some other degrees one, for the alternatives.
/// 3. Where the devices of the best group are as fast as each other, the even split is taken if it is as good within an allowance: measured speeds scatter.
/// Errors   <see cref="ShardingException"/>: a profile, link or workload with an impossible value; no room, with what is short on which device.
/// </remarks>
public static class Planner
{
    // Beyond so many devices not every group is a candidate: the fastest of each number are.
    private const int MostDevicesForAllGroups = 12;

    // Speeds within this share of each other are those of like devices, measured twice.
    private const double AlikeWithin = 0.02;

    /// <summary>The best plan and its alternatives.</summary>
    /// <exception cref="ShardingException">An input cannot be, or the model has no room.</exception>
    public static PlanResult Plan(ModelCosts model, IReadOnlyList<DeviceProfile> devices, LinkTable links, Workload workload, PlanLimits? limits = null)
    {
        limits ??= new PlanLimits();
        CostModel costs = Costs(model, devices, links, workload, limits);
        if (limits.MinDegree < 1 || limits.MinDegree > Math.Min(limits.MaxDegree, devices.Count))
            throw new ShardingException($"a degree of at least {limits.MinDegree} is asked for; there are {devices.Count} devices, and at most {limits.MaxDegree} may be used.");

        // 1. Candidates by their bounds.
        RangeTable heads = RangeTable.OfHeads(costs), leaves = RangeTable.OfLeaves(costs);
        IReadOnlyList<int[]> groups = Groups(costs, limits, out bool allGroups);
        Candidate[] candidates = [.. groups.Select(group => new Candidate(group, GroupBound.Of(costs, group))).OrderBy(candidate => candidate.Bound).ThenBy(candidate => candidate.Group.Length)];

        // 2. Searches.
        SearchBudget budget = new(devices.Count);
        List<(Candidate Candidate, GroupOutcome Outcome)> searched = [];
        HashSet<int> degrees = [];
        double best = double.PositiveInfinity, unsearched = double.PositiveInfinity;
        bool isProven = allGroups;
        foreach (Candidate candidate in candidates)
        {
            if (double.IsPositiveInfinity(candidate.Bound))
                continue; // it has no room, however it is split
            bool isFirst = searched.Count <= limits.Alternatives && !degrees.Contains(candidate.Group.Length);
            if ((candidate.Bound >= best && !isFirst) || budget.Groups <= 0)
            {
                unsearched = Math.Min(unsearched, candidate.Bound);
                isProven &= candidate.Bound >= best;
                continue;
            }
            budget.Groups--;
            GroupOutcome outcome = new GroupSearch(costs, heads, leaves, candidate.Group, budget, isThorough: candidate.Bound < best).Run();
            isProven &= outcome.IsProven || outcome.LowerBound >= best;
            if (outcome.Partition is not null || !outcome.IsProven)
                unsearched = Math.Min(unsearched, outcome.LowerBound);
            if (outcome.Partition is null)
                continue;
            degrees.Add(candidate.Group.Length);
            searched.Add((candidate, outcome));
            best = Math.Min(best, outcome.Cost);
        }
        if (searched.Count == 0)
            throw Shortage.Of(costs, limits, isProven);

        // 3. The plan, and what else there was.
        List<RankedPlan> plans = [.. searched.Select(entry => Rank(costs, entry.Candidate.Group, entry.Outcome.Partition!)).OrderBy(plan => plan.Prediction.CostSeconds)];
        RankedPlan first = plans[0];
        AddNeighbours(costs, first, plans);
        foreach (int[] group in searched.Select(entry => entry.Candidate.Group))
            AddEven(costs, group, plans);
        if (AreAlike(costs, first.Devices)
            && plans.Find(plan => plan.Devices.SequenceEqual(first.Devices) && IsSame(plan.Partition, Partition.Even(model.Config, first.Degree))) is { } even
            && even.Prediction.CostSeconds <= first.Prediction.CostSeconds * (1 + limits.EvenWithin))
            first = even;
        double bound = Math.Min(unsearched, first.Prediction.CostSeconds);
        return new PlanResult(first, Alternatives(first, plans, limits.Alternatives), bound, isProven);
    }

    /// <summary>What a partition is predicted to cost on some of the devices.</summary>
    /// <param name="model">The model.</param>
    /// <param name="devices">All devices.</param>
    /// <param name="links">Their links.</param>
    /// <param name="workload">The work.</param>
    /// <param name="chosen">The device of each rank.</param>
    /// <param name="partition">Who owns what.</param>
    /// <param name="limits">What the plan must keep to.</param>
    /// <exception cref="ShardingException">An input cannot be.</exception>
    public static Prediction Predict(
        ModelCosts model, IReadOnlyList<DeviceProfile> devices, LinkTable links, Workload workload, IReadOnlyList<int> chosen, Partition partition, PlanLimits? limits = null)
    {
        ArgumentNullException.ThrowIfNull(chosen);
        ArgumentNullException.ThrowIfNull(partition);
        CostModel costs = Costs(model, devices, links, workload, limits ?? new PlanLimits());
        if (chosen.Count != partition.Degree || chosen.Any(device => device < 0 || device >= devices.Count))
            throw new ShardingException($"devices {string.Join(",", chosen)} of {devices.Count} for {partition.Degree} ranks.");
        partition.CheckAgainst(model.Config);
        return costs.Predict(chosen, partition);
    }

    private static CostModel Costs(ModelCosts model, IReadOnlyList<DeviceProfile> devices, LinkTable links, Workload workload, PlanLimits limits)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(devices);
        ArgumentNullException.ThrowIfNull(links);
        ArgumentNullException.ThrowIfNull(workload);
        return new CostModel(model, devices, links, workload, limits.KvTokens);
    }

    private static RankedPlan Rank(CostModel costs, int[] group, Partition partition) => new(group, partition, costs.Predict(group, partition));

    /// <summary>The groups that may be best: all of a few devices, like ones once; of many the fastest of each number.</summary>
    private static List<int[]> Groups(CostModel costs, PlanLimits limits, out bool areAll)
    {
        int count = costs.Devices.Count, most = Math.Min(limits.MaxDegree, count);
        List<int[]> groups = [];
        areAll = count <= MostDevicesForAllGroups;
        if (!areAll)
        {
            int[] bySpeed = [.. Enumerable.Range(0, count).OrderBy(device => costs.Weights[1] * Whole(costs, device)).ThenBy(device => device)];
            for (int degree = limits.MinDegree; degree <= most; degree++)
                groups.Add([.. bySpeed.Take(degree).Order()]);
            return groups;
        }
        int[] kinds = [.. Enumerable.Range(0, count).Select(device => Enumerable.Range(0, device + 1).First(other => IsSame(costs, other, device)))];
        HashSet<string> known = [];
        for (int set = 1; set < 1 << count; set++)
        {
            int[] group = [.. Enumerable.Range(0, count).Where(device => (set & (1 << device)) != 0)];
            if (group.Length >= limits.MinDegree && group.Length <= most && known.Add(Signature(costs, kinds, group)))
                groups.Add(group);
        }
        return groups;
    }

    /// <summary>Equal for groups that cannot be told apart: like devices in the same order, joined by like links.</summary>
    private static string Signature(CostModel costs, int[] kinds, int[] group)
    {
        List<object> parts = [.. group.Select(device => (object)kinds[device])];
        for (int first = 0; first < group.Length; first++)
            for (int second = first + 1; second < group.Length; second++)
                parts.Add(costs.Links[group[first], group[second]]);
        return string.Join('|', parts);
    }

    private static bool IsSame(CostModel costs, int first, int second) =>
        costs.Devices[first].MemoryBytes == costs.Devices[second].MemoryBytes && costs.Devices[first].IsAsFastAs(costs.Devices[second]);

    /// <summary>Seconds of a decode step of the whole model on one device.</summary>
    private static double Whole(CostModel costs, int device)
    {
        ModelConfig config = costs.Model.Config;
        PhaseCosts decode = costs.Phases[device][1];
        return decode.Attention.Of(config.Heads, config.KvHeads).Total + decode.Mlp.Of(config.MlpColumns).Total + decode.Head.Of(config.Vocab).Total;
    }

    private static bool AreAlike(CostModel costs, IReadOnlyList<int> group) =>
        group.All(device => costs.Devices[device].IsAsFastAs(costs.Devices[group[0]], AlikeWithin));

    private static bool IsSame(Partition left, Partition right) =>
        left.HeadBoundaries.SequenceEqual(right.HeadBoundaries) && left.LeafBoundaries.SequenceEqual(right.LeafBoundaries) && left.VocabBoundaries.SequenceEqual(right.VocabBoundaries);

    private static void AddEven(CostModel costs, int[] group, List<RankedPlan> plans) => Add(costs, group, Partition.Even(costs.Model.Config, group.Length), plans);

    /// <summary>The best plan with one boundary of heads or leaves moved by one.</summary>
    private static void AddNeighbours(CostModel costs, RankedPlan plan, List<RankedPlan> plans)
    {
        for (int boundary = 1; boundary < plan.Degree; boundary++)
            foreach (int move in new[] { -1, 1 })
            {
                if (Moved(plan.Partition.HeadBoundaries) is { } heads)
                    Add(costs, [.. plan.Devices], plan.Partition with { HeadBoundaries = heads }, plans);
                if (Moved(plan.Partition.LeafBoundaries) is { } leaves)
                    Add(costs, [.. plan.Devices], plan.Partition with { LeafBoundaries = leaves }, plans);

                int[]? Moved(IReadOnlyList<int> boundaries)
                {
                    int[] moved = [.. boundaries];
                    moved[boundary] += move;
                    return moved[boundary] < moved[boundary - 1] || moved[boundary] > moved[boundary + 1] ? null : moved;
                }
            }
    }

    private static void Add(CostModel costs, int[] group, Partition partition, List<RankedPlan> plans)
    {
        if (costs.Fits(group, partition) && !plans.Exists(plan => plan.Devices.SequenceEqual(group) && IsSame(plan.Partition, partition)))
            plans.Add(Rank(costs, group, partition));
    }

    /// <summary>The cheapest others; of one degree no more than two as long as there are other degrees.</summary>
    private static List<RankedPlan> Alternatives(RankedPlan best, List<RankedPlan> plans, int most)
    {
        RankedPlan[] others = [.. plans.Where(plan => plan != best).OrderBy(plan => plan.Prediction.CostSeconds)];
        HashSet<RankedPlan> taken = [.. others.GroupBy(plan => plan.Degree).SelectMany(degree => degree.Take(2)).OrderBy(plan => plan.Prediction.CostSeconds).Take(most)];
        foreach (RankedPlan plan in others)
            if (taken.Count < most)
                taken.Add(plan);
        return [.. taken.OrderBy(plan => plan.Prediction.CostSeconds)];
    }

    private sealed record Candidate(int[] Group, double Bound);
}
