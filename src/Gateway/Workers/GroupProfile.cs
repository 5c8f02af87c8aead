using TpServe.Checkpoint;
using TpServe.Gateway.Settings;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>What the workers of a group can do, and which split follows from it.</summary>
/// <param name="Devices">By seat.</param>
/// <param name="Kinds">By seat, what it is in words: workers of one kind should take equally long.</param>
/// <param name="Links">Of every pair.</param>
/// <param name="Origin">Since when it is known: "measured in 0.8 s".</param>
internal sealed record GroupProfile(IReadOnlyList<DeviceProfile> Devices, IReadOnlyList<string> Kinds, LinkTable Links, string Origin)
{
    /// <summary>Workers of one kind that differ by no more than this share are alike: no two measurements give the same.</summary>
    public const double AlikeWithin = 0.1;

    /// <summary>Fewer workers are taken where they are predicted to be faster by more than this share.</summary>
    public const double FewerBeyond = 0.1;

    /// <summary>Even shares are taken where they are predicted to cost no more than this beside the best: less is lost in the noise of measuring.</summary>
    private const double EvenWithin = 0.03;

    /// <summary>What a step takes of processors beside its ranks, in empty calls to a worker: the gateway plans it, sends it, takes the result in and sends the text on.</summary>
    private const double RoundTripsOfStep = 3;

    /// <summary>For people: what was measured, a line a device and pair.</summary>
    public IReadOnlyList<string> Notes =>
    [
        .. Devices.Select((device, seat) => FormattableString.Invariant(
            $"{device.Name} is {Kinds[seat]}, {Origin}: {string.Join(", ", device.Products.Select(product => FormattableString.Invariant($"{product.Key} {1e-9 / product.Value.At(1):F1} GB/s of weights with 1 row, {1e-9 / product.Value.At(512):F2} with 512")))}, an operation {1e6 * device.OperationSeconds:F1} us")),
        FormattableString.Invariant($"a step of the gateway takes {1e3 * Devices.Max(device => device.StepSeconds):F2} ms of the ranks' processors"),
        .. from first in Enumerable.Range(0, Devices.Count) from second in Enumerable.Range(first + 1, Devices.Count - first - 1)
           let link = Links[first, second]
           select FormattableString.Invariant(
               $"{first} – {second}: {(link.Transport == LinkTransport.SharedMemory ? "shared memory" : "ring")}, {1e6 * link.LatencySeconds:F1} us, {1e-9 * link.SmallBytesPerSecond:F1} GB/s of small messages, {1e-9 * link.LargeBytesPerSecond:F1} of large ones"),
    ];

    /// <summary>The profile of what was measured.</summary>
    /// <param name="measured">Times.</param>
    /// <param name="places">By rank, where it computes.</param>
    /// <param name="transport">What two ranks go over.</param>
    /// <param name="origin">Since when it is known.</param>
    /// <exception cref="ShardingException">A number cannot be.</exception>
    public static GroupProfile Of(GroupMeasurement measured, IReadOnlyList<RankPlace> places, Func<int, int, Transport> transport, string origin)
    {
        DeviceProfile[] devices = [.. measured.Devices.Select((reply, rank) => Device(rank, Slower(reply, TurnsOf(places, rank)), places[rank].MemoryBytes) with
        {
            StepSeconds = places[rank].IsLocal && ThreadsBeside(places, rank) >= places[rank].Facts.Cores ? RoundTripsOfStep * measured.RoundTripSeconds : 0,
        })];
        Queue<MeasureLinkReply> pairs = new(measured.Pairs);
        LinkTable links = LinkTable.Of(devices.Length, (first, second) => Link(pairs.Dequeue(), transport(first, second)));
        foreach (DeviceProfile device in devices)
            device.Check();
        links.Check(devices);
        return new GroupProfile(devices, [.. places.Select(Kind)], links, origin);
    }

    /// <summary>Whether two workers of one kind differ by more than measuring explains.</summary>
    public bool HasUnlikeTwins(ModelCheckpoint checkpoint, GatewayOptions options)
    {
        double[] seconds = WholeModel(checkpoint, options);
        return Kinds.Distinct().Any(kind => Seats(kind).Max(seat => seconds[seat]) > (1 + AlikeWithin) * Seats(kind).Min(seat => seconds[seat]));
    }

    /// <summary>A measurement in which workers of one kind differ only by as much as showed every time: the times of the fastest, and how much longer the others took at least.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="measured">What was measured.</param>
    /// <param name="checks">Each by rank: one product measured once more, with some numbers of rows. A slower processor shows in each of these, a moment's disturbance rarely.</param>
    public GroupMeasurement Settled(ModelCheckpoint checkpoint, GatewayOptions options, GroupMeasurement measured, IReadOnlyList<ProductTimes[]> checks)
    {
        double[] seconds = WholeModel(checkpoint, options);
        MeasureReply[] settled = [.. measured.Devices];
        foreach (string kind in Kinds.Distinct())
        {
            int[] seats = Seats(kind);
            int best = seats.MinBy(seat => seconds[seat]);
            foreach (int seat in seats)
                settled[seat] = Slower(measured.Devices[best], Math.Min(seconds[seat] / seconds[best], checks.Min(check => Enumerable.Range(0, check[seat].Points.Count).Min(point =>
                    check[seat].Points[point].SecondsPerByte / seats.Min(other => check[other].Points[point].SecondsPerByte)))));
        }
        return measured with { Devices = settled };
    }

    /// <summary>What a rank is, but not which of its likes: the CPUs that it is bound to are not part of it.</summary>
    private static string Kind(RankPlace place) => $"{place.Threads} {(place.Threads == 1 ? "thread" : "threads")}, {Words.InstructionSets.Of(place.Facts.Isa)}, of {place.Facts.Device}";

    /// <summary>How many times longer a rank takes than with a core for each of its threads: ranks that outnumber their host's cores take turns between two sums.</summary>
    private static int TurnsOf(IReadOnlyList<RankPlace> places, int rank) => GroupMeasurer.TurnsOf(
        [.. Enumerable.Range(0, places.Count).Where(other => places[other].Facts.HostId == places[rank].Facts.HostId)], [.. places.Select(place => place.Threads)], places[rank].Facts.Cores).Length;

    /// <summary>Compute threads of a rank's host.</summary>
    private static int ThreadsBeside(IReadOnlyList<RankPlace> places, int rank) => places.Where(place => place.Facts.HostId == places[rank].Facts.HostId).Sum(place => place.Threads);

    private static MeasureReply Slower(MeasureReply reply, double times)
    {
        MeasureReply slower = reply.Clone();
        foreach (ProductTimes.Types.Point point in slower.Products.SelectMany(product => product.Points))
            point.SecondsPerByte *= times;
        slower.DecodeAttentionSecondsPerByte *= times;
        slower.PrefillAttentionSecondsPerElement *= times;
        slower.ElementwiseSecondsPerFloat *= times;
        slower.OperationSeconds *= times;
        return slower;
    }

    /// <summary>The split for some of the workers.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="seats">Which of the workers, ascending.</param>
    /// <param name="kvTokens">Tokens of KV cache that every rank must hold.</param>
    /// <param name="mayLeaveOut">Whether fewer of them may compute.</param>
    /// <exception cref="ShardingException">The model has no room on them.</exception>
    public SplitChoice PlanFor(ModelCheckpoint checkpoint, GatewayOptions options, IReadOnlyList<int> seats, long kvTokens, bool mayLeaveOut)
    {
        DeviceProfile[] devices = Levelled(checkpoint, options, seats);
        LinkTable links = LinkTable.Of(devices.Length, (first, second) => Links[seats[first], seats[second]]);
        ModelCosts costs = CostsOf(checkpoint, options);
        Workload work = WorkOf(options);
        bool areAlike = devices.All(device => device.IsAsFastAs(devices[0]));

        // 1. All of them, evenly or better.
        Partition evenly = Partition.Even(checkpoint.Config, devices.Length);
        int[] all = [.. Enumerable.Range(0, devices.Length)];
        PlanLimits limits = new() { KvTokens = kvTokens, Alternatives = 0 };
        RankedPlan even = new(all, evenly, Planner.Predict(costs, devices, links, work, all, evenly, limits));
        bool evenFits = even.Prediction.Memory.All(rank => rank.TotalBytes <= rank.UsableBytes);
        RankedPlan? best = areAlike && evenFits ? even : Best(devices.Length, devices.Length);
        double excess = best is null ? double.NaN : (even.Prediction.CostSeconds / best.Prediction.CostSeconds) - 1;
        SplitChoice? choice = best is null ? null
            : areAlike && evenFits ? Choice(even, devices.Length == 1 ? "one worker" : $"even shares, the workers are alike within {AlikeWithin:P0}")
            : evenFits && excess <= EvenWithin ? Choice(even, FormattableString.Invariant($"even shares, which cost {excess:P1} beside the best"))
            : Choice(best, evenFits ? FormattableString.Invariant($"even shares would take {excess:P0} more") : "even shares have no room");

        // 2. Fewer, where that is worth it.
        if (mayLeaveOut && devices.Length > 1 && Best(1, devices.Length - 1) is { } fewer
            && (choice is null || fewer.Prediction.CostSeconds * (1 + FewerBeyond) < choice.Prediction.CostSeconds))
            choice = Choice(fewer, choice is null
                ? $"only {fewer.Degree} of {devices.Length} workers have room"
                : FormattableString.Invariant($"{fewer.Degree} of {devices.Length} workers, all of them would take {(choice.Prediction.CostSeconds / fewer.Prediction.CostSeconds) - 1:P0} more"));
        return choice ?? throw Shortage();

        RankedPlan? Best(int least, int most)
        {
            try
            {
                return Planner.Plan(costs, devices, links, work, limits with { MinDegree = least, MaxDegree = most }).Best;
            }
            catch (ShardingException)
            {
                return null; // no room; what is short is said where nothing else has room either
            }
        }

        ShardingException Shortage()
        {
            try
            {
                Planner.Plan(costs, devices, links, work, limits with { MinDegree = devices.Length, MaxDegree = devices.Length });
                return new ShardingException("no split has room.");
            }
            catch (ShardingException fault)
            {
                return fault;
            }
        }

        SplitChoice Choice(RankedPlan plan, string reason) => new([.. plan.Devices.Select(device => seats[device])], plan.Partition, plan.Prediction, reason);
    }

    /// <summary>What computing prompts in blocks, a block's sum beside the next, is predicted to save of one.</summary>
    public double OverlapSavedSeconds(ModelCheckpoint checkpoint, GatewayOptions options, SplitChoice choice)
    {
        if (choice.Seats.Count < 2)
            return 0;
        LinkProfile slowest = (from first in choice.Seats from second in choice.Seats where first < second select Links[first, second]).MinBy(link => link.LargeBytesPerSecond)!;
        Workload work = WorkOf(options);
        int rows = Math.Min(work.ChunkTokens, work.PromptTokens), steps = (work.PromptTokens + rows - 1) / rows;
        return Overlap.SavedSeconds(choice.Prediction.Phases[0], slowest, rows, 2 * checkpoint.Config.Layers * steps);
    }

    /// <summary>Bytes of one head's keys and values of a token.</summary>
    public static int KvHeadBytes(ModelCheckpoint checkpoint, GatewayOptions options)
    {
        ShardPlan whole = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        return (int)(GroupPlan.KvBytesPerToken(checkpoint.Config, whole, options.KvDtype) / checkpoint.Config.Layers / checkpoint.Config.KvHeads);
    }

    private static ModelCosts CostsOf(ModelCheckpoint checkpoint, GatewayOptions options) => ModelCosts.Of(checkpoint.Config, checkpoint.Tensors.Values, KvHeadBytes(checkpoint, options), null);

    private static Workload WorkOf(GatewayOptions options) => Workload.Latency with { ChunkTokens = options.ChunkTokens };

    private int[] Seats(string kind) => [.. Enumerable.Range(0, Kinds.Count).Where(seat => Kinds[seat] == kind)];

    /// <summary>By seat, what a request takes where it computes alone.</summary>
    private double[] WholeModel(ModelCheckpoint checkpoint, GatewayOptions options)
    {
        ModelCosts costs = CostsOf(checkpoint, options);
        Partition whole = Partition.Even(checkpoint.Config, 1);
        DeviceProfile[] devices = [.. Devices.Select(device => device with { StepSeconds = 0 })];
        return [.. Enumerable.Range(0, Devices.Count).Select(seat => Planner.Predict(costs, devices, Links, WorkOf(options), [seat], whole).CostSeconds)];
    }

    /// <summary>The devices of some seats, those of a kind that are alike with one and the same speed: their mean.</summary>
    private DeviceProfile[] Levelled(ModelCheckpoint checkpoint, GatewayOptions options, IReadOnlyList<int> seats)
    {
        double[] seconds = WholeModel(checkpoint, options);
        DeviceProfile[] levelled = [.. seats.Select(seat => Devices[seat])];
        foreach (IGrouping<string, int> kind in Enumerable.Range(0, seats.Count).GroupBy(place => Kinds[seats[place]]))
        {
            int[] ascending = [.. kind.OrderBy(place => seconds[seats[place]])];
            for (int first = 0, end; first < ascending.Length; first = end)
            {
                double most = (1 + AlikeWithin) * seconds[seats[ascending[first]]];
                end = first + 1;
                while (end < ascending.Length && seconds[seats[ascending[end]]] <= most)
                    end++;
                DeviceProfile mean = DeviceProfile.MeanOf([.. ascending[first..end].Order().Select(place => levelled[place])]);
                foreach (int place in ascending[first..end])
                    levelled[place] = mean with { Name = levelled[place].Name, MemoryBytes = levelled[place].MemoryBytes };
            }
        }
        return levelled;
    }

    private static DeviceProfile Device(int rank, MeasureReply reply, long memory)
    {
        Dictionary<TensorType, ProductCurve> products = reply.Products.ToDictionary(
            times => (TensorType)times.Format, times => new ProductCurve([.. times.Points.Select(point => new ProductPoint(point.Rows, point.SecondsPerByte))]));
        return new DeviceProfile
        {
            Name = FormattableString.Invariant($"cpu:{rank}"),
            Kind = "cpu",
            MemoryBytes = memory,
            ReadBytesPerSecond = products.Count == 0 ? 0 : products.Values.Max(curve => curve.Points.Count == 0 ? 0 : 1 / curve.At(1)),
            Products = products,
            DecodeAttentionSecondsPerByte = reply.DecodeAttentionSecondsPerByte,
            PrefillAttentionSecondsPerElement = reply.PrefillAttentionSecondsPerElement,
            ElementwiseSecondsPerFloat = reply.ElementwiseSecondsPerFloat,
            OperationSeconds = reply.OperationSeconds,
        };
    }

    private static LinkProfile Link(MeasureLinkReply reply, Transport transport) => new(
        transport == Transport.Shm ? LinkTransport.SharedMemory : LinkTransport.Ring, reply.LatencySeconds, reply.SmallBytesPerSecond, reply.LargeBytesPerSecond);
}

/// <summary>Where a rank computes.</summary>
/// <param name="Facts">What its worker says of its host.</param>
/// <param name="MemoryBytes">What it may take.</param>
/// <param name="Threads">Compute threads.</param>
/// <param name="IsLocal">Whether the gateway is on its host.</param>
internal sealed record RankPlace(HelloReply Facts, long MemoryBytes, int Threads, bool IsLocal);

/// <summary>A split of the model that was chosen.</summary>
/// <param name="Seats">The workers that compute, by rank.</param>
/// <param name="Partition">Who owns what.</param>
/// <param name="Prediction">What it takes.</param>
/// <param name="Reason">Why it and no other.</param>
internal sealed record SplitChoice(IReadOnlyList<int> Seats, Partition Partition, Prediction Prediction, string Reason);
