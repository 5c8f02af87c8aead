using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Segments' sums of one tile of 16 outputs, computed by several warps and added in canonical order by the group.</summary>
/// <remarks>
/// Shared memory holds a slot a segment: [row tile][accumulator register][lane] words, so that a warp writes and reads 32 neighbouring words. An element
/// (one output of one row) is added up by one thread, whose stack lies beside the slots.
/// </remarks>
internal static class SegmentSums
{
    /// <summary>Elements of a tile of 16 outputs and 8 rows.</summary>
    public const int TileElements = 128;

    /// <summary>Levels of an element's stack in memory: its top is a register.</summary>
    public const int StackLevels = LinearPlan.MostSums - 1;

    /// <summary>A lane's accumulator of a segment into its slot.</summary>
    private static void Put(ArrayView<float> slots, int slot, int tiles, int tile, int lane, Float4 sum)
    {
        int at = (((slot * tiles) + tile) * TileElements) + lane;
        slots[at] = sum.A;
        slots[at + 32] = sum.B;
        slots[at + 64] = sum.C;
        slots[at + 96] = sum.D;
    }

    /// <summary>A lane's accumulators of a segment, one a row tile, into its slot.</summary>
    public static void PutAll<TRows>(ArrayView<float> slots, int slot, int lane, Float4 sum0, Float4 sum1, Float4 sum2, Float4 sum3)
        where TRows : struct, IRowTiles
    {
        Put(slots, slot, TRows.Count, 0, lane, sum0);
        if (TRows.Count > 1)
            Put(slots, slot, TRows.Count, 1, lane, sum1);
        if (TRows.Count > 2)
        {
            Put(slots, slot, TRows.Count, 2, lane, sum2);
            Put(slots, slot, TRows.Count, 3, lane, sum3);
        }
    }

    /// <summary>Adds the slots of segments [first, end) to an element's stack, whose top it takes and gives back.</summary>
    public static float Add(
        ArrayView<float> slots, ArrayView<float> stack, ArrayView<ProductSegment> segments, int first, int end, int elements, int element, int depth, float top)
    {
        for (int s = first; s < end; s++)
        {
            if (depth > 0)
                stack[((depth - 1) * elements) + element] = top;
            top = slots[((s - first) * elements) + element];
            depth++;
            int merges = segments[s].Merges;
            for (int merge = 0; merge < merges; merge++)
            {
                depth--;
                top = DeviceMath.Add(stack[((depth - 1) * elements) + element], top);
            }
        }
        return top;
    }

    /// <summary>Partial sums on the stack once segments [first, end) were added to one of <paramref name="depth"/>.</summary>
    public static int Depth(ArrayView<ProductSegment> segments, int first, int end, int depth)
    {
        for (int s = first; s < end; s++)
            depth += 1 - segments[s].Merges;
        return depth;
    }

    /// <summary>Writes the pieces of this thread's one or two elements.</summary>
    public static void WriteAll<TRows>(
        ArrayView<float> y, ArrayView<float> stack, ProductShape shape, PlacedTile tile, int firstRow, int groupSize, int depth, float top0, float top1)
        where TRows : struct, IRowTiles
    {
        int elements = TRows.Count * TileElements;
        if (Group.IdxX < elements)
            Write(y, stack, shape, tile, firstRow, elements, Group.IdxX, depth, top0);
        if (TRows.Count > 2)
            Write(y, stack, shape, tile, firstRow, elements, Group.IdxX + groupSize, depth, top1);
    }

    /// <summary>Writes an element's pieces where its output and row exist.</summary>
    private static void Write(ArrayView<float> y, ArrayView<float> stack, ProductShape shape, PlacedTile tile, int firstRow, int elements, int element, int depth, float top)
    {
        int lane = element & 31, register = (element >> 5) & 3;
        int output = (lane >> 2) + ((register >> 1) * 8), row = firstRow + (element / TileElements * PackedActivations.TileRows) + ((lane & 3) * 2) + (register & 1);
        if (output >= tile.Outputs || row >= shape.Rows)
            return;
        for (int piece = 0; piece < depth; piece++)
            y[(((piece * shape.Rows) + row) * shape.StrideY) + tile.Column + output] = piece == depth - 1 ? top : stack[(piece * elements) + element];
    }
}
