using System.Diagnostics;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Collectives.CudaIpc;

/// <summary>A rank's segment on its GPU and the peers' segments opened by the driver.</summary>
/// <remarks>
/// The segment is freed once every peer has said that it left, or after a moment: a peer that never opened it, or died, says nothing.
/// Threads   as <see cref="IIpcMemory"/>.
/// Errors    <see cref="CudaDriverException"/>.
/// </remarks>
internal sealed unsafe class CudaIpcMemory : IIpcMemory
{
    private static readonly TimeSpan s_leaving = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(1);

    private readonly Lock _gate = new();
    private readonly GpuSharing _gpu;
    private readonly int _rank;
    private readonly DriverMemory _segment;
    private readonly DriverMemory _state;
    private readonly DriverMemory _host;
    private readonly DriverMemory?[] _peers;
    private bool _disposed;

    /// <summary>Allocates this rank's part.</summary>
    /// <param name="gpu">This rank's; disposed with this.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="degree">Ranks.</param>
    /// <param name="tuning">Sizes.</param>
    public CudaIpcMemory(GpuSharing gpu, int rank, int degree, IpcTuning tuning)
    {
        _gpu = gpu;
        _rank = rank;
        _peers = new DriverMemory?[degree];
        Tuning = tuning;
        List<IDisposable> made = [];
        try
        {
            made.Add(_segment = gpu.AllocateDevice(tuning.SegmentBytes));
            made.Add(_state = gpu.AllocateDevice(IpcLayout.StateBytes(tuning.Channels)));
            made.Add(_host = gpu.AllocateMapped(IpcLayout.HostBytes));
            HostOnDevice = gpu.AddressOnDevice(_host);
            Name = gpu.Export(_segment);
        }
        catch
        {
            made.ForEach(part => part.Dispose());
            throw;
        }
    }

    /// <summary>What peers open the segment by.</summary>
    public IpcMemoryName Name { get; }

    /// <summary>This rank's GPU.</summary>
    public GpuSharing Gpu => _gpu;

    /// <inheritdoc/>
    public IpcTuning Tuning { get; }

    /// <inheritdoc/>
    public long State => _state.Address;

    /// <inheritdoc/>
    public byte* Host => (byte*)_host.Address; // mapped memory of HostBytes bytes, alive until Dispose

    /// <inheritdoc/>
    public long HostOnDevice { get; }

    /// <inheritdoc/>
    public long Segment(int rank) => rank == _rank ? _segment.Address : (_peers[rank] ?? throw new InvalidOperationException($"The segment of rank {rank} is not open.")).Address;

    /// <summary>Opens a peer's segment.</summary>
    public void Open(int peer, IpcMemoryName name) => _peers[peer] = _gpu.Open(name);

    /// <inheritdoc/>
    public void Revoke(int abortWord)
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            Volatile.Write(ref *(int*)(Host + IpcLayout.RevokeAt), 1);
            WriteEverywhere(abortWord, IpcLayout.AbortAt);
        }
    }

    /// <inheritdoc/>
    public void Leave(int leftWord)
    {
        lock (_gate)
        {
            WriteEverywhere(leftWord, IpcLayout.LeftAt + _rank * sizeof(int));
            int opened = _peers.Count(peer => peer is not null);
            foreach (DriverMemory? peer in _peers)
                peer?.Dispose();
            if (opened > 0)
                WaitUntilPeersLeft();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            _gpu.Dispose();
            foreach (DriverMemory? peer in _peers)
                peer?.Dispose();
            _segment.Dispose();
            _state.Dispose();
            _host.Dispose();
        }
    }

    /// <summary>A word at the same place of every segment that is open, by copies beside the rank's stream, which a kernel may hold up.</summary>
    private void WriteEverywhere(int word, int at)
    {
        *(int*)(Host + IpcLayout.OutgoingAt) = word;
        for (int rank = 0; rank < _peers.Length; rank++)
            if (rank == _rank || _peers[rank] is { IsClosed: false })
                _gpu.CopyToDevice(Segment(rank) + at, (nint)Host + IpcLayout.OutgoingAt, sizeof(int));
        _gpu.WaitForCopies();
    }

    private void WaitUntilPeersLeft()
    {
        int* words = (int*)(Host + IpcLayout.OutgoingAt) + 1; // MostRanks words more lie inside the block
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start) < s_leaving)
        {
            _gpu.CopyToHost((nint)words, _segment.Address + IpcLayout.LeftAt, _peers.Length * sizeof(int));
            _gpu.WaitForCopies();
            int left = 0;
            for (int rank = 0; rank < _peers.Length; rank++)
                left += words[rank] != 0 ? 1 : 0;
            if (left == _peers.Length) // this rank said so too
                return;
            Thread.Sleep(s_poll);
        }
    }
}
