using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Collectives.CudaIpc;

/// <summary>A rank on its way into a group over CUDA IPC: it opens its segment, proves the paths to its peers' and then joins.</summary>
/// <remarks>
/// Threads  the rank's thread; <see cref="Revoke"/> from any.
/// Errors   <see cref="TransportFailedException"/> with a reason for people wherever the path is not to be had.
/// </remarks>
public sealed class CudaIpcEndpoint : IDisposable
{
    private readonly Lock _gate = new();
    private readonly int _rank;
    private readonly int _degree;
    private readonly CudaIpcMemory _memory;
    private CudaIpcCommunicator? _group;
    private CudaBackend _ops;
    private string? _revoked;
    private bool _proved;
    private bool _over;

    private CudaIpcEndpoint(CudaBackend ops, CudaIpcMemory memory, int rank, int degree, long epoch)
    {
        _ops = ops;
        _memory = memory;
        _rank = rank;
        _degree = degree;
        Epoch = epoch;
        Segment = new IpcSegment(memory.Name.ToArray(), memory.Tuning.SegmentBytes, memory.Gpu.DeviceUuid);
    }

    /// <summary>The life of the group.</summary>
    public long Epoch { get; }

    /// <summary>This rank's segment, for the peers.</summary>
    public IpcSegment Segment { get; }

    /// <summary>Allocates the segment on the backend's GPU.</summary>
    /// <exception cref="TransportFailedException">The backend is no GPU, or its driver refuses.</exception>
    public static CudaIpcEndpoint Open(CudaBackend ops, int rank, int degree, long epoch) => Open(ops, rank, degree, epoch, IpcTuning.Gpu);

    /// <summary>As above, with other sizes, the same on every rank: for measuring them.</summary>
    internal static CudaIpcEndpoint Open(CudaBackend ops, int rank, int degree, long epoch, IpcTuning tuning)
    {
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, degree);
        if (degree > IpcLayout.MostRanks)
            throw new TransportFailedException($"cuda-ipc connects {IpcLayout.MostRanks} ranks at most, not {degree}");
        return Refusing("its segment", () =>
        {
            GpuSharing gpu = GpuSharing.Of(ops) ?? throw new TransportFailedException("an emulated device shares no memory with other processes");
            try
            {
                return new CudaIpcEndpoint(ops, new CudaIpcMemory(gpu, rank, degree, tuning), rank, degree, epoch);
            }
            catch
            {
                gpu.Dispose();
                throw;
            }
        });
    }

    /// <summary>Opens the peers' segments, sends known data every way and times every path. All ranks at about the same time.</summary>
    /// <param name="segments">Every rank's, by rank.</param>
    /// <param name="timeout">How long each wait for a peer may take.</param>
    /// <exception cref="TransportFailedException">A segment cannot be opened, or data arrived different.</exception>
    /// <exception cref="GroupLostException">A peer did not come, or gave up.</exception>
    public IReadOnlyList<PeerPath> Prove(IReadOnlyList<IpcSegment> segments, TimeSpan timeout)
    {
        ArgumentNullException.ThrowIfNull(segments);
        if (_group is not null)
            throw new InvalidOperationException("The paths were proved already.");
        if (segments.Count != _degree)
            throw new ArgumentException($"{segments.Count} segments for {_degree} ranks.", nameof(segments));
        try
        {
            for (int peer = 0; peer < _degree; peer++)
                if (peer != _rank)
                    OpenPeer(peer, segments[peer]);
            lock (_gate)
            {
                _group = new CudaIpcCommunicator(_ops, _memory, _rank, _degree, timeout, Epoch);
                if (_revoked is not null)
                    _group.Revoke(_revoked);
            }
            IReadOnlyList<PeerPath> paths = IpcProof.Prove(_group, _ops, _memory);
            _proved = true;
            return paths;
        }
        catch (Exception)
        {
            Revoke("a path could not be proved"); // the peers that are open here wait in vain
            throw;
        }
    }

    /// <summary>The group, once proved; it is the caller's now, and with it the segments. The endpoint is of no use any more.</summary>
    /// <param name="ops">The backend it is to be enqueued on: the one it was opened with, or another in the same context.</param>
    /// <param name="timeout">How long an operation waits for the peers.</param>
    /// <exception cref="TransportFailedException">The paths were not proved.</exception>
    public ICommunicator Join(CudaBackend ops, TimeSpan timeout)
    {
        lock (_gate)
        {
            if (!_proved)
                throw new TransportFailedException("cuda-ipc: the paths of this epoch were not proved");
            CudaIpcCommunicator group = _group!;
            if (!ReferenceEquals(ops, _ops))
            {
                group.Retire();
                group = new CudaIpcCommunicator(ops, _memory, _rank, _degree, timeout, Epoch) { Report = group.Report };
                _ops = ops;
            }
            group.Timeout = timeout;
            _proved = false;
            _over = true;
            _group = group;
            return group;
        }
    }

    /// <summary>Ends the epoch for this rank and every peer whose segment is open.</summary>
    public void Revoke(string reason)
    {
        lock (_gate)
        {
            _revoked ??= reason;
            if (_group is not null)
                _group.Revoke(reason);
            else if (!_over)
                _memory.Revoke(IpcLayout.Abort(IpcFault.Revoked, _rank, _rank));
        }
    }

    /// <summary>Frees the segment. After <see cref="Join"/> that is the group's to do, and this does nothing.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_over)
                return;
            _over = true;
            if (_group is null)
            {
                _memory.Leave(IpcLayout.Abort(IpcFault.Left, _rank, _rank));
                _memory.Dispose();
            }
            else
            {
                _group.Dispose();
            }
        }
    }

    private void OpenPeer(int peer, IpcSegment segment)
    {
        if (segment.Bytes != Segment.Bytes)
            throw new TransportFailedException($"rank {peer}'s segment has {segment.Bytes} bytes, this rank's {Segment.Bytes}: another release");
        Refusing($"rank {peer}'s segment on {segment.DeviceUuid}", () =>
        {
            bool canRead = _memory.Gpu.CanRead(segment.DeviceUuid)
                ?? throw new TransportFailedException($"rank {peer}'s GPU {segment.DeviceUuid} is not visible in this process: every worker must see all GPUs");
            if (!canRead)
                throw new TransportFailedException($"the GPU {Segment.DeviceUuid} cannot read the memory of rank {peer}'s, {segment.DeviceUuid}");
            _memory.Open(peer, new IpcMemoryName(segment.Handle.Span));
            return true;
        });
    }

    private static T Refusing<T>(string what, Func<T> body)
    {
        try
        {
            return body();
        }
        catch (Exception fault) when (fault is CudaDriverException or DllNotFoundException or EntryPointNotFoundException or ArgumentException)
        {
            throw new TransportFailedException($"{what}: {fault.Message}");
        }
    }
}

/// <summary>A rank's segment as its peers are told of it.</summary>
/// <param name="Handle">What the driver opens it by.</param>
/// <param name="Bytes">Its size, which is the same on every rank.</param>
/// <param name="DeviceUuid">Of the GPU it lies on.</param>
public sealed record IpcSegment(ReadOnlyMemory<byte> Handle, long Bytes, string DeviceUuid);

/// <summary>What the path to a peer cost when it was proved.</summary>
/// <param name="Peer">The rank at the other end.</param>
/// <param name="RoundTripMicroseconds">Median of a flag there and back.</param>
/// <param name="BytesPerSecond">Median bandwidth of reading its memory, while the other ranks read too.</param>
public readonly record struct PeerPath(int Peer, double RoundTripMicroseconds, double BytesPerSecond);
