using TpServe.Ptx.Memory;
using TpServe.Ptx.Ops;

namespace TpServe.Ptx.Machine;

/// <summary>Launches that run at the same time, each on a device of its own, and what they share: memory, its order, the budget.</summary>
internal sealed class LaunchGroup(long budget, bool findsRaces, bool findsWarpRaces)
{
    public List<Launch> Launches { get; } = [];
    public long Budget => budget;

    /// <summary>Instructions executed by warps so far.</summary>
    public long Executed { get; set; }

    /// <summary>What fences have published with strong writes, by place.</summary>
    public Dictionary<(Region, int), Published> Published { get; } = [];

    public void Add(Launch launch)
    {
        if (Launches.Count > 0)
        {
            Launch last = Launches[^1];
            launch.FirstBlock = last.FirstBlock + last.BlockCount;
            launch.FirstSite = last.FirstSite + last.Program.Code.Length;
        }
        Launches.Add(launch);
    }

    /// <summary>The instruction of a site's number.</summary>
    public PtxOp OpAt(int site)
    {
        Launch launch = Launches.Last(candidate => candidate.FirstSite <= site);
        return launch.Program.Code[site - launch.FirstSite];
    }

    /// <summary>Starts to look for races in a region, anew for these launches.</summary>
    public void Watch(Region region) => region.Shadow = findsRaces && region.Data.Length > 0 ? new ShadowMap(region.Data.Length, findsWarpRaces) : null;

    public PtxException OverBudget() => new(PtxFault.Budget, $"{Names}: more than {budget} instructions of warps.{Places()}");

    public PtxException Deadlock() => new(PtxFault.Deadlock, $"{Names}: every warp waits.{Places()}");

    private string Names => string.Join(", ", Launches.Select(launch => launch.KernelName).Distinct());

    private string Places() => string.Concat(
        Launches.SelectMany(launch => launch.Resident).SelectMany(block => block.Warps).SelectMany(warp => warp.Places()).Take(64).Select(place => "\n  " + place));
}
