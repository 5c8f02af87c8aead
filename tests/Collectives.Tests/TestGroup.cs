using TpServe.Collectives.Local;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;

namespace TpServe.Collectives.Tests;

/// <summary>The ranks of one group as threads of the test, over any transport. Every wait is bounded.</summary>
internal sealed class TestGroup : IDisposable
{
    /// <summary>Every transport that the parametrised tests run over; the small blocks force many chunks.</summary>
    public static readonly string[] Transports = ["local", "shm", "shm-small", "ring", "ring-small", "ring-tls", "hosted"];

    /// <summary>By degree: which rank is on which host.</summary>
    private static readonly int[][] s_hosts = [[], [0], [0, 1], [0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1, 2]];

    private static readonly TimeSpan s_joining = TimeSpan.FromSeconds(20); // also of groups whose operations wait for moments
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private static int s_groups;

    private TestGroup(ICommunicator[] ends) => Ends = ends;

    /// <summary>By rank.</summary>
    public ICommunicator[] Ends { get; }

    /// <summary>A group whose operations wait 20 s, for tests in which nothing should be missing.</summary>
    public static TestGroup Create(string transport, int degree) => Create(transport, degree, TimeSpan.FromSeconds(20));

    /// <summary>A group of so many ranks that wait so long.</summary>
    public static TestGroup Create(string transport, int degree, TimeSpan timeout, WireFormat wire = WireFormat.Float32)
    {
        long epoch = RingHosts.NextEpoch();
        if (transport == "local")
            return new TestGroup(LocalGroup.Create(degree, timeout, epoch, wire));
        if (transport is "ring" or "ring-small")
            return Join(degree, rank => RingHosts.Shared.Join(rank, degree, timeout, epoch, transport == "ring" ? RingExchange.DefaultBlockBytes : 4096, s_joining, wire: wire));
        if (transport == "ring-tls")
            return Join(degree, rank => RingHosts.SharedTls.Join(rank, degree, timeout, epoch, RingExchange.DefaultBlockBytes, s_joining, wire: wire));
        string prefix = UniquePrefix();
        if (transport == "hosted")
            return Join(degree, rank => RingHosts.Shared.JoinHosted(s_hosts[degree], prefix, rank, timeout, epoch, s_joining, wire));
        int blockBytes = transport == "shm-small" ? 4096 : SharedMemoryCommunicator.DefaultBlockBytes(degree);
        return Join(degree, rank => SharedMemoryCommunicator.Join(prefix, rank, degree, timeout, epoch, blockBytes, s_joining, default, wire: wire));
    }

    /// <summary>A segment prefix that no other test and no other test process has.</summary>
    public static string UniquePrefix() => $"tpserve-test-{Environment.ProcessId}-{Interlocked.Increment(ref s_groups)}";

    /// <summary>Runs the body on every rank's thread and fails where one threw.</summary>
    public void Run(Action<ICommunicator> body)
    {
        Exception?[] faults = RunAll(body);
        Assert.That(faults, Is.All.Null);
    }

    /// <summary>Runs the body on every rank's thread; what each threw, by rank.</summary>
    public Exception?[] RunAll(Action<ICommunicator> body) => OnThreads(Ends.Length, rank => body(Ends[rank]));

    /// <summary>Runs the body on threads numbered from 0; what each threw.</summary>
    public static Exception?[] OnThreads(int count, Action<int> body)
    {
        Exception?[] faults = new Exception?[count];
        Thread[] threads = new Thread[count];
        for (int i = 0; i < count; i++)
        {
            int number = i;
            threads[i] = new Thread(() =>
            {
                try
                {
                    body(number);
                }
                catch (Exception fault)
                {
                    faults[number] = fault; // the test looks at it
                }
            })
            { IsBackground = true, Name = $"rank {number}" };
            threads[i].Start();
        }
        foreach (Thread thread in threads)
            Assert.That(thread.Join(s_patience), Is.True, $"{thread.Name} hangs");
        return faults;
    }

    /// <summary>Every rank joins on a thread of its own.</summary>
    public static TestGroup Join(int degree, Func<int, ICommunicator> join)
    {
        ICommunicator[] ends = new ICommunicator[degree];
        Exception?[] faults = OnThreads(degree, rank => ends[rank] = join(rank));
        Assert.That(faults, Is.All.Null);
        return new TestGroup(ends);
    }

    public void Dispose()
    {
        foreach (ICommunicator end in Ends)
            end.Dispose();
    }
}
