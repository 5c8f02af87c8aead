using System.Diagnostics;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.CudaIpc;
using TpServe.Collectives.Local;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;
using TpServe.Collectives.Staged;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Model;
using TpServe.Model.Weights;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>The rank inside the process: builds device, group, model and cache for each Load, and runs steps on the one rank thread.</summary>
/// <remarks>Threads   callable from anywhere; the work happens on the rank's thread. <see cref="Revoke"/> reaches a rank that waits in a collective.</remarks>
internal sealed class RankHost(GroupSecret secret, RingMailboxes mailboxes) : IDisposable
{
    private readonly RankThread _thread = new();
    private readonly Lock _gate = new();
    private ICommunicator? _communicator;
    private OpenedDevice? _opened;
    private LoadedRank? _loaded;

    /// <summary>Opens the rank's GPU and its segment for an epoch; whatever was loaded or opened before is freed first. Says why where there is none.</summary>
    public Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request)
    {
        EndEpoch(request.Epoch);
        return _thread.RunAsync(() =>
        {
            FreeAll();
            try
            {
                OpenedDevice opened = OpenedDevice.Open(request);
                lock (_gate)
                    _opened = opened;
                return new OpenIpcReply
                {
                    Handle = Google.Protobuf.ByteString.CopyFrom(opened.Segment.Handle.Span),
                    SegmentBytes = opened.Segment.Bytes,
                    DeviceUuid = opened.Segment.DeviceUuid,
                };
            }
            catch (Exception fault) // a driver that is missing, too old or out of memory says so by many types, and each is a reason
            {
                return new OpenIpcReply { Reason = fault.Message };
            }
        });
    }

    /// <summary>Proves the paths to the peers' segments and times them. Says why where one cannot be used.</summary>
    public Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request) => _thread.RunAsync(() =>
    {
        if (_opened is not { } opened || opened.Epoch != request.Epoch)
            return new ProveIpcReply { Reason = $"no segment is open for epoch {request.Epoch}" };
        try
        {
            return new ProveIpcReply
            {
                Pairs = { opened.Prove(request).Select(path => new Protos.V1.PathInfo { Peer = path.Peer, RoundTripMicroseconds = path.RoundTripMicroseconds, BytesPerSecond = path.BytesPerSecond }) },
            };
        }
        catch (Exception fault) // as above
        {
            return new ProveIpcReply { Reason = fault.Message };
        }
    });

    /// <summary>Loads a shard and joins its group; whatever was loaded before is freed first.</summary>
    public Task<LoadReport> LoadAsync(LoadRequest request, Action<LoadProgress> progress)
    {
        EndEpoch(request.Epoch);
        return _thread.RunAsync(() =>
        {
            FreeLoaded();
            _loaded = Load(request, progress, out LoadReport report);
            return report;
        });
    }

    /// <summary>A fresh step loop over what is loaded.</summary>
    public StepLoop OpenLoop() => new(this);

    /// <summary>Ends the epoch: every wait of this rank in a collective of it ends now.</summary>
    public void Revoke(long epoch, string reason)
    {
        lock (_gate)
        {
            if (_communicator?.Epoch == epoch)
                _communicator.Revoke(reason);
            if (_opened?.Epoch == epoch)
                _opened.Revoke(reason);
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _communicator?.Revoke("the worker stops");
        _thread.Dispose();
        FreeAll();
    }

    /// <summary>Waits of an older epoch end now; a segment that was opened for this one stays.</summary>
    private void EndEpoch(long replacing)
    {
        lock (_gate)
        {
            _communicator?.Revoke($"epoch {replacing} replaces it");
            if (_opened is { } opened && opened.Epoch != replacing)
                opened.Revoke($"epoch {replacing} replaces it");
        }
    }

    private void FreeAll()
    {
        FreeLoaded();
        OpenedDevice? opened;
        lock (_gate)
            (opened, _opened) = (_opened, null);
        opened?.Dispose();
    }

    private void FreeLoaded()
    {
        _loaded?.Dispose();
        _loaded = null;
    }

    private LoadedRank Load(LoadRequest request, Action<LoadProgress> progress, out LoadReport report)
    {
        long start = Stopwatch.GetTimestamp();
        List<IDisposable> built = [];
        try
        {
            // 1. The model's facts, and what this rank owns of it.
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(request.ModelPath);
            ShardPlan plan = new(checkpoint.Config, new Partition([.. request.HeadBoundaries], [.. request.LeafBoundaries], [.. request.VocabBoundaries]), request.Rank);

            // 2. Device and group. The group first agrees that it can talk, before minutes go into weights.
            (ITensorBackend ops, CudaIpcEndpoint? endpoint) = OpenDevice(request);
            Keep(ops);
            if (endpoint is not null)
                Keep(endpoint);
            progress(new LoadProgress { Stage = "joining group" });
            ICommunicator comm = Keep(Join(request, ops, endpoint));
            lock (_gate)
                _communicator = comm;

            // 3. Weights, cache, sampler.
            ModelLimits limits = new(request.MaxModelLen, request.MaxStepTokens);
            DenseTransformer model = Keep(WeightLoader.Load(checkpoint, plan, ops, comm, limits, (done, total) =>
                progress(new LoadProgress { Stage = "packing", DoneBytes = done, TotalBytes = total })));
            KvCache cache = Keep(new KvCache(checkpoint.Config, plan, KvType(request.KvDtype), request.BlockTokens, request.KvBlocks, ops));
            comm.Barrier();

            report = new LoadReport
            {
                WeightBytes = model.WeightBytes,
                KvBytes = cache.Bytes,
                Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
                Transport = comm.Report.Transport,
                TransportReason = request.TransportReason.Length > 0 ? request.TransportReason : comm.Report.Reason,
                AllReduceMicroseconds = comm.Report.AllReduceMicroseconds,
                Backend = ops.Description,
            };
            return new LoadedRank(request.Epoch, new ModelRank(model, cache, plan, ops, comm), comm, request.BlockTokens, built);
        }
        catch
        {
            built.Reverse();
            built.ForEach(part => part.Dispose());
            throw;
        }

        T Keep<T>(T part) where T : IDisposable
        {
            built.Add(part);
            return part;
        }
    }

    /// <summary>What OpenIpc opened for this load, or a device opened now.</summary>
    private (ITensorBackend Ops, CudaIpcEndpoint? Endpoint) OpenDevice(LoadRequest request)
    {
        OpenedDevice? opened;
        lock (_gate)
            (opened, _opened) = (_opened, null);
        return opened?.Take(request) ?? (DeviceBackends.Open(request), null);
    }

    private ICommunicator Join(LoadRequest request, ITensorBackend ops, CudaIpcEndpoint? endpoint)
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(request.CollectiveTimeoutMs);
        return request switch
        {
            { Degree: 1 } => new SingleRank(request.Epoch, ops),
            { Transport: "shm" } => OnHost(SharedMemoryCommunicator.Join(request.SegmentPrefix, request.Rank, request.Degree, timeout, request.Epoch)),
            { Transport: "ring" } => OnHost(RingCommunicator.Join(mailboxes, [.. request.RingAddresses], request.Rank, secret.Value, timeout, request.Epoch)),
            { Transport: "cuda-ipc" } => endpoint?.Join((CudaBackend)ops, timeout) ?? throw new TransportFailedException($"cuda-ipc: no segment is open for epoch {request.Epoch} on {request.Device}"),
            _ => throw new ArgumentException($"transport '{request.Transport}' is unknown."),
        };

        // These move what lies on the host.
        ICommunicator OnHost(ICommunicator transport) => request.Device is "cpu" or "" ? transport : new StagedCommunicator(transport, ops);
    }

    private static ElementType KvType(string name) => name switch
    {
        "f32" => ElementType.Float32,
        "f16" => ElementType.Float16,
        "bf16" => ElementType.BFloat16,
        _ => throw new ArgumentException($"KV cache type '{name}' is unknown."),
    };

    /// <summary>One Run call: steps counted from 1, sequences its own.</summary>
    internal sealed class StepLoop(RankHost host)
    {
        private StepBatchBuilder? _builder;

        /// <summary>Runs one step on the rank's thread.</summary>
        /// <exception cref="PlanMismatchException">The plan does not fit, or nothing is loaded.</exception>
        /// <exception cref="GroupLostException">A peer is lost.</exception>
        public Task<StepResult> RunAsync(StepPlan plan) => host._thread.RunAsync(() =>
        {
            LoadedRank loaded = host._loaded ?? throw new PlanMismatchException("no shard is loaded.");
            _builder ??= new StepBatchBuilder(loaded.Epoch, loaded.BlockTokens);
            long start = Stopwatch.GetTimestamp();
            StepBatch batch = _builder.Lay(plan);
            StepOutput output = loaded.Rank.Run(batch);
            loaded.Communicator.ThrowIfLost();
            StepResult result = _builder.Conclude(plan, output, reports: loaded.Communicator.Rank == 0);
            TimeSpan whole = Stopwatch.GetElapsedTime(start), collective = loaded.Communicator.TakeElapsed();
            result.StepMicroseconds = (int)whole.TotalMicroseconds;
            result.CollectiveMicroseconds = (int)collective.TotalMicroseconds;
            result.ComputeMicroseconds = (int)(whole - collective).TotalMicroseconds;
            return result;
        });
    }

    /// <summary>What one Load built.</summary>
    private sealed record LoadedRank(long Epoch, ModelRank Rank, ICommunicator Communicator, int BlockTokens, List<IDisposable> Parts) : IDisposable
    {
        public void Dispose()
        {
            for (int i = Parts.Count - 1; i >= 0; i--)
                Parts[i].Dispose();
        }
    }
}
