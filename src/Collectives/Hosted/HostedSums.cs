using TpServe.Sharding;

namespace TpServe.Collectives.Hosted;

/// <summary>A canonical sum in two levels: the subtrees that lie inside this rank's run, and the tree that the leaders finish from all runs' subtrees.</summary>
/// <remarks>
/// 1. The merges over all ranks' pieces name every subtree, as a range of pieces. 2. A run's pieces fall into the maximal subtrees inside its range: these cross the
/// network. 3. Inside one the merges are the whole tree's, without those after its last piece that reach beyond it; these follow the subtree as a whole.
/// Numerics the same merges in the same order as without hosts: only who does them differs.
/// </remarks>
internal sealed class HostedSums
{
    /// <summary>The two levels of a share's sum.</summary>
    public HostedSums(LeafShare share, HostRuns runs)
    {
        SumSchedule whole = SumSchedule.Of(share);
        List<int>[] ends = EndsOfSubtrees(whole.Merges);
        int[] subtreesOfRun = new int[runs.Leaders.Length];
        List<int> across = [];
        List<Subtree> mine = [];
        int myFirst = whole.FirstPieceOfRank[share.Rank], myEnd = myFirst + whole.PiecesOfRank[share.Rank];
        for (int run = 0; run < subtreesOfRun.Length; run++)
        {
            int last = runs.EndOf(run) - 1;
            int end = whole.FirstPieceOfRank[last] + whole.PiecesOfRank[last];
            for (int first = whole.FirstPieceOfRank[runs.Leaders[run]]; first < end; subtreesOfRun[run]++)
            {
                int next = ends[first].Last(e => e <= end);
                int[] merges = whole.Merges[first..next];
                int beyond = merges.Sum() - (merges.Length - 1);
                merges[^1] -= beyond;
                across.Add(beyond);
                if (run == runs.Mine)
                    mine.Add(new Subtree(
                        SumSchedule.Of([.. Enumerable.Range(runs.First, runs.Ranks).Select(rank => Overlap(whole, rank, first, next))], merges),
                        Math.Clamp(first - myFirst, 0, myEnd - myFirst), Overlap(whole, share.Rank, first, next)));
                first = next;
            }
        }
        Mine = [.. mine];
        Across = SumSchedule.Of(subtreesOfRun, [.. across]);
    }

    /// <summary>The subtrees of this rank's run, in leaf order.</summary>
    public IReadOnlyList<Subtree> Mine { get; }

    /// <summary>How the leaders finish the tree.</summary>
    public SumSchedule Across { get; }

    /// <summary>For each piece the ends of the subtrees that begin with it, ascending; the piece itself is the first.</summary>
    private static List<int>[] EndsOfSubtrees(int[] merges)
    {
        List<int>[] ends = new List<int>[merges.Length];
        Stack<int> firsts = new();
        for (int piece = 0; piece < merges.Length; piece++)
        {
            ends[piece] = [piece + 1];
            firsts.Push(piece);
            for (int merge = 0; merge < merges[piece]; merge++)
            {
                firsts.Pop();
                ends[firsts.Peek()].Add(piece + 1);
            }
        }
        return ends;
    }

    private static int Overlap(SumSchedule whole, int rank, int first, int end) =>
        Math.Max(0, Math.Min(end, whole.FirstPieceOfRank[rank] + whole.PiecesOfRank[rank]) - Math.Max(first, whole.FirstPieceOfRank[rank]));

    /// <summary>One subtree of a run.</summary>
    /// <param name="Schedule">Its pieces by place in the run, and their merges.</param>
    /// <param name="First">The first of this rank's pieces that belongs to it.</param>
    /// <param name="Pieces">How many of this rank's pieces belong to it.</param>
    internal sealed record Subtree(SumSchedule Schedule, int First, int Pieces)
    {
        /// <summary>True where one rank has computed all of it.</summary>
        public bool IsPiece => Schedule.Pieces == 1;

        /// <summary>True where that is the leader, so that nobody has to hand it anything.</summary>
        public bool IsLeaders => IsPiece && Schedule.PiecesOfRank[0] == 1;
    }
}
