using System.Diagnostics;
using System.Globalization;
using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>CUDA IPC between processes, on one GPU that they share or on two.</summary>
[Category("Gpu"), Category("MultiProcess")]
public sealed class GpuProcessTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [TestCase(0, 0)]
    [TestCase(0, 1)]
    public void CudaIpc_TwoProcesses_ProveTheirPathsAndAddTheSameBits(int first, int second)
    {
        RequireGpus(Math.Max(first, second) + 1);
        using ChildRank child = new("cuda-ipc", second.ToString(CultureInfo.InvariantCulture), 1, 2, s_timeout, 1);
        using CudaBackend ops = new(CudaContext.Open(first));
        using CudaIpcEndpoint endpoint = CudaIpcEndpoint.Open(ops, 0, 2, 1);
        using ICommunicator end = Join(endpoint, ops, child, out IReadOnlyList<PeerPath> paths);
        Assert.That(child.ReadLine(), Is.EqualTo("joined"));
        TestContext.Out.WriteLine($"{paths[0].RoundTripMicroseconds:F2} us there and back, {paths[0].BytesPerSecond / 1e9:F1} GB/s, a small sum {end.Report.AllReduceMicroseconds:F2} us");
        Assert.That(AddKnownSums(end, ops), Is.EqualTo("right"));
        Assert.That(child.ReadLine(), Is.EqualTo("right"));
    }

    [Test]
    public void CudaIpc_ProcessKilled_ThePeerIsToldWithinTheDeadline()
    {
        RequireGpus(1);
        TimeSpan timeout = TimeSpan.FromSeconds(5);
        using ChildRank child = new("cuda-ipc", "0", 1, 2, timeout, 1);
        using CudaBackend ops = new(CudaContext.Open(0));
        using CudaIpcEndpoint endpoint = CudaIpcEndpoint.Open(ops, 0, 2, 1);
        using ICommunicator end = Join(endpoint, ops, child, out _);
        AddKnownSums(end, ops);
        for (int i = 0; i < 100; i++)
            end.Barrier();
        child.Kill();
        long start = Stopwatch.GetTimestamp();
        Assert.That(() => BarrierUntilLost(end), Throws.InstanceOf<CollectiveTimeoutException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(timeout + TimeSpan.FromSeconds(5)));
    }

    [Test]
    public void CudaIpc_RevokedWhileAKernelSpins_EndsLongBeforeTheDeadline()
    {
        RequireGpus(1);
        using ChildRank child = new("cuda-ipc", "0", 1, 2, s_timeout, 1);
        using CudaBackend ops = new(CudaContext.Open(0));
        using CudaIpcEndpoint endpoint = CudaIpcEndpoint.Open(ops, 0, 2, 1);
        using ICommunicator end = Join(endpoint, ops, child, out _);
        AddKnownSums(end, ops);
        child.Kill();
        long start = Stopwatch.GetTimestamp();
        Exception?[] faults = TestGroup.OnThreads(2, thread =>
        {
            if (thread == 0)
                BarrierUntilLost(end);
            else
                end.Revoke("from another thread");
        });
        Assert.That(faults[0], Is.InstanceOf<RevokedException>());
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_timeout / 2));
    }

    /// <summary>Sums whose leaves every rank knows, small and large, against the plain recursion: "right", or what is not.</summary>
    internal static string AddKnownSums(ICommunicator end, ITensorBackend ops)
    {
        int[] boundaries = [.. Enumerable.Range(0, end.Degree + 1).Select(rank => rank == end.Degree ? 9 : rank * 5)];
        LeafShare share = new(new Leaves(1, 9), boundaries, end.Rank);
        foreach (int columns in (int[])[1, 576, 4096, 40_001, 1_000_000])
        {
            float[][] leaves = LeafSums.Random(9, columns, seed: columns);
            using DeviceBuffer from = ops.Allocate((long)share.Pieces * columns * sizeof(float)), to = ops.Allocate((long)columns * sizeof(float));
            Tensor pieces = new(from, 0, share.Pieces, columns, columns, ElementType.Float32), y = new(to, 0, 1, columns, columns, ElementType.Float32);
            float[] sum = new float[columns];
            ops.Upload<float>(LeafSums.Pieces(leaves, share), pieces);
            end.SumTree(pieces, share, y);
            ops.Download<float>(y, sum);
            end.ThrowIfLost();
            if (!sum.AsSpan().SequenceEqual(LeafSums.Whole(leaves, 0, 9)))
                return $"a sum of {columns} is wrong at rank {end.Rank}";
        }
        return "right";
    }

    /// <summary>A segment in one line.</summary>
    internal static string Text(IpcSegment segment) =>
        string.Create(CultureInfo.InvariantCulture, $"{Convert.ToHexString(segment.Handle.Span)} {segment.Bytes} {segment.DeviceUuid}");

    /// <summary>The segment of a line.</summary>
    internal static IpcSegment Segment(string line)
    {
        string[] parts = line.Split(' ');
        return new IpcSegment(Convert.FromHexString(parts[0]), long.Parse(parts[1], CultureInfo.InvariantCulture), parts[2]);
    }

    private static ICommunicator Join(CudaIpcEndpoint endpoint, CudaBackend ops, ChildRank child, out IReadOnlyList<PeerPath> paths)
    {
        IpcSegment[] segments = [endpoint.Segment, Segment(child.ReadLine()!)];
        foreach (IpcSegment segment in segments)
            child.WriteLine(Text(segment));
        paths = endpoint.Prove(segments, s_timeout);
        return endpoint.Join(ops, s_timeout);
    }

    private static void RequireGpus(int count)
    {
        GpuSurvey survey = GpuProbe.Find();
        if (survey.Gpus.Count < count)
            Assert.Ignore($"{count} GPUs are needed; this machine has {survey.Gpus.Count} ({survey.Reason})");
    }

    private static void BarrierUntilLost(ICommunicator end)
    {
        for (int i = 0; i < 100_000_000; i++)
            end.Barrier();
    }
}
