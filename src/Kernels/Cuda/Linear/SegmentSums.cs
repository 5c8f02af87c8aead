using ILGPU;

namespace TpServe.Kernels.Cuda;

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
    public static void Put(ArrayView<float> slots, int slot, int tiles, int tile, int lane, Float4 sum)
    {
        int at = (((slot * tiles) + tile) * TileElements) + lane;
        slots[at] = sum.A;
        slots[at + 32] = sum.B;
        slots[at + 64] = sum.C;
        slots[at + 96] = sum.D;
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

    /// <summary>Writes an element's pieces where its output and row exist.</summary>
    public static void Write(ArrayView<float> y, ArrayView<float> stack, ProductShape shape, PlacedTile tile, int firstRow, int elements, int element, int depth, float top)
    {
        int lane = element & 31, register = (element >> 5) & 3;
        int output = (lane >> 2) + ((register >> 1) * 8), row = firstRow + (element / TileElements * PackedActivations.TileRows) + ((lane & 3) * 2) + (register & 1);
        if (output >= tile.Outputs || row >= shape.Rows)
            return;
        for (int piece = 0; piece < depth; piece++)
            y[(((piece * shape.Rows) + row) * shape.StrideY) + tile.Column + output] = piece == depth - 1 ? top : stack[(piece * elements) + element];
    }
}
