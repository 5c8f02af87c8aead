using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>A group over the real kernels on emulated devices, one a rank, whose segments are memory of this process.</summary>
internal sealed class EmulatedIpcGroup : IDisposable
{
    private static long s_epochs;
    private readonly HostBuffer[] _segments;
    private readonly HostBuffer[] _elsewhere;

    /// <param name="degree">Ranks.</param>
    /// <param name="timeout">How long an operation waits.</param>
    /// <param name="tuning">Sizes; null = <see cref="Small"/>.</param>
    /// <param name="apart">The last rank sees memory of its own where the others' segments should be.</param>
    public EmulatedIpcGroup(int degree, TimeSpan timeout, IpcTuning? tuning = null, bool apart = false)
    {
        IpcTuning shared = tuning ?? Small;
        _segments = [.. Enumerable.Range(0, degree).Select(_ => new HostBuffer(shared.SegmentBytes))];
        long epoch = Interlocked.Increment(ref s_epochs);
        Backends = [.. Enumerable.Range(0, degree).Select(_ => new CudaBackend(CudaContext.Emulated()))];
        _elsewhere = [.. Enumerable.Range(0, apart ? degree : 0).Select(_ => new HostBuffer(shared.SegmentBytes))];
        Memories = [.. Enumerable.Range(0, degree).Select(rank => new Memory(apart && rank == degree - 1 ? _elsewhere : _segments, rank, shared))];
        Ends = [.. Enumerable.Range(0, degree).Select(rank => new CudaIpcCommunicator(Backends[rank], Memories[rank], rank, degree, timeout, epoch))];
    }

    /// <summary>Two channels of two halves of 128 words: a few hundred elements need several rounds, and some sums go the two-shot way.</summary>
    public static IpcTuning Small { get; } = new(Channels: 2, HalfWords: 128, ChannelBytes: 512, TwoShotBytes: 2048, Threads: 16);

    public CudaBackend[] Backends { get; }

    public IIpcMemory[] Memories { get; }

    public CudaIpcCommunicator[] Ends { get; }

    /// <summary>Runs the body on every rank's thread and fails where one threw.</summary>
    public void Run(Action<CudaIpcCommunicator, CudaBackend> body) => Assert.That(RunAll(body), Is.All.Null);

    /// <summary>Runs the body on every rank's thread; what each threw, by rank.</summary>
    public Exception?[] RunAll(Action<CudaIpcCommunicator, CudaBackend> body) => TestGroup.OnThreads(Ends.Length, rank => body(Ends[rank], Backends[rank]));

    /// <summary>The last round of a channel, while no kernel runs.</summary>
    public static unsafe int Round(IIpcMemory memory, int channel) => *RoundAt(memory, channel);

    /// <summary>Sets it; every rank's must be the same.</summary>
    public static unsafe void SetRound(IIpcMemory memory, int channel, int round) => *RoundAt(memory, channel) = round;

    /// <summary>The state is this process's memory.</summary>
    private static unsafe int* RoundAt(IIpcMemory memory, int channel) => (int*)(memory.State + IpcLayout.RoundsAt) + channel;

    public void Dispose()
    {
        foreach (CudaIpcCommunicator end in Ends)
            end.Dispose();
        foreach (CudaBackend backend in Backends)
            backend.Dispose();
        foreach (HostBuffer segment in _segments.Concat(_elsewhere))
            segment.Dispose();
    }

    /// <summary>One rank's: every address is the process's own.</summary>
    private sealed unsafe class Memory(HostBuffer[] segments, int rank, IpcTuning tuning) : IIpcMemory
    {
        private readonly HostBuffer _state = new(IpcLayout.StateBytes(tuning.Channels));
        private readonly HostBuffer _host = new(IpcLayout.HostBytes);

        public IpcTuning Tuning => tuning;

        public long State => (long)_state.Pointer;

        public byte* Host => _host.Pointer;

        public long HostOnDevice => (long)_host.Pointer;

        public long Segment(int of) => (long)segments[of].Pointer;

        public void Revoke(int abortWord)
        {
            Volatile.Write(ref *(int*)(Host + IpcLayout.RevokeAt), 1);
            foreach (HostBuffer segment in segments)
                Volatile.Write(ref *(int*)(segment.Pointer + IpcLayout.AbortAt), abortWord);
        }

        public void Leave(int leftWord)
        {
            foreach (HostBuffer segment in segments)
                Volatile.Write(ref *(int*)(segment.Pointer + IpcLayout.LeftAt + rank * sizeof(int)), leftWord);
        }

        public void Dispose()
        {
            _state.Dispose();
            _host.Dispose();
        }
    }
}
