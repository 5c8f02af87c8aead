using System.Globalization;
using Google.Protobuf;
using TpServe.Checkpoint;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Has the workers of a group timed: devices of a host together, for they compute together, then the path of each pair.</summary>
/// <param name="checkpoint">The model, whose shapes and formats are timed.</param>
/// <param name="options">Checked settings.</param>
/// <param name="plan">What each rank would compute on, and with how many threads.</param>
/// <param name="workers">By rank; they have loaded nothing.</param>
/// <param name="facts">What each says of its host.</param>
/// <param name="transport">What the group goes over.</param>
/// <param name="time">The clock.</param>
internal sealed class GroupMeasurer(
    ModelCheckpoint checkpoint, GatewayOptions options, GroupPlan plan, IReadOnlyList<HeldWorker> workers, HelloReply[] facts, TransportChoice transport, TimeProvider time)
{
    private static readonly TimeSpan s_deviceTimeout = TimeSpan.FromSeconds(60), s_linkTimeout = TimeSpan.FromSeconds(20);

    private readonly MeasureRequest[] _requests = Requests(checkpoint, LoadPlanner.Requests(plan, options, modelPath: "", epoch: 0, segmentPrefix: "", facts, transport));

    /// <summary>Compute threads, by rank.</summary>
    public IReadOnlyList<int> Threads => [.. _requests.Select(request => request.Threads)];

    /// <summary>Lives of pairs that measuring takes.</summary>
    public static int Epochs(int workers) => workers * (workers - 1) / 2;

    /// <summary>All on which the times depend, as text: processors, machines, threads and CPUs, paths, the model's shapes and formats. Not the release.</summary>
    public string Key
    {
        get
        {
            string[] machines = [.. facts.Select(fact => fact.Machine())], distinct = [.. machines.Distinct()];
            return string.Join('\n', _requests.Select((request, rank) => string.Create(CultureInfo.InvariantCulture,
                $"{facts[rank].Device} | machine {Array.IndexOf(distinct, machines[rank])}{(workers[rank].Process is null ? " " + workers[rank].Link.Address : "")} | {JsonFormatter.Default.Format(request)}")).Append(transport.Transport));
        }
    }

    /// <summary>Times everything.</summary>
    /// <param name="firstEpoch">The first of <see cref="Epochs"/> that the workers have not seen.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure, or does not answer in time.</exception>
    public async Task<GroupMeasurement> MeasureAsync(long firstEpoch, CancellationToken cancellation)
    {
        long epoch = firstEpoch;
        MeasureReply[] devices = await AskAsync((request, now) => request.BeginUnixMilliseconds = now, cancellation);
        List<MeasureLinkReply> pairs = [];
        for (int first = 0; first < workers.Count; first++)
            for (int second = first + 1; second < workers.Count; second++)
                pairs.Add(await PairAsync(first, second, epoch++, cancellation));
        return new GroupMeasurement(devices, pairs, await RoundTripAsync(cancellation), time.GetUtcNow());
    }

    /// <summary>The median of some; those before let the runtimes compile.</summary>
    private async Task<double> RoundTripAsync(CancellationToken cancellation)
    {
        const int WarmUps = 40, Times = 60;
        double[] seconds = new double[Times];
        for (int i = -WarmUps; i < Times; i++)
        {
            long start = time.GetTimestamp();
            await workers[0].Link.PingAsync(s_linkTimeout, cancellation);
            if (i >= 0)
                seconds[i] = time.GetElapsedTime(start).TotalSeconds;
        }
        Array.Sort(seconds);
        return seconds[Times / 2];
    }

    /// <summary>Times the first product alone: by rank, its points.</summary>
    /// <param name="rows">With how many rows.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure, or does not answer in time.</exception>
    public async Task<ProductTimes[]> CheckAsync(int[] rows, CancellationToken cancellation) =>
        [.. (await AskAsync((request, _) => request.CheckRows.Add(rows), cancellation)).Select(reply => reply.Products[0])];

    /// <summary>All ranks at once, as far as their hosts have a core for each thread; others in further turns, each with as much company.</summary>
    private async Task<MeasureReply[]> AskAsync(Action<MeasureRequest, long> change, CancellationToken cancellation)
    {
        MeasureReply?[] replies = new MeasureReply?[workers.Count];
        IReadOnlyList<int>[][] hosts = [.. Enumerable.Range(0, workers.Count).GroupBy(rank => facts[rank].HostId).Select(host => TurnsOf([.. host], Threads, facts[host.First()].Cores))];
        for (int turn = 0; turn < hosts.Max(turns => turns.Length); turn++)
        {
            long now = time.GetUtcNow().ToUnixTimeMilliseconds();
            await Task.WhenAll(hosts.Where(turns => turn < turns.Length).SelectMany(turns => turns[turn]).Select(async rank =>
            {
                MeasureRequest request = _requests[rank].Clone();
                change(request, now);
                MeasureReply reply = await workers[rank].Link.MeasureAsync(request, s_deviceTimeout, cancellation);
                replies[rank] ??= reply;
            }));
        }
        return replies!;
    }

    /// <summary>Ranks of a host by turns in which they have a core for each thread; the last turn is filled up with ranks that had theirs.</summary>
    /// <param name="ranks">Of the host.</param>
    /// <param name="threads">By rank of the group.</param>
    /// <param name="cores">Of the host.</param>
    internal static IReadOnlyList<int>[] TurnsOf(IReadOnlyList<int> ranks, IReadOnlyList<int> threads, int cores)
    {
        List<List<int>> turns = [[]];
        foreach (int rank in ranks)
        {
            if (turns[^1].Count > 0 && turns[^1].Sum(other => threads[other]) + threads[rank] > cores)
                turns.Add([]);
            turns[^1].Add(rank);
        }
        foreach (int rank in ranks.Except(turns[^1]).ToArray())
            if (turns[^1].Sum(other => threads[other]) + threads[rank] <= cores)
                turns[^1].Add(rank);
        return [.. turns];
    }

    private async Task<MeasureLinkReply> PairAsync(int first, int second, long epoch, CancellationToken cancellation)
    {
        string prefix = WorkerCrew.SegmentPrefix();
        MeasureLinkReply[] replies = await Task.WhenAll(new[] { first, second }.Select((worker, rank) => workers[worker].Link.MeasureLinkAsync(
            new MeasureLinkRequest
            {
                Epoch = epoch,
                Rank = rank,
                Transport = transport.Between(first, second),
                SegmentPrefix = prefix,
                RingAddresses = { facts[first].RingAddress, facts[second].RingAddress },
                TimeoutMs = (int)(s_linkTimeout / 2).TotalMilliseconds,
            }, s_linkTimeout, cancellation)));
        return new MeasureLinkReply
        {
            LatencySeconds = replies.Max(reply => reply.LatencySeconds),
            SmallBytesPerSecond = replies.Min(reply => reply.SmallBytesPerSecond),
            LargeBytesPerSecond = replies.Min(reply => reply.LargeBytesPerSecond),
        };
    }

    private static MeasureRequest[] Requests(ModelCheckpoint checkpoint, LoadRequest[] loads)
    {
        IReadOnlyList<ProductShape> products = Products(checkpoint);
        return
        [
            .. loads.Select(load => new MeasureRequest
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
            }),
        ];
    }

    /// <summary>What is timed: the matrices of the layers, one of each shape, the format of most bytes first, and the head where only it has its format.</summary>
    internal static IReadOnlyList<ProductShape> Products(ModelCheckpoint checkpoint)
    {
        ILookup<bool, TensorInfo> matrices = checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 2).ToLookup(tensor => tensor.Name.Contains(".layers.", StringComparison.Ordinal));
        Dictionary<TensorType, long> inLayers = matrices[true].GroupBy(tensor => tensor.Type).ToDictionary(format => format.Key, format => format.Sum(tensor => tensor.ByteCount));
        return
        [
            .. matrices[true].OrderByDescending(tensor => inLayers[tensor.Type]).ThenBy(tensor => tensor.Type).Concat(matrices[false].Where(tensor => !inLayers.ContainsKey(tensor.Type)))
                .Select(tensor => new ProductShape { Format = (int)tensor.Type, Outputs = tensor.Shape[0], Inputs = tensor.Shape[1], FewRows = !inLayers.ContainsKey(tensor.Type) }).Distinct(),
        ];
    }
}

/// <summary>What the workers of a group said of themselves when they were timed, before they loaded anything.</summary>
/// <param name="Devices">By rank.</param>
/// <param name="Pairs">Of ranks 0–1, 0–2, …, 1–2, …</param>
/// <param name="RoundTripSeconds">Of an empty call to the first of them.</param>
/// <param name="At">When.</param>
internal sealed record GroupMeasurement(IReadOnlyList<MeasureReply> Devices, IReadOnlyList<MeasureLinkReply> Pairs, double RoundTripSeconds, DateTimeOffset At)
{
    /// <summary>What it took.</summary>
    public double Seconds => Devices.Max(device => device.Seconds);
}
