using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>Checks of what a caller hands to an operation, before anything is sent.</summary>
internal static class Operands
{
    /// <summary>A dense matrix of 4-byte words.</summary>
    public static void CheckWords(Tensor x, string name)
    {
        if (x.Type.SizeBytes() != sizeof(uint))
            throw new ArgumentException($"{name} is {x}; collectives move Float32 and Int32.", name);
        if (!x.IsContiguous)
            throw new ArgumentException($"{name} is {x} with stride {x.RowStride}; collectives need rows without gaps.", name);
    }

    /// <summary>pieces [share.Pieces · n, out], y [n, out].</summary>
    public static void CheckSum(Tensor pieces, LeafShare share, Tensor y, int rank, int degree)
    {
        ArgumentNullException.ThrowIfNull(share);
        CheckWords(y, nameof(y));
        CheckWords(pieces, nameof(pieces));
        if (share.Rank != rank || share.PiecesOfRank.Length != degree)
            throw new ArgumentException($"The share of rank {share.Rank} of {share.PiecesOfRank.Length} was given to rank {rank} of {degree}.", nameof(share));
        if (pieces.Type != ElementType.Float32 || y.Type != ElementType.Float32)
            throw new ArgumentException($"A canonical sum adds Float32; pieces are {pieces}, y is {y}.", nameof(pieces));
        int rows = share.Pieces * y.Rows;
        if (pieces.Rows != rows || (rows > 0 && pieces.Columns != y.Columns))
            throw new ArgumentException($"pieces are {pieces}; {share.Pieces} pieces of y {y} need {rows} x {y.Columns}.", nameof(pieces));
    }

    /// <summary>x [n, this rank's columns], and on a rank that reads y [n, all columns].</summary>
    public static void CheckGather(Tensor x, IReadOnlyList<int> firsts, Tensor y, int rank, int degree, bool reads)
    {
        ArgumentNullException.ThrowIfNull(firsts);
        CheckWords(x, nameof(x));
        if (firsts.Count != degree + 1 || firsts[0] != 0)
            throw new ArgumentException($"{firsts.Count} first columns for {degree} ranks; {degree + 1} from 0 are needed.", nameof(firsts));
        for (int r = 0; r < degree; r++)
            if (firsts[r + 1] < firsts[r])
                throw new ArgumentException($"Rank {r} has the columns {firsts[r]} to {firsts[r + 1]}; they must ascend.", nameof(firsts));
        if (x.Columns != firsts[rank + 1] - firsts[rank])
            throw new ArgumentException($"x is {x}; rank {rank} has {firsts[rank + 1] - firsts[rank]} columns.", nameof(x));
        if (!reads)
            return;
        CheckWords(y, nameof(y));
        if (y.Type != x.Type || y.Rows != x.Rows || y.Columns != firsts[degree])
            throw new ArgumentException($"y is {y}; {x.Rows} x {firsts[degree]} {x.Type} are gathered.", nameof(y));
    }
}
