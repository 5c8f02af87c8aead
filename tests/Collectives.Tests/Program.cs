using System.Globalization;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;

namespace TpServe.Collectives.Tests;

/// <summary>The test assembly run as a process: one rank of a group, for the tests that kill one.</summary>
/// <remarks>
/// Arguments: shm PREFIX | ring FOLDER, then RANK DEGREE TIMEOUT_MS EPOCH. Prints "started", then "joined", does barriers until the group is lost, prints the exception's
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
