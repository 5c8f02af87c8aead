using ILGPU;

namespace TpServe.Kernels.Cuda;

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

    /// <summary>Reads a lane's part of a block in device memory.</summary>
    public static PackedBlock LoadDevice<T>(ArrayView<uint> packed, int block, int lane) where T : struct, ICodedLayout
    {
        int rows = lane % 4 * 2;
        PackedBlock part = new()
        {
            Codes = StreamLoads.TwoShared(ref packed[block + (lane * 2)]),
            Scales = StreamLoads.TwoShared(ref packed[block + PackedActivations.ScalesAt + rows]),
        };
        if (T.HasMinimum)
            part.Sums = StreamLoads.TwoShared(ref packed[block + (T.HasHalves ? PackedActivations.HalfSumsAt : PackedActivations.SumsAt) + rows]);
        if (T.HasMinimum && T.HasHalves)
            part.UpperSums = StreamLoads.TwoShared(ref packed[block + PackedActivations.HalfSumsAt + PackedActivations.TileRows + rows]);
        return part;
    }
}
