using System.Diagnostics;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Collectives;
using TpServe.Collectives.CudaIpc;
using TpServe.Collectives.Hosted;
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
/// <remarks>
/// A Load that would build what is loaded already, which is every Load after a peer was lost, keeps it and only joins the new group. One that differs in who owns
/// what keeps the device and the weights that the rank owns in both, and reads the others. A shard whose group falls
/// apart while it loads is kept for the next Load too; one for which the next Load has no use stops loading at once.
/// Threads   callable from anywhere; the work happens on the rank's thread. <see cref="Revoke"/> reaches a rank that joins, or waits in a collective.
/// </remarks>
internal sealed class RankHost(GroupSecret secret, RingMailboxes mailboxes) : IDisposable
{
    private readonly RankThread _thread = new();
    private readonly Lock _gate = new();
    private Membership? _membership;
    private LoadRequest? _building;
    private volatile bool _buildingIsWanted;
    private OpenedDevice? _opened;
    private LoadedShard? _loaded;
    private ProcessorTimes? _processor; // of the rank's thread
    private LoadRequest? _ready; // what the rank has joined with; null while it cannot run steps

    /// <summary>Opens the rank's GPU and its segment for an epoch, on the device of what is loaded where it is the same. Says why where there is none.</summary>
    public Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request)
    {
        Membership membership = BeginEpoch(request.Epoch);
        return _thread.RunAsync(() =>
        {
            LeaveGroup();
            FreeOpened();
            try
            {
                bool keeps = _loaded is { Ops: CudaBackend } && _loaded.IsOn(request.Device);
                if (!keeps)
                    FreeLoaded();
                OpenedDevice opened = _opened = OpenedDevice.Open(request, keeps ? (CudaBackend)_loaded!.Ops : null);
                membership.OnRevoked(opened.Revoke);
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

    /// <summary>Times the rank's device; nothing may be loaded on it.</summary>
    /// <exception cref="ModelLoadException">A shard is loaded, or the device cannot be opened.</exception>
    public Task<MeasureReply> MeasureAsync(MeasureRequest request) => _thread.RunAsync(() =>
    {
        if (_loaded is not null)
            throw new ModelLoadException("a shard is loaded; a device is measured before that.");
        using ITensorBackend ops = DeviceBackends.Open(request);
        return DeviceMeasurement.Run(ops, request);
    });

    /// <summary>Times the path to another rank.</summary>
    /// <exception cref="GroupLostException">The other one did not come, or the epoch was revoked.</exception>
    public Task<MeasureLinkReply> MeasureLinkAsync(MeasureLinkRequest request)
    {
        Membership membership = BeginEpoch(request.Epoch);
        return _thread.RunAsync(() =>
        {
            membership.ThrowIfRevoked();
            LoadRequest pair = new()
            {
                Epoch = request.Epoch,
                Rank = request.Rank,
                Degree = 2,
                Transport = request.Transport,
                SegmentPrefix = request.SegmentPrefix,
                RingAddresses = { request.RingAddresses },
                CollectiveTimeoutMs = request.TimeoutMs,
                LoadTimeoutMs = request.TimeoutMs,
            };
            using ICommunicator group = JoinOnHost(pair, membership.Over);
            membership.OnRevoked(group.Revoke);
            return LinkMeasurement.Run(group);
        });
    }

    /// <summary>Loads a shard, or keeps the one that is loaded, and joins its group.</summary>
    public Task<LoadReport> LoadAsync(LoadRequest request, Action<LoadProgress> progress)
    {
        Membership membership = BeginEpoch(request.Epoch);
        lock (_gate)
            _buildingIsWanted = _building is not null && LoadedShard.IsSameShard(_building, request);
        return _thread.RunAsync(() => Load(request, membership, progress));
    }

    /// <summary>Loads one more adapter between two steps.</summary>
    /// <exception cref="ModelLoadException">It cannot be loaded, or the group has another epoch.</exception>
    public Task<bool> LoadLoraAsync(LoadLoraRequest request) => _thread.RunAsync(() =>
    {
        if (_ready?.Epoch != request.Epoch || _loaded is null)
            throw new ModelLoadException($"epoch {request.Epoch} has ended.");
        _loaded.Loras.Load(request.Adapter);
        return true;
    });

    /// <summary>Frees an adapter that no sequence was ever on.</summary>
    public Task<bool> UnloadLoraAsync(int id) => _thread.RunAsync(() =>
    {
        _loaded?.Loras.Drop(id);
        return true;
    });

    /// <summary>A fresh step loop over what is loaded, made when its first step comes, and where what follows its steps is put.</summary>
    public OpenedLoop OpenLoop()
    {
        StepLoop? loop = null;
        MaskInbox masks = new(() => TimeSpan.FromMilliseconds(_ready!.CollectiveTimeoutMs));
        Membership? membership;
        lock (_gate)
            membership = _membership;
        membership?.OnRevoked(masks.Close);
        return new OpenedLoop(Run, masks);

        Task<StepResult?> Run(StepPlan plan) => _thread.RunAsync(() =>
        {
            if (_ready is not { } ready)
                throw new PlanMismatchException("no shard is loaded.");
            if (loop is null)
            {
                _processor ??= new ProcessorTimes();
                _processor.Begin();
                loop = new StepLoop(_loaded!, ready.Epoch, ready.BlockTokens, _processor, masks);
            }
            return loop.Run(plan);
        });
    }

    /// <summary>Ends the epoch: every wait of this rank for it ends now.</summary>
    public void Revoke(long epoch, string reason)
    {
        Membership? membership;
        lock (_gate)
            membership = _membership;
        if (membership?.Epoch == epoch)
            membership.Revoke(reason);
    }

    public void Dispose()
    {
        Membership? membership;
        lock (_gate)
            membership = _membership;
        _buildingIsWanted = false;
        membership?.Revoke("the worker stops");
        if (!_thread.Stop())
            return; // the process ends anyway; what its thread still uses is not taken from under it
        _thread.Dispose();
        _processor?.Dispose();
        FreeOpened();
        FreeLoaded();
    }

    /// <summary>Waits of an older epoch end now; what was begun for this one goes on.</summary>
    private Membership BeginEpoch(long epoch)
    {
        Membership? before;
        Membership begun;
        lock (_gate)
        {
            before = _membership;
            if (before?.Epoch == epoch)
                return before;
            begun = _membership = new Membership(epoch);
        }
        before?.Revoke($"epoch {epoch} replaces it");
        return begun;
    }

    private LoadReport Load(LoadRequest request, Membership membership, Action<LoadProgress> progress)
    {
        long start = Stopwatch.GetTimestamp();
        LoadStages stages = new();
        TimeSpan patience = TimeSpan.FromMilliseconds(request.LoadTimeoutMs);
        membership.ThrowIfRevoked();
        LeaveGroup();
        bool reused = _loaded is not null && _loaded.Serves(request);
        if (reused)
            Rejoin(_loaded!, request, membership, progress);
        else
            _loaded = Build(request, membership, progress, stages);

        _loaded!.Loras.Become(request.Loras);
        stages.Ended("adapters");

        // The ranks meet once all have loaded: from here on none waits longer for another than a collective does.
        RelayCommunicator group = _loaded!.Relay;
        group.Barrier(patience);
        stages.Ended("meeting");
        if (request.WarmUp)
        {
            progress(new LoadProgress { Stage = "first steps" });
            FirstSteps.Run(_loaded, request);
            stages.Ended("first steps");
        }
        _ready = request;
        return new LoadReport
        {
            WeightBytes = _loaded.WeightBytes,
            KvBytes = _loaded.KvBytes,
            Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
            Transport = group.Report.Transport,
            TransportReason = request.TransportReason.Length > 0 ? request.TransportReason : group.Report.Reason,
            AllReduceMicroseconds = group.Report.AllReduceMicroseconds,
            Backend = _loaded.Ops.Description,
            Reused = reused,
            ReadBytes = reused ? 0 : _loaded.ReadBytes,
            Stages = stages.ToString(),
        };
    }

    /// <summary>What is loaded goes into the next epoch.</summary>
    private void Rejoin(LoadedShard shard, LoadRequest request, Membership membership, Action<LoadProgress> progress)
    {
        OpenedDevice? opened = _opened;
        _opened = null;
        CudaIpcEndpoint? endpoint = opened?.TakeEndpoint(request);
        shard.Ops.DropRecordings(); // their kernels know the memory of the group before
        Enter(shard.Relay, request, shard.Ops, endpoint, membership, progress);
    }

    private LoadedShard Build(LoadRequest request, Membership membership, Action<LoadProgress> progress, LoadStages stages)
    {
        List<IDisposable> built = [];
        lock (_gate)
            (_building, _buildingIsWanted) = (request, true);
        try
        {
            // 1. The model's facts, and what this rank owns of it.
            RequireIdentity(request.ModelPath, request.ModelIdentity);
            if (request.Draft is not null)
                RequireIdentity(request.Draft.ModelPath, request.Draft.ModelIdentity);
            DeviceBackends.RequireKvDtype(request);
            using ModelCheckpoint checkpoint = ModelCheckpoints.OpenWeights(request.ModelPath);
            ShardPlan plan = new(checkpoint.Config, new Partition([.. request.HeadBoundaries], [.. request.LeafBoundaries], [.. request.VocabBoundaries]), request.Rank);
            stages.Ended("model");

            // 2. Device and group. The group first agrees that it can talk, before minutes go into weights.
            (ITensorBackend ops, CudaIpcEndpoint? endpoint, KeptShard? kept) = OpenDevice(request);
            Keep(ops);
            if (kept is not null)
                Keep(kept); // what is left of it when a load fails; empty after one that succeeds
            if (endpoint is not null)
                Keep(endpoint);
            RelayCommunicator relay = Keep(new RelayCommunicator(request.Rank, request.Degree));
            stages.Ended("device");
            Enter(relay, request, ops, endpoint, membership, progress);
            stages.Ended("joining");

            // 3. Weights, cache, sampler; of the draft model too.
            ModelLimits limits = new(request.MaxModelLen, request.MaxStepTokens);
            DenseTransformer model = Keep(WeightLoader.Load(checkpoint, plan, ops, relay, limits, (done, total) => Advance("packing", done, total), kept?.Weights));
            stages.Ended("weights");
            KvCache cache = Keep(NewCache(request, checkpoint.Config, plan, ops));
            stages.Ended("cache");
            LoadedDraft? draft = request.Draft is null ? null : Keep(LoadedDraft.Load(request, ops, relay, checkpoint.Config.Vocab, (done, total) => Advance("packing draft", done, total), kept?.Draft));
            if (draft is not null)
                stages.Ended("draft");
            return new LoadedShard(request, ops, relay, model, cache, plan, draft);
        }
        catch
        {
            built.Reverse();
            built.ForEach(part => part.Dispose());
            throw;
        }
        finally
        {
            lock (_gate)
                _building = null;
        }

        void Advance(string stage, long done, long total)
        {
            progress(new LoadProgress { Stage = stage, DoneBytes = done, TotalBytes = total });
            if (!_buildingIsWanted)
                membership.ThrowIfRevoked();
        }

        T Keep<T>(T part) where T : IDisposable
        {
            built.Add(part);
            return part;
        }
    }

    /// <exception cref="ModelLoadException">The host has no memory for it.</exception>
    private static KvCache NewCache(LoadRequest request, ModelConfig config, ShardPlan plan, ITensorBackend ops)
    {
        try
        {
            return new KvCache(config, plan, DeviceBackends.Element(request.KvDtype), request.BlockTokens, request.KvBlocks, ops);
        }
        catch (OutOfMemoryException fault)
        {
            throw new ModelLoadException($"the KV cache of {(long)request.KvBlocks * request.BlockTokens} tokens does not fit into this host's memory, of which {HostMemory.FreeBytes() >> 20} MiB are free. Lower --kv-cache or --max-model-len.", fault);
        }
    }

    /// <exception cref="ModelLoadException">This host's files are not those the gateway means.</exception>
    private static void RequireIdentity(string path, string identity)
    {
        if (identity.Length == 0)
            return;
        string found = ModelIdentity.Of(path).Content;
        if (found != identity)
            throw new ModelLoadException($"{path} is another model here: {found}; the gateway has {identity}.");
    }

    /// <summary>What OpenIpc opened for this load, the device of what was loaded, or one opened now; with the weights of what was loaded, where the load may take from them.</summary>
    private (ITensorBackend Ops, CudaIpcEndpoint? Endpoint, KeptShard? Kept) OpenDevice(LoadRequest request)
    {
        OpenedDevice? opened = _opened;
        _opened = null;
        if (_loaded is { } loaded && (opened is null || (opened.IsBorrowed && opened.Epoch == request.Epoch)) && loaded.SharesWeights(request))
        {
            _loaded = null;
            loaded.Ops.DropRecordings();
            KeptShard kept = loaded.GiveUp();
            opened?.Adopt((CudaBackend)kept.Ops);
            (ITensorBackend Ops, CudaIpcEndpoint? Endpoint)? taken = opened?.Take(request);
            return (kept.Ops, taken?.Endpoint, kept);
        }
        if (opened is { IsBorrowed: true })
        {
            opened.Adopt((CudaBackend)_loaded!.GiveUpDevice());
            _loaded = null;
        }
        FreeLoaded();
        (ITensorBackend ops, CudaIpcEndpoint? endpoint) = opened?.Take(request) ?? (DeviceBackends.Open(request), null);
        return (ops, endpoint, null);
    }

    private void Enter(RelayCommunicator relay, LoadRequest request, ITensorBackend ops, CudaIpcEndpoint? endpoint, Membership membership, Action<LoadProgress> progress)
    {
        progress(new LoadProgress { Stage = "joining group" });
        try
        {
            ICommunicator group = Join(request, ops, endpoint, membership.Over);
            relay.Enter(group);
            relay.OverlapRows = request.OverlapRows;
            membership.OnRevoked(group.Revoke);
        }
        catch (OperationCanceledException)
        {
            membership.ThrowIfRevoked();
            throw;
        }
    }

    private ICommunicator Join(LoadRequest request, ITensorBackend ops, CudaIpcEndpoint? endpoint, CancellationToken over)
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(request.CollectiveTimeoutMs);
        if (request.Degree == 1)
            return new SingleRank(request.Epoch, ops);
        if (request.Transport == Transport.CudaIpc && DeviceBackends.Wire(request.Wire) != WireFormat.Float32)
            throw new ModelLoadException($"partial sums are not sent as {request.Wire} over cuda-ipc, whose ranks read each other's memory in place.");
        if (request.Transport == Transport.CudaIpc)
            return endpoint?.Join((CudaBackend)ops, timeout) ?? throw new TransportFailedException($"cuda-ipc: no segment is open for epoch {request.Epoch}");
        ICommunicator transport = JoinOnHost(request, over);
        return DeviceBackends.Kind(request.Device) == DeviceKind.Cpu ? transport : new StagedCommunicator(transport, ops);
    }

    /// <summary>Joins over a transport that moves what lies on the host.</summary>
    private ICommunicator JoinOnHost(LoadRequest request, CancellationToken over)
    {
        TimeSpan timeout = TimeSpan.FromMilliseconds(request.CollectiveTimeoutMs), patience = TimeSpan.FromMilliseconds(request.LoadTimeoutMs);
        WireFormat wire = DeviceBackends.Wire(request.Wire);
        return request.Transport switch
        {
            Transport.Shm => SharedMemoryCommunicator.Join(request.SegmentPrefix, request.Rank, request.Degree, timeout, request.Epoch, patience, wire, over),
            Transport.Ring => RingCommunicator.Join(
                mailboxes, [.. request.RingAddresses], request.Rank, secret.Value, timeout, request.Epoch, [.. request.Hosts], patience, wire, over),
            Transport.Hosted => HostedCommunicator.Join(
                mailboxes, [.. request.RingAddresses], [.. request.Hosts], request.SegmentPrefix, request.Rank, secret.Value, timeout, request.Epoch, patience, wire, over),
            _ => throw new ModelLoadException($"the load names no transport ({request.Transport})."),
        };
    }

    private void LeaveGroup()
    {
        _ready = null;
        _loaded?.Relay.Leave();
    }

    private void FreeOpened()
    {
        _opened?.Dispose();
        _opened = null;
    }

    private void FreeLoaded()
    {
        _ready = null;
        _loaded?.Dispose();
        _loaded = null;
    }
}

/// <summary>The steps of one Run call.</summary>
/// <param name="Run">Takes the next one; null is the result of a step that this rank is not to answer.</param>
/// <param name="Masks">What rows of steps may sample where that follows them.</param>
internal sealed record OpenedLoop(Func<StepPlan, Task<StepResult?>> Run, MaskInbox Masks);
