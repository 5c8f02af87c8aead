using System.Runtime.InteropServices;
using ILGPU;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>The canonical order of a product's sums: which blocks of 32 inputs make a segment, and how segments are added. On host and device.</summary>
/// <remarks>
/// Every leaf is cut into blocks of 32 inputs, and those into segments of <see cref="SegmentBlocks"/> blocks, both counted from the leaf's start. Blocks
/// of quantised weights are the file's, counted from column 0: a leaf that begins or ends inside one takes the whole block with zeros outside, so a
/// leaf's sum does not depend on its neighbours or on the rank that holds it.
/// Numerics a segment is one accumulator from +0 over ascending blocks. Finished segments are pushed on a stack; Merges counts the additions of the two
///          topmost (lower + upper) after the push. A leaf's later segments merge once each, so a leaf is its segments' sequential sum; the leaf's own
///          merges follow. What is left at the end are the pieces.
/// </remarks>
internal sealed class LinearPlan : IDisposable
{
    /// <summary>Inputs of a block.</summary>
    public const int BlockInputs = 32;

    /// <summary>Blocks of a segment: no leaf of a row-parallel layer is longer, so that each of them is one segment.</summary>
    public const int SegmentBlocks = 8;

    /// <summary>Deepest stack the kernels hold.</summary>
    public const int MostSums = 16;

    private readonly DeviceMemory _visits;
    private readonly DeviceMemory _segments;

    /// <summary>Plans the leaves; <paramref name="aligned"/> for quantised weights.</summary>
    /// <exception cref="ArgumentException">The schedule holds more partial sums at once than the kernels do.</exception>
    public LinearPlan(CudaQueue queue, HostTransfers transfers, InputLeaves leaves, bool aligned)
    {
        Leaves = leaves;
        IsAligned = aligned;
        (BlockVisit[] visits, int[] columns, ProductSegment[] segments) = Cut(leaves, aligned);
        MostHeld = Held(segments);
        FileColumns = columns;
        Visits = visits;
        Segments = segments;
        _visits = Upload<BlockVisit>(queue, transfers, visits);
        _segments = Upload<ProductSegment>(queue, transfers, segments);
    }

    /// <summary>The leaves planned.</summary>
    public InputLeaves Leaves { get; }

    /// <summary>True where blocks are the file's.</summary>
    public bool IsAligned { get; }

    /// <summary>All blocks, leaf by leaf.</summary>
    public BlockVisit[] Visits { get; }

    /// <summary>The file's column of each block's first input, zeros before the leaf included.</summary>
    public int[] FileColumns { get; }

    /// <summary>All segments in canonical order.</summary>
    public ProductSegment[] Segments { get; }

    /// <summary>Blocks of 32 inputs of an output, padding included.</summary>
    public int Blocks => Visits.Length;

    /// <summary>True where every block is whole, so that block b's inputs are columns 32b… of the activation.</summary>
    public bool IsRegular => Blocks * BlockInputs == Leaves.Columns;

    /// <summary>Most partial sums that wait at once below the newest one, where a merge with the newest needs no room.</summary>
    public int MostHeld { get; }

    /// <summary>The blocks on the device.</summary>
    public ArrayView<BlockVisit> DeviceVisits => _visits.View.SubView(0, (long)Visits.Length * Marshal.SizeOf<BlockVisit>()).Cast<BlockVisit>();

    /// <summary>The segments on the device.</summary>
    public ArrayView<ProductSegment> DeviceSegments => _segments.View.SubView(0, (long)Segments.Length * Marshal.SizeOf<ProductSegment>()).Cast<ProductSegment>();

    /// <summary>True where the leaves are cut and merged alike.</summary>
    public bool Fits(InputLeaves leaves, bool aligned) =>
        aligned == IsAligned && leaves.Boundaries.AsSpan().SequenceEqual(Leaves.Boundaries) && leaves.Merges.AsSpan().SequenceEqual(Leaves.Merges);

    /// <inheritdoc/>
    public void Dispose()
    {
        _visits.Dispose();
        _segments.Dispose();
    }

    private static (BlockVisit[] Visits, int[] Columns, ProductSegment[] Segments) Cut(InputLeaves leaves, bool aligned)
    {
        List<BlockVisit> visits = [];
        List<int> columns = [];
        List<ProductSegment> segments = [];
        int depth = 0;
        for (int leaf = 0; leaf < leaves.Count; leaf++)
        {
            int from = leaves.Boundaries[leaf], to = leaves.Boundaries[leaf + 1], first = visits.Count;
            for (int start = aligned ? from / BlockInputs * BlockInputs : from; start < to; start += BlockInputs)
            {
                int low = Math.Max(from, start), high = Math.Min(to, start + BlockInputs);
                visits.Add(new BlockVisit { Column = low - leaves.Boundaries[0], Lead = low - start, Count = high - low });
                columns.Add(start);
            }
            for (int block = first; block < visits.Count; block += SegmentBlocks)
            {
                bool last = block + SegmentBlocks >= visits.Count;
                int merges = (block > first ? 1 : 0) + (last ? leaves.Merges[leaf] : 0);
                segments.Add(new ProductSegment { First = block, Blocks = Math.Min(SegmentBlocks, visits.Count - block), Merges = merges });
                depth++;
                Require.That(depth <= MostSums, $"A product holds {depth} partial sums at once, the limit is {MostSums}.");
                depth -= merges;
            }
        }
        return ([.. visits], [.. columns], [.. segments]);
    }

    private static int Held(ProductSegment[] segments)
    {
        int depth = 0, most = 0;
        foreach (ProductSegment segment in segments)
        {
            depth += 1 - segment.Merges;
            most = Math.Max(most, depth - 1 + Math.Max(0, segment.Merges - 1));
        }
        return most;
    }

    private static DeviceMemory Upload<T>(CudaQueue queue, HostTransfers transfers, T[] values) where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(values.AsSpan());
        DeviceMemory memory = queue.Allocate(bytes.Length);
        transfers.Upload(bytes, new Tensor(memory, 0, 1, bytes.Length / sizeof(int), bytes.Length / sizeof(int), ElementType.Int32));
        return memory;
    }
}

/// <summary>A leaf's part of a block of 32 inputs.</summary>
internal struct BlockVisit
{
    /// <summary>The activation's column of the part's first input.</summary>
    public int Column;

    /// <summary>Inputs of the block before it, which count as zero.</summary>
    public int Lead;

    /// <summary>Inputs of the part.</summary>
    public int Count;
}

/// <summary>Consecutive blocks that share one accumulator.</summary>
internal struct ProductSegment
{
    /// <summary>The first block.</summary>
    public int First;

    /// <summary>How many.</summary>
    public int Blocks;

    /// <summary>Additions of the two topmost sums once this one was pushed.</summary>
    public int Merges;
}
