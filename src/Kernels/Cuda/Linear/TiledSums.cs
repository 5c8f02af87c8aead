using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>What the two tiled kernels share: which tile a group computes, a warp's stack of partial sums, and where its pieces go.</summary>
/// <remarks>
/// A group computes 128 outputs of 128 rows; its 8 warps 64 outputs of 32 rows each, two by four. The top of a warp's stack is registers, lower levels
/// lie in device memory, [group][level][register][thread], where only the thread that wrote a word reads it: no synchronisation.
/// </remarks>
internal static class TiledSums
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 256;

    /// <summary>Output tiles of a group.</summary>
    public const int OutputTiles = 8;

    /// <summary>Row tiles of a group.</summary>
    public const int RowTiles = 16;

    /// <summary>Output tiles of a warp, and row tiles.</summary>
    public const int WarpTiles = 4;

    /// <summary>Words of a level of a group's stacks.</summary>
    public const int LevelWords = WarpSums.Registers * GroupSize;

    /// <summary>Tiles of 128 rows.</summary>
    public static int RowGroups(int rows) => (rows + (RowTiles * PackedActivations.TileRows) - 1) / (RowTiles * PackedActivations.TileRows);

    /// <summary>Tiles of 128 outputs.</summary>
    public static int OutputGroups(int tiles) => (tiles + OutputTiles - 1) / OutputTiles;

    /// <summary>Where this thread's word of register 0 of a level lies.</summary>
    public static long At(int levels, int level) => ((((long)Grid.IdxX * levels) + level) * LevelWords) + Group.IdxX;

    /// <summary>Writes a warp's pieces: the top of its stack is the last, the others lie below it.</summary>
    public static void WritePieces(
        ArrayView<float> y, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ProductShape shape, int firstTile, int firstRowTile, int warp,
        ArrayView<float> stacks, int levels, int depth, WarpSums top)
    {
        int warpTile = firstTile + (warp / 4 * WarpTiles), warpRow = (firstRowTile + (warp % 4 * WarpTiles)) * PackedActivations.TileRows;
        Write(y, w0, w1, w2, shape, warpTile, warpRow, depth - 1, top);
        for (int piece = 0; piece < depth - 1; piece++)
            Write(y, w0, w1, w2, shape, warpTile, warpRow, piece, WarpSums.Load(stacks, At(levels, piece), GroupSize));
    }

    /// <summary>Writes one of a warp's sums, a piece of its outputs and rows, where they exist.</summary>
    private static void Write(
        ArrayView<float> y, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ProductShape shape, int firstTile, int firstRow, int piece, WarpSums sums)
    {
        Write(y, w0, w1, w2, shape, firstTile, firstRow, piece, sums.A);
        Write(y, w0, w1, w2, shape, firstTile + 1, firstRow, piece, sums.B);
        Write(y, w0, w1, w2, shape, firstTile + 2, firstRow, piece, sums.C);
        Write(y, w0, w1, w2, shape, firstTile + 3, firstRow, piece, sums.D);
    }

    private static void Write(
        ArrayView<float> y, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ProductShape shape, int tile, int firstRow, int piece, OutputSums sums)
    {
        if (tile >= shape.Tiles)
            return;
        PlacedTile placed = ProductShape.Place(shape, tile, w0, w1, w2, 0);
        Write(y, placed, shape, firstRow, piece, sums.A);
        Write(y, placed, shape, firstRow + 8, piece, sums.B);
        Write(y, placed, shape, firstRow + 16, piece, sums.C);
        Write(y, placed, shape, firstRow + 24, piece, sums.D);
    }

    private static void Write(ArrayView<float> y, PlacedTile tile, ProductShape shape, int firstRow, int piece, Float4 sum)
    {
        int lane = Group.IdxX % 32, output = lane / 4, row = firstRow + (lane % 4 * 2);
        long at = ((((long)piece * shape.Rows) + row) * shape.StrideY) + tile.Column + output;
        bool lower = output < tile.Outputs, upper = output + 8 < tile.Outputs;
        if (row < shape.Rows)
        {
            if (lower)
                y[at] = sum.A;
            if (upper)
                y[at + 8] = sum.C;
        }
        if (row + 1 < shape.Rows)
        {
            if (lower)
                y[at + shape.StrideY] = sum.B;
            if (upper)
                y[at + shape.StrideY + 8] = sum.D;
        }
    }
}
