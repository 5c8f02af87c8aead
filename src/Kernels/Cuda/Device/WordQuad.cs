namespace TpServe.Kernels.Cuda.Device;

/// <summary>16 bytes that are moved at once.</summary>
public struct WordQuad
{
    /// <summary>Its size.</summary>
    public const int Bytes = 16;

    public uint A, B, C, D;
}
