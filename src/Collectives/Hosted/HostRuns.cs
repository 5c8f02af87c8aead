namespace TpServe.Collectives.Hosted;

/// <summary>Which ranks work together inside a host: runs of consecutive ranks on the same one, each led by its first rank.</summary>
/// <remarks>
/// A run owns consecutive leaves, so its share of the canonical tree is a set of subtrees like a rank's. A host whose ranks are scattered has several runs, which
/// is right to the bit but saves nothing between them: whoever numbers the ranks numbers them host by host.
/// </remarks>
internal sealed class HostRuns
{
    /// <summary>The runs of a group as <paramref name="rank"/> sees them; equal numbers are one host.</summary>
    public HostRuns(IReadOnlyList<int> hosts, int rank)
    {
        int[] leaders = [.. Enumerable.Range(0, hosts.Count).Where(r => r == 0 || hosts[r] != hosts[r - 1])];
        Leaders = leaders;
        Mine = Array.FindLastIndex(leaders, leader => leader <= rank);
        First = leaders[Mine];
        Ranks = EndOf(Mine, hosts.Count) - First;
        Place = rank - First;
        Degree = hosts.Count;
    }

    /// <summary>First rank of each run, ascending.</summary>
    public int[] Leaders { get; }

    /// <summary>Ranks of the group.</summary>
    public int Degree { get; }

    /// <summary>Number of this rank's run.</summary>
    public int Mine { get; }

    /// <summary>First rank of this rank's run.</summary>
    public int First { get; }

    /// <summary>Ranks of this rank's run.</summary>
    public int Ranks { get; }

    /// <summary>This rank's place in its run; 0 leads.</summary>
    public int Place { get; }

    /// <summary>True where this rank speaks for its run.</summary>
    public bool Leads => Place == 0;

    /// <summary>One past the last rank of a run.</summary>
    public int EndOf(int run) => EndOf(run, Degree);

    /// <summary>The run of a rank.</summary>
    public int RunOf(int rank)
    {
        int run = Leaders.Length - 1;
        while (Leaders[run] > rank)
            run--;
        return run;
    }

    private int EndOf(int run, int degree) => run + 1 < Leaders.Length ? Leaders[run + 1] : degree;
}
