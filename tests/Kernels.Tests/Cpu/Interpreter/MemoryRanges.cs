namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Which memory interpreted code may read and write; an access lies within one range.</summary>
internal sealed class MemoryRanges
{
    private readonly List<Range> _ranges = [];
    private int _last;

    /// <summary>Adds a range.</summary>
    public void Add(nint start, long bytes, bool write, string name) => _ranges.Add(new Range(start, start + bytes, write, name));

    /// <summary>True where [address, address + bytes) may be accessed.</summary>
    public bool Holds(long address, int bytes, bool write)
    {
        if (_ranges[_last].Holds(address, bytes, write))
            return true;
        for (int i = 0; i < _ranges.Count; i++)
        {
            if (!_ranges[i].Holds(address, bytes, write))
                continue;
            _last = i;
            return true;
        }
        return false;
    }

    /// <summary>The range next to an address, in words.</summary>
    public string Nearest(long address)
    {
        Range nearest = _ranges.MinBy(range => range.Distance(address));
        string rights = nearest.CanWrite ? "read and write" : "read only";
        return $"{nearest.Name} is nearest: {nearest.End - nearest.Start} bytes at 0x{nearest.Start:X}, {rights}; the access begins at its byte {address - nearest.Start}";
    }

    private readonly record struct Range(long Start, long End, bool CanWrite, string Name)
    {
        public bool Holds(long address, int bytes, bool write) => address >= Start && bytes <= End - address && (CanWrite || !write);

        public UInt128 Distance(long address) => (UInt128)(address < Start ? (Int128)Start - address : address > End ? (Int128)address - End : 0);
    }
}
