using TpServe.Ptx.Memory;

namespace TpServe.Ptx;

/// <summary>An allocation of device memory.</summary>
public sealed class PtxBuffer
{
    internal PtxBuffer(Region region) => Region = region;

    /// <summary>Its device address, a multiple of 256.</summary>
    public long Address => (long)Region.Address;

    /// <summary>Its size.</summary>
    public long Bytes => Region.Data.Length;

    internal Region Region { get; }

    /// <summary>The whole buffer as an ILGPU ArrayView of elements of this size.</summary>
    public View ViewOf(int elementBytes) => new(Address, Bytes / elementBytes);
}
