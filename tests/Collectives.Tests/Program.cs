using System.Globalization;
using TpServe.Collectives.CudaIpc;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;
using TpServe.Collectives.Tests.CudaIpc;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Collectives.Tests;

/// <summary>The test assembly run as a process: one rank of a group, for the tests that kill one.</summary>
/// <remarks>
/// Arguments: shm PREFIX | ring FOLDER | cuda-ipc ORDINAL, then RANK DEGREE TIMEOUT_MS EPOCH. Prints "started", then "joined", does barriers until the group is lost, prints the exception's
/// type and exits 3. Exits 4 where it could not join.
/// </remarks>
public static class Program
{
    /// <summary>Barriers before a child gives up, in case its parent is gone: far more than a test needs.</summary>
    private const int MostBarriers = 100_000_000;

    public static int Main(string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        int rank = int.Parse(args[2], CultureInfo.InvariantCulture), degree = int.Parse(args[3], CultureInfo.InvariantCulture);
        TimeSpan timeout = TimeSpan.FromMilliseconds(int.Parse(args[4], CultureInfo.InvariantCulture));
        long epoch = long.Parse(args[5], CultureInfo.InvariantCulture);
        try
        {
            if (args[0] == "cuda-ipc")
                return OnGpu(int.Parse(args[1], CultureInfo.InvariantCulture), rank, degree, timeout, epoch);
            using RingHosts? host = args[0] == "ring" ? RingHosts.OfOneRank(args[1], rank, degree) : null;
            Say("started");
            using ICommunicator end = host is not null
                ? host.Join(rank, degree, timeout, epoch)
                : SharedMemoryCommunicator.Join(args[1], rank, degree, timeout, epoch);
            Say("joined");
            return Work(end);
        }
        catch (GroupLostException fault)
        {
            Say(fault.GetType().Name);
            return 4;
        }
    }

    /// <summary>Says its segment, hears every rank's, proves the paths, adds known sums, and does barriers until the group is lost.</summary>
    private static int OnGpu(int ordinal, int rank, int degree, TimeSpan timeout, long epoch)
    {
        using CudaBackend ops = new(CudaContext.Open(ordinal));
        using CudaIpcEndpoint endpoint = CudaIpcEndpoint.Open(ops, rank, degree, epoch);
        Say(GpuProcessTests.Text(endpoint.Segment));
        IpcSegment[] segments = [.. Enumerable.Range(0, degree).Select(_ => GpuProcessTests.Segment(Console.In.ReadLine()!))];
        endpoint.Prove(segments, timeout);
        using ICommunicator end = endpoint.Join(ops, timeout);
        Say("joined");
        Say(GpuProcessTests.AddKnownSums(end, ops));
        return Work(end);
    }

    private static int Work(ICommunicator end)
    {
        try
        {
            for (int i = 0; i < MostBarriers; i++)
                end.Barrier();
            return 0;
        }
        catch (GroupLostException fault)
        {
            Say(fault.GetType().Name);
            return 3;
        }
    }

    private static void Say(string line)
    {
        Console.Out.WriteLine(line);
        Console.Out.Flush();
    }
}
