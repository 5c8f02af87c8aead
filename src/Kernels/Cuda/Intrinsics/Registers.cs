using System.Runtime.InteropServices;

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

/// <summary>A lane's part of an integer accumulator: four 32-bit registers.</summary>
internal struct Int4
{
    /// <summary>Output g, row 2t.</summary>
    public int A;

    /// <summary>Output g, row 2t + 1.</summary>
    public int B;

    /// <summary>Output g + 8, row 2t.</summary>
    public int C;

    /// <summary>Output g + 8, row 2t + 1.</summary>
    public int D;
}

/// <summary>Two 32-bit registers, 8 bytes of memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UInt2
{
    /// <summary>The lower word.</summary>
    public uint A;

    /// <summary>The higher word.</summary>
    public uint B;
}

/// <summary>Four 32-bit registers, 16 bytes of memory.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct UInt4
{
    /// <summary>Its size in memory.</summary>
    public const int Bytes = 16;

    /// <summary>The lowest word.</summary>
    public uint A;

    /// <summary>The second word.</summary>
    public uint B;

    /// <summary>The third word.</summary>
    public uint C;

    /// <summary>The highest word.</summary>
    public uint D;
}
