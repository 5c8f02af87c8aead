namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Where one thread keeps a tile's state, in floats from its region's start; every area begins on a cache line.</summary>
/// <remarks>
/// Shapes   queries and sums [pairs, paddedDim]; weights [4, 64], those of a micro-tile;
///          keys [headDim, 64] and values [64, paddedDim] hold one chunk as float32 where pairs share it, keyScales and valueScales
///          [headDim / 32, 64] its scales where the cache has some; first and last are integers. Each pair has two states: of the segment it walks,
///          and of those before it.
/// </remarks>
internal readonly struct AttentionScratch
{
    private const int Line = 16;

    /// <summary>The areas for a head size and a number of (token, head) pairs.</summary>
    public AttentionScratch(int headDim, int pairs)
    {
        PaddedDim = (headDim + VectorMath.Lanes - 1) / VectorMath.Lanes * VectorMath.Lanes;
        int end = 0;
        Queries = Take(ref end, pairs * PaddedDim);
        Sums = Take(ref end, pairs * PaddedDim);
        WeightSums = Take(ref end, pairs * VectorMath.Lanes);
        Max = Take(ref end, pairs);
        _earlierSums = Take(ref end, pairs * PaddedDim);
        _earlierWeightSums = Take(ref end, pairs * VectorMath.Lanes);
        _earlierMax = Take(ref end, pairs);
        First = Take(ref end, pairs);
        Last = Take(ref end, pairs);
        Weights = Take(ref end, OuterProducts.Rows * OnlineSoftmax.ChunkPositions);
        Keys = Take(ref end, headDim * OnlineSoftmax.ChunkPositions);
        Values = Take(ref end, OnlineSoftmax.ChunkPositions * PaddedDim);
        KeyScales = Take(ref end, headDim / Q8Block.Elements * OnlineSoftmax.ChunkPositions);
        ValueScales = Take(ref end, headDim / Q8Block.Elements * OnlineSoftmax.ChunkPositions);
        Bytes = (long)end * sizeof(float);
    }

    private readonly int _earlierSums, _earlierWeightSums, _earlierMax;

    public int PaddedDim { get; }

    public int Queries { get; }

    public int Sums { get; }

    public int WeightSums { get; }

    public int Max { get; }

    public int First { get; }

    public int Last { get; }

    public int Weights { get; }

    public int Keys { get; }

    public int Values { get; }

    public int KeyScales { get; }

    public int ValueScales { get; }

    public long Bytes { get; }

    /// <summary>A pair's state of the segment that is walked.</summary>
    public unsafe SoftmaxState State(float* scratch, int pair) => new(scratch + Max + pair, scratch + WeightSums + pair * VectorMath.Lanes, scratch + Sums + pair * (nint)PaddedDim);

    /// <summary>A pair's state of the segments before it.</summary>
    public unsafe SoftmaxState Earlier(float* scratch, int pair) =>
        new(scratch + _earlierMax + pair, scratch + _earlierWeightSums + pair * VectorMath.Lanes, scratch + _earlierSums + pair * (nint)PaddedDim);

    private static int Take(ref int end, int floats)
    {
        int start = end;
        end = checked(end + (floats + Line - 1) / Line * Line);
        return start;
    }
}

/// <summary>The states of segments that were walked apart: a place for each, of as many pairs as a micro-tile has.</summary>
internal readonly unsafe struct SegmentStates(float* start, int paddedDim)
{
    private const int L = VectorMath.Lanes;

    /// <summary>Bytes for so many segments.</summary>
    public static long BytesOf(int segments, int paddedDim) => (long)segments * OuterProducts.Rows * (2 * L + paddedDim) * sizeof(float);

    /// <summary>The state of a pair.</summary>
    public SoftmaxState Of(int segment, int pair)
    {
        float* at = start + (segment * (nint)OuterProducts.Rows + pair) * (2 * L + paddedDim);
        return new SoftmaxState(at, at + L, at + 2 * L);
    }
}
