using System.Security.Cryptography;
using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The devices of the workers that the settings name, as they are now: workers are started or reached, timed, and let go.</summary>
/// <remarks>
/// 1. Workers as serve would have them, with the same threads and CPUs. 2. All are timed at once, for they compute at once. 3. The path of each pair, one pair after the other.
/// </remarks>
internal static class MeasuredDevices
{
    private static readonly TimeSpan s_deviceTimeout = TimeSpan.FromSeconds(60), s_linkTimeout = TimeSpan.FromSeconds(20);

    /// <summary>Measures.</summary>
    /// <param name="checkpoint">The model, whose shapes and formats are timed.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="source">Where the workers come from.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker does not start or answer, or cannot measure.</exception>
    /// <exception cref="ShardingException">The settings do not fit the model or the host, or name a device that cannot be timed yet.</exception>
    public static async Task<PlannedDevices> MeasureAsync(ModelCheckpoint checkpoint, GatewayOptions options, IWorkerSource source, CancellationToken cancellation)
    {
        IReadOnlyList<HelloReply> hosts = await DeviceSurvey.RunAsync(options, source as LocalWorkers, cancellation);
        DevicePlan devices = DevicePlanner.Create(options, hosts);
        if (devices.Ranks.FirstOrDefault(rank => rank.Kind != DeviceKind.Cpu) is { } other)
            throw new ShardingException($"--measure times workers on the CPU; {other.Name} is none. Use --device cpu, or --devices FILE.json with data sheets.");
        GroupPlan plan = GroupPlan.Create(
            checkpoint.Config, options, devices, hosts[0].FreeBytes, Environment.ProcessorCount, shard => ShardSizes.WeightBytes(checkpoint, shard),
            workers: options.Workers.Count == 0 ? null : hosts);
        List<HeldWorker> workers = [];
        try
        {
            for (int seat = 0; seat < plan.Degree; seat++)
                workers.Add(source.Open(seat));
            foreach (HeldWorker worker in workers)
                worker.Facts = await worker.Link.HelloAsync(surveyGpus: false, source.Patience, cancellation);
            HelloReply[] facts = [.. workers.Select(worker => worker.Facts!)];
            LoadPlanner.RequireOneRelease(facts);
            LoadPlanner.RequireDistinct(facts, [.. workers.Select(worker => worker.Name)]);
            foreach (HeldWorker external in workers.Where(worker => worker.Process is null))
                await external.Link.HoldAsync(source.Patience, cancellation);
            return await MeasureAsync(checkpoint, options, plan, workers, facts, cancellation);
        }
        finally
        {
            foreach (HeldWorker worker in workers)
                await worker.DisposeAsync();
        }
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

    private static async Task<PlannedDevices> MeasureAsync(
        ModelCheckpoint checkpoint, GatewayOptions options, GroupPlan plan, List<HeldWorker> workers, HelloReply[] facts, CancellationToken cancellation)
    {
        // External workers outlive gateways and refuse epochs they have seen: the clock keeps ours ahead of an earlier gateway's.
        long epoch = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        TransportChoice transport = await TransportNegotiation.ChooseAsync(options.Transport, plan.Devices, facts, epoch, [.. workers.Select(worker => worker.Link)], cancellation);
        LoadRequest[] loads = LoadPlanner.Requests(plan, options, modelPath: "", epoch, segmentPrefix: "", facts, transport);
        IReadOnlyList<ProductShape> products = Products(checkpoint);
        MeasureReply[] replies = await Task.WhenAll(workers.Select((worker, rank) => worker.Link.MeasureAsync(Request(checkpoint, loads[rank], products), s_deviceTimeout, cancellation)));

        Dictionary<(int, int), LinkProfile> links = [];
        for (int first = 0; first < workers.Count; first++)
            for (int second = first + 1; second < workers.Count; second++)
                links[(first, second)] = await LinkAsync(workers[first], workers[second], facts[first], facts[second], transport.Kind, ++epoch, cancellation);

        DeviceProfile[] profiles = [.. replies.Select((reply, rank) => Profile(rank, reply, facts))];
        string[] hosts = [.. facts.Select((fact, rank) => workers[rank].Process is null ? workers[rank].Link.Address : "this host")];
        return new PlannedDevices(
            profiles, LinkTable.Of(workers.Count, (first, second) => links[(first, second)]), hosts, [.. hosts.Select((host, rank) => hosts.Take(rank).Count(before => before == host))],
            IsDerived: false, [.. profiles.Select((profile, rank) => Note(profile, replies[rank])), .. links.Select(link => Note(link.Key, link.Value))]);
    }

    private static MeasureRequest Request(ModelCheckpoint checkpoint, LoadRequest load, IReadOnlyList<ProductShape> products) => new()
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
    };

    private static async Task<LinkProfile> LinkAsync(
        HeldWorker first, HeldWorker second, HelloReply firstFacts, HelloReply secondFacts, Transport transport, long epoch, CancellationToken cancellation)
    {
        string prefix = $"tpserve-{Environment.ProcessId}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}";
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
