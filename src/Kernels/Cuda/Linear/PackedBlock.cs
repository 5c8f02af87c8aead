using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A lane's part of a block of 8 quantised rows in registers.</summary>
internal struct PackedBlock
{
    /// <summary>The second operand of the products.</summary>
    public UInt2 Codes;

    /// <summary>Scales of rows 2t and 2t + 1.</summary>
    public UInt2 Scales;

    /// <summary>Scaled sums of their codes, of inputs 0..15 where the weights have halves.</summary>
    public UInt2 Sums;

    /// <summary>Scaled sums of inputs 16..31 where the weights have halves.</summary>
    public UInt2 UpperSums;

    /// <summary>Reads a lane's part of a block in shared memory: what the weights need of it.</summary>
    public static PackedBlock Load<T>(ArrayView<uint> shared, int block, int lane) where T : struct, ICodedLayout
    {
        int rows = lane % 4 * 2;
        PackedBlock packed = new()
        {
            Codes = SharedLoads.Two(ref shared[block + (lane * 2)]),
            Scales = SharedLoads.Two(ref shared[block + PackedActivations.ScalesAt + rows]),
        };
        if (T.HasMinimum)
            packed.Sums = SharedLoads.Two(ref shared[block + (T.HasHalves ? PackedActivations.HalfSumsAt : PackedActivations.SumsAt) + rows]);
        if (T.HasMinimum && T.HasHalves)
            packed.UpperSums = SharedLoads.Two(ref shared[block + PackedActivations.HalfSumsAt + PackedActivations.TileRows + rows]);
        return packed;
    }

    /// <summary>Reads a lane's part of a block that lies a constant number of words behind the lane's own.</summary>
    public static PackedBlock Load<T>(LaneRows lane, int offset) where T : struct, ICodedLayout
    {
        PackedBlock packed = new()
        {
            Codes = StreamLoads.TwoShared(ref lane.Codes[offset]),
            Scales = StreamLoads.TwoShared(ref lane.Scales[offset]),
        };
        if (T.HasMinimum)
            packed.Sums = StreamLoads.TwoShared(ref lane.Scales[offset + (T.HasHalves ? PackedActivations.HalfSumsAt : PackedActivations.SumsAt) - PackedActivations.ScalesAt]);
        if (T.HasMinimum && T.HasHalves)
            packed.UpperSums = StreamLoads.TwoShared(ref lane.Scales[offset + PackedActivations.HalfSumsAt + PackedActivations.TileRows - PackedActivations.ScalesAt]);
        return packed;
    }
}

/// <summary>Where a lane's words of a block of 8 quantised rows lie.</summary>
internal struct LaneRows
{
    /// <summary>From the lane's codes on.</summary>
    public ArrayView<uint> Codes;

    /// <summary>From the scales of rows 2t and 2t + 1 on.</summary>
    public ArrayView<uint> Scales;

    /// <summary>A lane's words of a block.</summary>
    public static LaneRows At(ArrayView<uint> packed, int block, int lane)
    {
        long codes = block + (lane * 2), scales = block + PackedActivations.ScalesAt + (lane % 4 * 2);
        return new LaneRows { Codes = packed.SubView(codes, packed.Length - codes), Scales = packed.SubView(scales, packed.Length - scales) };
    }
}
