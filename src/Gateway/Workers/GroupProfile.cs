using TpServe.Checkpoint;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>What the workers of a group can do, as they were timed before they loaded anything.</summary>
/// <param name="Devices">By rank.</param>
/// <param name="Links">Of every pair.</param>
/// <param name="Notes">For people: what was measured, a line a device and pair.</param>
internal sealed record GroupProfile(IReadOnlyList<DeviceProfile> Devices, LinkTable Links, IReadOnlyList<string> Notes)
{
    private static readonly TimeSpan s_deviceTimeout = TimeSpan.FromSeconds(60), s_linkTimeout = TimeSpan.FromSeconds(20);

    /// <summary>Even shares are taken where they are predicted to cost no more than this beside the best: less is lost in the noise of measuring.</summary>
    private const double EvenWithin = 0.03;

    /// <summary>Lives of pairs that measuring takes.</summary>
    public static int Epochs(int workers) => workers * (workers - 1) / 2;

    /// <summary>The split that is predicted to be best for some of the workers, which all take part.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="seats">Which of the workers, ascending.</param>
    /// <exception cref="ShardingException">The model has no room on them.</exception>
    public (RankedPlan Best, double EvenExcess) PlanFor(ModelCheckpoint checkpoint, GatewayOptions options, IReadOnlyList<int> seats)
    {
        DeviceProfile[] devices = [.. seats.Select(seat => Devices[seat])];
        LinkTable links = LinkTable.Of(devices.Length, (first, second) => Links[seats[first], seats[second]]);
        ModelCosts costs = ModelCosts.Of(checkpoint.Config, checkpoint.Tensors.Values, KvHeadBytes(checkpoint, options), null);
        PlanLimits limits = new() { MinDegree = devices.Length, MaxDegree = devices.Length, Alternatives = 0, EvenWithin = EvenWithin };
        Workload work = Workload.Latency with { ChunkTokens = options.ChunkTokens };
        RankedPlan best = Planner.Plan(costs, devices, links, work, limits).Best;
        Prediction even = Planner.Predict(costs, devices, links, work, best.Devices, Partition.Even(checkpoint.Config, devices.Length));
        return (best, (even.CostSeconds / best.Prediction.CostSeconds) - 1);
    }

    /// <summary>Bytes of one head's keys and values of a token.</summary>
    public static int KvHeadBytes(ModelCheckpoint checkpoint, GatewayOptions options)
    {
        ShardPlan whole = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        return (int)(GroupPlan.KvBytesPerToken(checkpoint.Config, whole, options.KvDtype) / checkpoint.Config.Layers / checkpoint.Config.KvHeads);
    }

    /// <summary>What is timed: the matrices of the layers, one of each shape, and the head where only it has its format.</summary>
    internal static IReadOnlyList<ProductShape> Products(ModelCheckpoint checkpoint)
    {
        ILookup<bool, TensorInfo> matrices = checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 2).ToLookup(tensor => tensor.Name.Contains(".layers.", StringComparison.Ordinal));
        HashSet<TensorType> inLayers = [.. matrices[true].Select(tensor => tensor.Type)];
        return
        [
            .. matrices[true].Concat(matrices[false].Where(tensor => !inLayers.Contains(tensor.Type)))
                .Select(tensor => new ProductShape { Format = (int)tensor.Type, Outputs = tensor.Shape[0], Inputs = tensor.Shape[1] }).Distinct(),
        ];
    }

    /// <summary>Times workers that have loaded nothing: all devices at once, then the path of each pair.</summary>
    /// <param name="checkpoint">The model, whose shapes and formats are timed.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="plan">What each rank would compute on, and with how many threads.</param>
    /// <param name="workers">By rank.</param>
    /// <param name="facts">What each says of its host.</param>
    /// <param name="transport">What the group goes over.</param>
    /// <param name="firstEpoch">The first of <see cref="Epochs"/> that the workers have not seen.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure, or does not answer in time.</exception>
    public static async Task<GroupProfile> MeasureAsync(
        ModelCheckpoint checkpoint, GatewayOptions options, GroupPlan plan, IReadOnlyList<HeldWorker> workers, HelloReply[] facts, TransportChoice transport, long firstEpoch,
        CancellationToken cancellation)
    {
        long epoch = firstEpoch;
        LoadRequest[] loads = LoadPlanner.Requests(plan, options, modelPath: "", firstEpoch, segmentPrefix: "", facts, transport);
        IReadOnlyList<ProductShape> products = Products(checkpoint);
        long begin = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        MeasureReply[] replies = await Task.WhenAll(workers.Select((worker, rank) => worker.Link.MeasureAsync(Request(checkpoint, loads[rank], products, begin), s_deviceTimeout, cancellation)));

        Dictionary<(int, int), LinkProfile> links = [];
        for (int first = 0; first < workers.Count; first++)
            for (int second = first + 1; second < workers.Count; second++)
                links[(first, second)] = await LinkAsync(workers[first], workers[second], facts[first], facts[second], transport.Between(first, second), epoch++, cancellation);

        DeviceProfile[] profiles = [.. replies.Select((reply, rank) => Profile(rank, reply, facts))];
        return new GroupProfile(
            profiles, LinkTable.Of(workers.Count, (first, second) => links[(first, second)]),
            [.. profiles.Select((profile, rank) => Note(profile, replies[rank])), .. links.Select(link => Note(link.Key, link.Value))]);
    }

    private static MeasureRequest Request(ModelCheckpoint checkpoint, LoadRequest load, IReadOnlyList<ProductShape> products, long begin) => new()
    {
        Device = load.Device,
        Isa = load.Isa,
        Threads = load.Threads,
        Cpus = { load.Cpus },
        KvDtype = load.KvDtype,
        ActivationDtype = load.ActivationDtype,
        BlockTokens = load.BlockTokens,
        Hidden = checkpoint.Config.Hidden,
        Heads = checkpoint.Config.Heads,
        KvHeads = checkpoint.Config.KvHeads,
        HeadDim = checkpoint.Config.HeadDim,
        Products = { products },
        BeginUnixMilliseconds = begin,
    };

    private static async Task<LinkProfile> LinkAsync(
        HeldWorker first, HeldWorker second, HelloReply firstFacts, HelloReply secondFacts, Transport transport, long epoch, CancellationToken cancellation)
    {
        string prefix = WorkerCrew.SegmentPrefix();
        MeasureLinkReply[] replies = await Task.WhenAll(new[] { first, second }.Select((worker, rank) => worker.Link.MeasureLinkAsync(
            new MeasureLinkRequest
            {
                Epoch = epoch,
                Rank = rank,
                Transport = transport,
                SegmentPrefix = prefix,
                RingAddresses = { firstFacts.RingAddress, secondFacts.RingAddress },
                TimeoutMs = (int)(s_linkTimeout / 2).TotalMilliseconds,
            }, s_linkTimeout, cancellation)));
        return new LinkProfile(
            transport == Transport.Shm ? LinkTransport.SharedMemory : LinkTransport.Ring, replies.Max(reply => reply.LatencySeconds), replies.Min(reply => reply.SmallBytesPerSecond),
            replies.Min(reply => reply.LargeBytesPerSecond));
    }

    private static DeviceProfile Profile(int rank, MeasureReply reply, HelloReply[] facts)
    {
        Dictionary<TensorType, ProductCurve> products = reply.Products.ToDictionary(
            times => (TensorType)times.Format, times => new ProductCurve([.. times.Points.Select(point => new ProductPoint(point.Rows, point.SecondsPerByte))]));
        return new DeviceProfile
        {
            Name = FormattableString.Invariant($"cpu:{rank}"),
            Kind = "cpu",
            MemoryBytes = facts[rank].FreeBytes / facts.Count(fact => fact.HostId == facts[rank].HostId),
            ReadBytesPerSecond = products.Values.Max(curve => 1 / curve.At(1)),
            Products = products,
            DecodeAttentionSecondsPerByte = reply.DecodeAttentionSecondsPerByte,
            PrefillAttentionSecondsPerElement = reply.PrefillAttentionSecondsPerElement,
            ElementwiseSecondsPerFloat = reply.ElementwiseSecondsPerFloat,
            OperationSeconds = reply.OperationSeconds,
        };
    }

    private static string Note(DeviceProfile profile, MeasureReply reply) => FormattableString.Invariant(
        $"{profile.Name} is {reply.Device}, measured in {reply.Seconds:F1} s: {string.Join(", ", profile.Products.Select(product => FormattableString.Invariant($"{product.Key} {1e-9 / product.Value.At(1):F1} GB/s of weights with 1 row, {1e-9 / product.Value.At(512):F2} with 512")))}, an operation {1e6 * profile.OperationSeconds:F1} us");

    private static string Note((int First, int Second) pair, LinkProfile link) => FormattableString.Invariant(
        $"{pair.First} – {pair.Second}: {(link.Transport == LinkTransport.SharedMemory ? "shared memory" : "ring")}, {1e6 * link.LatencySeconds:F1} us, {1e-9 * link.SmallBytesPerSecond:F1} GB/s of small messages, {1e-9 * link.LargeBytesPerSecond:F1} of large ones");
}
