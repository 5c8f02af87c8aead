using System.Numerics;
using System.Runtime.InteropServices;
using TpServe.Ptx.Memory;
using TpServe.Ptx.Ops;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Machine;

/// <summary>Every access of memory by a lane: where it falls, whether it may, and what it races with.</summary>
internal sealed partial class Warp
{
    private readonly Region?[] _local = new Region?[Lanes];

    /// <summary>The addresses of the instruction being executed.</summary>
    public ulong[] Addresses { get; } = new ulong[Lanes];

    /// <summary>The region and offset of size bytes at an address; throws where there are none or the address is not aligned.</summary>
    public Region Locate(int lane, Space space, ulong address, int size, out int offset)
    {
        Space actual = space;
        if (space == Space.Generic)
        {
            actual = Space.Global;
            if (address - Launch.SharedWindow < Launch.WindowBytes)
            {
                actual = Space.Shared;
                address -= Launch.SharedWindow;
            }
            else if (address - Launch.LocalWindow < Launch.WindowBytes)
            {
                actual = Space.Local;
                address -= Launch.LocalWindow;
            }
        }
        Region? region = actual switch
        {
            Space.Shared => Block.Shared,
            Space.Local => LocalOf(lane),
            _ => Launch.Memory.Find(address),
        };
        if (region == null)
            throw Fault(PtxFault.OutOfBounds, lane, $"accesses {size} bytes at {Name(actual)} address 0x{address:x}, where nothing is allocated");
        ulong place = address - region.Address;
        if (place > (ulong)region.Data.Length || (ulong)region.Data.Length - place < (ulong)size)
            throw Fault(PtxFault.OutOfBounds, lane, $"accesses {size} bytes at {Name(actual)} address 0x{address:x}: offset {(long)place} of {region.Name}, which has {region.Data.Length} bytes");
        if ((address & (ulong)(size - 1)) != 0)
            throw Fault(PtxFault.Misaligned, lane, $"accesses {size} bytes at {Name(actual)} address 0x{address:x}");
        offset = (int)place;
        return region;
    }

    /// <summary>Size bytes to read, checked.</summary>
    public ReadOnlySpan<byte> Read(int lane, Space space, ulong address, int size, Strength strength, bool isConstant = false)
    {
        Region region = Locate(lane, space, address, size, out int offset);
        CheckRead(region, lane, offset, size, strength, isConstant);
        return region.Data.AsSpan(offset, size);
    }

    public void CheckRead(Region region, int lane, int offset, int size, Strength strength, bool isConstant = false)
    {
        if (!AllWritten(region.State, offset, size))
            throw StateFault(region, lane, offset, size, "reads");
        if (region.Shadow is { } shadow)
        {
            int other = shadow.Read(offset, size, this, lane, Site(strength), isConstant);
            if (other >= 0)
                throw RaceFault(region, lane, offset, other, "reads");
        }
    }

    /// <summary>Writes a lane's bytes, checked.</summary>
    public void Write(int lane, Space space, ulong address, ReadOnlySpan<byte> bytes, Strength strength)
    {
        Region region = Locate(lane, space, address, bytes.Length, out int offset);
        CheckWrite(region, lane, offset, bytes.Length, strength, bytes);
        region.Write(offset, bytes);
    }

    /// <summary>Checks a write; bytes are the values, to allow lanes of one instruction to write the same ones to the same place.</summary>
    public void CheckWrite(Region region, int lane, int offset, int size, Strength strength, ReadOnlySpan<byte> bytes)
    {
        if (region.IsReadOnly)
            throw Fault(PtxFault.OutOfBounds, lane, $"writes to the constant {region.Name}");
        ReadOnlySpan<byte> state = region.State.AsSpan(offset, size);
        if (state.ContainsAny(ByteState.Outside, ByteState.InFlight))
            throw StateFault(region, lane, offset, size, "writes");
        if (region.Shadow is not { } shadow)
            return;
        int other = shadow.Write(offset, size, this, lane, Site(strength), Launch.Together.Executed, out bool overlap);
        if (other >= 0)
            throw RaceFault(region, lane, offset, other, "writes");
        if (overlap && strength == Strength.Weak && !bytes.IsEmpty && !bytes.SequenceEqual(region.Data.AsSpan(offset, size)))
            throw Fault(PtxFault.Race, lane, $"writes offset {offset} of {region.Name}, where another lane of this instruction writes another value");
    }

    public ulong ReadValue(int lane, Space space, ulong address, int size, Strength strength)
    {
        ReadOnlySpan<byte> bytes = Read(lane, space, address, size, strength);
        return size switch
        {
            1 => bytes[0],
            2 => MemoryMarshal.Read<ushort>(bytes),
            4 => MemoryMarshal.Read<uint>(bytes),
            _ => MemoryMarshal.Read<ulong>(bytes),
        };
    }

    public void WriteValue(int lane, Space space, ulong address, int size, ulong value, Strength strength) =>
        Write(lane, space, address, MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(ref value))[..size], strength);

    /// <summary>Fills Addresses and counts the access, size bytes a lane.</summary>
    public void Count(Space space, uint mask, int size)
    {
        if (space is Space.Local or Space.Param)
            return;
        ulong first = Addresses[BitOperations.TrailingZeroCount(mask)];
        bool isShared = space == Space.Shared || (space == Space.Generic && first - Launch.SharedWindow < Launch.WindowBytes);
        if (isShared)
            Launch.Counts.CountShared(CurrentOp.Index, Addresses, mask, size);
        else if (space != Space.Generic || first >= Launch.LocalWindow + Launch.WindowBytes)
            Launch.Counts.CountGlobal(CurrentOp.Index, Addresses, mask, size);
    }

    private int Site(Strength strength) => ((Launch.FirstSite + CurrentOp.Index) << 2) | (int)strength;

    private static bool AllWritten(byte[] state, int offset, int size) => size switch
    {
        4 => MemoryMarshal.Read<uint>(state.AsSpan(offset)) == 0x0202_0202,
        8 => MemoryMarshal.Read<ulong>(state.AsSpan(offset)) == 0x0202_0202_0202_0202,
        _ => state.AsSpan(offset, size).IndexOfAnyExcept(ByteState.Written) < 0,
    };

    private Region LocalOf(int lane) => _local[lane] ??= Launch.Program.NewLocal();

    private static string Name(Space space) => space.ToString().ToLowerInvariant();

    private PtxException StateFault(Region region, int lane, int offset, int size, string does)
    {
        ReadOnlySpan<byte> state = region.State.AsSpan(offset, size);
        if (state.Contains(ByteState.Outside))
            return Fault(PtxFault.OutOfBounds, lane, $"{does} {size} bytes at offset {offset} of {region.Name}, outside every variable");
        if (state.Contains(ByteState.InFlight))
            return Fault(PtxFault.InFlight, lane, $"{does} {size} bytes at offset {offset} of {region.Name}, which a cp.async still writes: its thread has not waited for it");
        return Fault(PtxFault.Uninitialised, lane, $"{does} {size} bytes at offset {offset} of {region.Name} (address 0x{region.Address + (ulong)offset:x}), of which some were never written");
    }

    private PtxException RaceFault(Region region, int lane, int offset, int otherOp, string does) =>
        Fault(PtxFault.Race, lane, $"{does} offset {offset} of {region.Name} (address 0x{region.Address + (ulong)offset:x}) with no order to another thread's access by {Launch.Together.OpAt(otherOp)}");
}
