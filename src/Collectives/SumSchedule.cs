using System.Runtime.CompilerServices;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>A sum as the ranks exchange it: how many pieces each contributes, and the merges that follow each piece.</summary>
internal sealed class SumSchedule
{
    private static readonly ConditionalWeakTable<LeafShare, SumSchedule> s_known = [];

    private SumSchedule(int[] piecesOfRank, int[] merges)
    {
        PiecesOfRank = piecesOfRank;
        Merges = merges;
        Pieces = merges.Length;
        MostPieces = piecesOfRank.Max();
        FirstPieceOfRank = new int[piecesOfRank.Length];
        for (int r = 1; r < piecesOfRank.Length; r++)
            FirstPieceOfRank[r] = FirstPieceOfRank[r - 1] + piecesOfRank[r - 1];
        Fingerprint = Collectives.Fingerprint.Empty.With(piecesOfRank).With(merges);

        int depth = 0;
        for (int piece = 0; piece < merges.Length; piece++)
        {
            Depth = Math.Max(Depth, ++depth);
            depth -= merges[piece];
        }
        if (depth != 1 || FirstPieceOfRank[^1] + piecesOfRank[^1] != Pieces)
            throw new ArgumentException($"{Pieces} pieces and their merges leave {depth} sums instead of one.");
    }

    /// <summary>Pieces of each rank, in leaf order.</summary>
    public int[] PiecesOfRank { get; }

    /// <summary>Number, among all pieces, of each rank's first one.</summary>
    public int[] FirstPieceOfRank { get; }

    /// <summary>Pieces of all ranks.</summary>
    public int Pieces { get; }

    /// <summary>Pieces of the rank that has most.</summary>
    public int MostPieces { get; }

    /// <summary>For each piece in leaf order, the merges of the two topmost partial sums that follow it.</summary>
    public int[] Merges { get; }

    /// <summary>Most partial sums alive at once.</summary>
    public int Depth { get; }

    /// <summary>Equal on two ranks only where they would add the same things in the same order.</summary>
    public ulong Fingerprint { get; }

    /// <summary>The schedule of a canonical sum; computed once for each share.</summary>
    public static SumSchedule Of(LeafShare share) =>
        s_known.GetValue(share, static s => new SumSchedule(s.PiecesOfRank, s.FinishingMerges));

    /// <summary>A schedule of its own: pieces of each rank, and for each piece in order the merges that follow it.</summary>
    public static SumSchedule Of(int[] piecesOfRank, int[] merges) => new(piecesOfRank, merges);

    /// <summary>One piece a rank, added one after the other: for sums whose order leaves no trace.</summary>
    public static SumSchedule OnePieceEach(int degree)
    {
        int[] pieces = new int[degree], merges = new int[degree];
        Array.Fill(pieces, 1);
        Array.Fill(merges, 1, 1, degree - 1);
        return new SumSchedule(pieces, merges);
    }
}
