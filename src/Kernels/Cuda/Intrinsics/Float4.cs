namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Four float32 registers: four values of a row, four rows of an output, or a lane's part of a tensor-core accumulator.</summary>
internal struct Float4
{
    /// <summary>The first.</summary>
    public float A;

    /// <summary>The second.</summary>
    public float B;

    /// <summary>The third.</summary>
    public float C;

    /// <summary>The fourth.</summary>
    public float D;

    /// <summary>Each value added to the other's, rounded once.</summary>
    public static Float4 Add(Float4 left, Float4 right) => new()
    {
        A = DeviceMath.Add(left.A, right.A),
        B = DeviceMath.Add(left.B, right.B),
        C = DeviceMath.Add(left.C, right.C),
        D = DeviceMath.Add(left.D, right.D),
    };
}
