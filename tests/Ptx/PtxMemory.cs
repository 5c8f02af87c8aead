using System.Runtime.InteropServices;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Text;

namespace TpServe.Ptx;

/// <summary>Device memory: allocations 64 GiB apart, so that no stray pointer hits another one.</summary>
/// <remarks>
/// Threads  one thread at a time.
/// Errors   the host's reads and writes throw PtxException where they leave a buffer or read bytes nobody wrote.
/// </remarks>
public sealed class PtxMemory
{
    private const int SpacingBits = 36;
    private const ulong FirstOffset = 0x20_0000;

    private readonly List<Region?> _regions = [null]; // index 0 is the null page and the windows of shared and local memory
    private readonly Dictionary<Symbol, Region> _globals = [];

    /// <summary>Allocates bytes nobody has written yet.</summary>
    public PtxBuffer Allocate(long bytes) => new(Add($"buffer {_regions.Count}", checked((int)bytes), ByteState.Unwritten, isReadOnly: false));

    /// <summary>Allocates a buffer holding the values.</summary>
    public PtxBuffer Allocate<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        PtxBuffer buffer = Allocate(MemoryMarshal.AsBytes(values).Length);
        Upload(buffer, values);
        return buffer;
    }

    /// <summary>Allocates a buffer holding the values.</summary>
    public PtxBuffer Allocate<T>(T[] values)
        where T : unmanaged => Allocate<T>(values.AsSpan());

    /// <summary>Frees the buffer: a later access of it is out of bounds.</summary>
    public void Free(PtxBuffer buffer) => _regions[(int)(buffer.Region.Address >> SpacingBits)] = null;

    /// <summary>Writes the values into the buffer.</summary>
    public void Upload<T>(PtxBuffer buffer, ReadOnlySpan<T> values, long offsetBytes = 0)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(values);
        if (offsetBytes < 0 || offsetBytes + bytes.Length > buffer.Bytes)
            throw new PtxException(PtxFault.OutOfBounds, $"{bytes.Length} bytes at {offsetBytes} of a buffer of {buffer.Bytes}.");
        buffer.Region.Write((int)offsetBytes, bytes);
    }

    /// <summary>Writes the values into the buffer.</summary>
    public void Upload<T>(PtxBuffer buffer, T[] values, long offsetBytes = 0)
        where T : unmanaged => Upload<T>(buffer, values.AsSpan(), offsetBytes);

    /// <summary>The buffer's values, or count of them from offsetBytes; every byte must have been written.</summary>
    public T[] Read<T>(PtxBuffer buffer, long offsetBytes = 0, int count = -1)
        where T : unmanaged
    {
        int size = System.Runtime.CompilerServices.Unsafe.SizeOf<T>();
        int elements = count < 0 ? (int)((buffer.Bytes - offsetBytes) / size) : count;
        if (offsetBytes < 0 || offsetBytes + (long)elements * size > buffer.Bytes)
            throw new PtxException(PtxFault.OutOfBounds, $"{elements} values of {size} bytes at {offsetBytes} of a buffer of {buffer.Bytes}.");
        int unwritten = buffer.Region.State.AsSpan((int)offsetBytes, elements * size).IndexOfAnyExcept(ByteState.Written);
        if (unwritten >= 0)
            throw new PtxException(PtxFault.Uninitialised, $"byte {offsetBytes + unwritten} of {buffer.Region.Name} was never written.");
        return MemoryMarshal.Cast<byte, T>(buffer.Region.Data.AsSpan((int)offsetBytes, elements * size)).ToArray();
    }

    /// <summary>Whether every byte of the span has been written by the host or a kernel.</summary>
    public bool IsWritten(PtxBuffer buffer, long offsetBytes, int bytes) =>
        buffer.Region.State.AsSpan((int)offsetBytes, bytes).IndexOfAnyExcept(ByteState.Written) < 0;

    internal IEnumerable<Region> Regions => _regions.OfType<Region>();

    /// <summary>The allocation around an address, by its high bits; null where there is none.</summary>
    internal Region? Find(ulong address)
    {
        ulong index = address >> SpacingBits;
        return index < (ulong)_regions.Count ? _regions[(int)index] : null;
    }

    /// <summary>The place of a module's .global or .const variable; it lives as long as this memory.</summary>
    internal Region GlobalOf(Symbol symbol)
    {
        if (_globals.TryGetValue(symbol, out Region? region))
            return region;
        // Without an initialiser a variable of a module starts as zeros.
        region = Add(symbol.Name, symbol.Bytes, ByteState.Written, symbol.Space == Space.Const);
        symbol.Initial?.CopyTo(region.Data, 0);
        return _globals[symbol] = region;
    }

    private Region Add(string name, int bytes, byte state, bool isReadOnly)
    {
        Region region = new(name, ((ulong)_regions.Count << SpacingBits) + FirstOffset, bytes, state) { IsReadOnly = isReadOnly };
        _regions.Add(region);
        return region;
    }
}
