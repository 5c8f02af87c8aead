using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Sharding;

namespace TpServe.Collectives.CudaIpc;

/// <summary>The first thing a group does over CUDA IPC: known data goes every way and must arrive as it was, then every pair's path is timed.</summary>
/// <remarks>
/// 1. Patterns of several sizes, each over both halves. 2. A sum of known parts, timed. 3. Flags there and back, pair by pair. 4. Reads of each peer's data.
/// Threads  the ranks' threads, all at once.
/// </remarks>
internal static class IpcProof
{
    private const int PatternRounds = 3; // two halves, and the first one again
    private const int SumFloats = 576;   // the hidden size of the embedded model: one decode step's sum
    private const int Batches = 5;
    private const int SumsPerBatch = 20;
    private const int PingsPerBatch = 65;
    private const int ReadsPerBatch = 8;
    private const int ReadGroups = 128;

    /// <summary>Proves and measures; the cost of each peer's path.</summary>
    /// <exception cref="TransportFailedException">Something arrived that was not sent.</exception>
    /// <exception cref="GroupLostException">A peer did not come, or gave up.</exception>
    public static PeerPath[] Prove(CudaIpcCommunicator group, CudaBackend ops, IIpcMemory memory)
    {
        // The largest pattern goes through every channel and both halves in one operation, and does not divide evenly.
        IpcTuning tuning = memory.Tuning;
        foreach (int words in (int[])[1, 1021, tuning.Channels * tuning.HalfWords + 1021])
            for (int round = 0; round < PatternRounds; round++)
                SendPattern(group, ops, words, round);
        group.Report = group.Report with { AllReduceMicroseconds = TimeSum(group, ops) };

        PeerPath[] paths = new PeerPath[group.Degree];
        IpcPathKernels kernels = new(ops.Queue);
        double[] roundTrips = TimePings(group, ops, memory, kernels);
        for (int step = 1; step < group.Degree; step++)
        {
            int peer = (group.Rank + step) % group.Degree;
            paths[peer] = new PeerPath(peer, roundTrips[peer], TimeReads(group, ops, memory, kernels, peer));
        }
        group.Barrier();
        group.TakeElapsed();
        return [.. paths.Where((_, peer) => peer != group.Rank)];
    }

    private static void SendPattern(CudaIpcCommunicator group, CudaBackend ops, int words, int round)
    {
        int[] firsts = [.. Enumerable.Range(0, group.Degree + 1).Select(rank => rank * words)], all = new int[firsts[^1]];
        using DeviceBuffer sent = ops.Allocate((long)words * sizeof(int)), received = ops.Allocate((long)all.Length * sizeof(int));
        Tensor x = new(sent, 0, 1, words, words, ElementType.Int32), y = new(received, 0, 1, all.Length, all.Length, ElementType.Int32);
        int[] mine = new int[words];
        for (int i = 0; i < words; i++)
            mine[i] = Pattern(group.Epoch, round, group.Rank, i);
        ops.Upload<int>(mine, x);
        group.AllGather(x, firsts, y);
        ops.Download<int>(y, all);
        group.ThrowIfLost();
        for (int i = 0; i < all.Length; i++)
            if (all[i] != Pattern(group.Epoch, round, i / words, i % words))
                throw new TransportFailedException($"word {i % words} of a pattern of {words} arrived at rank {group.Rank} from rank {i / words} as {all[i]:x8}.");
    }

    private static int Pattern(long epoch, int round, int rank, int word) => (int)Fingerprint.Empty.With((int)epoch).With(round).With(rank).With(word);

    /// <summary>Microseconds of one of many small sums, as the device takes them: without the host's launch.</summary>
    private static double TimeSum(CudaIpcCommunicator group, CudaBackend ops)
    {
        int degree = group.Degree;
        LeafShare share = new(new Leaves(1, degree), [.. Enumerable.Range(0, degree + 1)], group.Rank);
        using DeviceBuffer part = ops.Allocate(SumFloats * sizeof(float)), whole = ops.Allocate(SumFloats * sizeof(float));
        Tensor pieces = new(part, 0, 1, SumFloats, SumFloats, ElementType.Float32), y = new(whole, 0, 1, SumFloats, SumFloats, ElementType.Float32);
        float[] values = new float[SumFloats];
        Array.Fill(values, group.Rank + 1);
        ops.Upload<float>(values, pieces);

        double[] microseconds = new double[Batches];
        int sums = ops.Queue.IsEmulated ? 1 : SumsPerBatch;
        for (int batch = 0; batch < Batches; batch++)
        {
            group.Barrier();
            group.SumTree(pieces, share, y); // the ranks' launches are not at the same time; this one waits for the last
            ops.Queue.Synchronize();
            group.TakeElapsed();
            for (int i = 0; i < sums; i++)
                group.SumTree(pieces, share, y);
            ops.Queue.Synchronize();
            microseconds[batch] = group.TakeElapsed().TotalMicroseconds / sums;
        }
        ops.Download<float>(y, values);
        group.ThrowIfLost();
        if (values.AsSpan().ContainsAnyExcept(degree * (degree + 1) / 2)) // exact: whole numbers far below 2^24
            throw new TransportFailedException($"a sum of known parts came out wrong at rank {group.Rank}.");
        return Median(microseconds);
    }

    /// <summary>Every rank goes through the pairs in the same order and takes part in its own.</summary>
    private static unsafe double[] TimePings(CudaIpcCommunicator group, CudaBackend ops, IIpcMemory memory, IpcPathKernels kernels)
    {
        double[] microseconds = new double[group.Degree];
        double[] batches = new double[Batches];
        int pings = ops.Queue.IsEmulated ? 3 : PingsPerBatch;
        for (int low = 0; low < group.Degree; low++)
            for (int high = low + 1; high < group.Degree; high++)
            {
                if (group.Rank != low && group.Rank != high)
                    continue;
                int peer = group.Rank == low ? high : low;
                for (int batch = 0; batch < Batches; batch++)
                {
                    kernels.Ping(group.View, peer, first: 1 + batch * pings, pings);
                    ops.Queue.Synchronize();
                    group.ThrowIfLost();
                    batches[batch] = Volatile.Read(ref *(long*)(memory.Host + IpcLayout.MeasuredAt)) / 1e3 / (pings - 1); // a word of the block that the memory owns
                }
                microseconds[peer] = Median(batches);
            }
        return microseconds;
    }

    private static double TimeReads(CudaIpcCommunicator group, CudaBackend ops, IIpcMemory memory, IpcPathKernels kernels, int peer)
    {
        IpcTuning tuning = memory.Tuning;
        int dataAt = IpcLayout.DataAt(tuning.Channels), reads = ops.Queue.IsEmulated ? 1 : ReadsPerBatch;
        long from = memory.Segment(peer) + dataAt, bytes = tuning.SegmentBytes - dataAt;
        double[] rates = new double[Batches];
        for (int batch = 0; batch < Batches; batch++)
        {
            ops.Queue.Synchronize();
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < reads; i++)
                kernels.Read(ops.Queue.IsEmulated ? 1 : ReadGroups, tuning.Threads, group.View, from, bytes);
            ops.Queue.Synchronize();
            rates[batch] = bytes * reads / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        return Median(rates);
    }

    private static double Median(double[] values) => values.Order().ElementAt(values.Length / 2);
}
