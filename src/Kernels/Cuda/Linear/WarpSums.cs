using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A warp's accumulators of 16 outputs and 32 rows: four fragments.</summary>
internal struct OutputSums
{
    /// <summary>Rows 0..7.</summary>
    public Float4 A;

    /// <summary>Rows 8..15.</summary>
    public Float4 B;

    /// <summary>Rows 16..23.</summary>
    public Float4 C;

    /// <summary>Rows 24..31.</summary>
    public Float4 D;

    /// <summary>Each value added to the other's, rounded once.</summary>
    public static OutputSums Add(OutputSums left, OutputSums right) => new()
    {
        A = Float4.Add(left.A, right.A),
        B = Float4.Add(left.B, right.B),
        C = Float4.Add(left.C, right.C),
        D = Float4.Add(left.D, right.D),
    };
}

/// <summary>A warp's accumulators of 64 outputs and 32 rows: 64 registers a lane.</summary>
internal struct WarpSums
{
    /// <summary>Registers of a lane.</summary>
    public const int Registers = 64;

    /// <summary>Output tile 0 of the warp.</summary>
    public OutputSums A;

    /// <summary>Output tile 1.</summary>
    public OutputSums B;

    /// <summary>Output tile 2.</summary>
    public OutputSums C;

    /// <summary>Output tile 3.</summary>
    public OutputSums D;

    /// <summary>Each value added to the other's, rounded once.</summary>
    public static WarpSums Add(WarpSums left, WarpSums right) => new()
    {
        A = OutputSums.Add(left.A, right.A),
        B = OutputSums.Add(left.B, right.B),
        C = OutputSums.Add(left.C, right.C),
        D = OutputSums.Add(left.D, right.D),
    };

    /// <summary>Stores all registers, <paramref name="stride"/> words apart, so that the lanes' words of a register lie side by side.</summary>
    public static void Store(ArrayView<float> memory, long at, int stride, WarpSums sums)
    {
        Store(memory, at, stride, sums.A);
        Store(memory, at + (16L * stride), stride, sums.B);
        Store(memory, at + (32L * stride), stride, sums.C);
        Store(memory, at + (48L * stride), stride, sums.D);
    }

    /// <summary>What was stored.</summary>
    public static WarpSums Load(ArrayView<float> memory, long at, int stride) => new()
    {
        A = LoadOutput(memory, at, stride),
        B = LoadOutput(memory, at + (16L * stride), stride),
        C = LoadOutput(memory, at + (32L * stride), stride),
        D = LoadOutput(memory, at + (48L * stride), stride),
    };

    private static void Store(ArrayView<float> memory, long at, int stride, OutputSums sums)
    {
        Store(memory, at, stride, sums.A);
        Store(memory, at + (4L * stride), stride, sums.B);
        Store(memory, at + (8L * stride), stride, sums.C);
        Store(memory, at + (12L * stride), stride, sums.D);
    }

    private static void Store(ArrayView<float> memory, long at, int stride, Float4 sum)
    {
        memory[at] = sum.A;
        memory[at + stride] = sum.B;
        memory[at + (2L * stride)] = sum.C;
        memory[at + (3L * stride)] = sum.D;
    }

    private static OutputSums LoadOutput(ArrayView<float> memory, long at, int stride) => new()
    {
        A = LoadFragment(memory, at, stride),
        B = LoadFragment(memory, at + (4L * stride), stride),
        C = LoadFragment(memory, at + (8L * stride), stride),
        D = LoadFragment(memory, at + (12L * stride), stride),
    };

    private static Float4 LoadFragment(ArrayView<float> memory, long at, int stride) =>
        new() { A = memory[at], B = memory[at + stride], C = memory[at + (2L * stride)], D = memory[at + (3L * stride)] };
}
