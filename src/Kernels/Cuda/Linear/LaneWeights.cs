using ILGPU;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Where a lane's words of a coded block lie: views that begin at them, so that the next blocks' are constants away.</summary>
internal struct LaneWeights
{
    /// <summary>From the lane's codes on.</summary>
    public ArrayView<uint> Codes;

    /// <summary>From the factors of output g on.</summary>
    public ArrayView<uint> Factors;

    /// <summary>From the integers of output g on.</summary>
    public ArrayView<uint> Integers;

    /// <summary>Output g of lane 4g + t.</summary>
    public int Output;

    /// <summary>A lane's words of a tile's block.</summary>
    public static LaneWeights At<T>(PlacedTile tile, int block, int lane) where T : struct, ICodedLayout
    {
        long at = tile.First + ((long)block * T.BlockWords), left = tile.Weights.Length - at;
        int output = lane / 4, codes = lane * T.LaneWords, factors = T.CodeWords + (output / T.WordOutputs), integers = T.CodeWords + CudaPackedWeight.TileOutputs + (output / 2);
        return new LaneWeights
        {
            Codes = tile.Weights.SubView(at + codes, left - codes),
            Factors = tile.Weights.SubView(at + factors, left - factors),
            Integers = T.HasIntegers ? tile.Weights.SubView(at + integers, left - integers) : tile.Weights,
            Output = output,
        };
    }
}
