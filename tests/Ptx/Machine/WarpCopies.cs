using TpServe.Ptx.Memory;

namespace TpServe.Ptx.Machine;

/// <summary>cp.async: copies that have begun and land at their thread's wait.</summary>
/// <remarks>
/// Numerics between the copy and its wait the destination's bytes are in flight: any access of them is an error, whoever makes it. The
///          data is read when it lands, and the landing is a write of that moment: other warps see it after a later barrier only.
/// </remarks>
internal sealed partial class Warp
{
    private sealed record Copy(int Lane, int Group, Region To, int ToOffset, Region From, int FromOffset, int Size, int Filled);

    private readonly List<Copy> _copies = [];
    private readonly int[] _groups = new int[Lanes];

    /// <summary>Begins a copy of size bytes to shared memory, of which the first filled come from the source and the rest are zeros.</summary>
    public void BeginCopy(int lane, ulong to, Text.Space fromSpace, ulong from, int size, int filled)
    {
        Region target = Locate(lane, Text.Space.Shared, to, size, out int toOffset);
        Region source = target;
        int fromOffset = 0;
        if (filled > 0)
        {
            source = Locate(lane, fromSpace, from, size, out fromOffset);
            if (filled == size)
                CheckRead(source, lane, fromOffset, size, Strength.Weak);
            else
                for (int i = 0; i < filled; i++)
                    CheckRead(source, lane, fromOffset + i, 1, Strength.Weak);
        }
        CheckWrite(target, lane, toOffset, size, Strength.Weak, []);
        target.State.AsSpan(toOffset, size).Fill(ByteState.InFlight);
        _copies.Add(new Copy(lane, _groups[lane], target, toOffset, source, fromOffset, size, filled));
    }

    public void CommitCopies(uint mask)
    {
        for (int lane = 0; lane < Lanes; lane++)
            _groups[lane] += (int)(mask >> lane & 1);
    }

    /// <summary>Lands the lanes' copies but those of their latest groups; with uncommitted, all.</summary>
    public void LandCopies(uint mask, int latest, bool uncommitted)
    {
        int kept = 0;
        for (int i = 0; i < _copies.Count; i++)
        {
            Copy copy = _copies[i];
            bool lands = (mask >> copy.Lane & 1) != 0 && (uncommitted || copy.Group < _groups[copy.Lane] - latest);
            if (lands)
                Land(copy);
            else
                _copies[kept++] = copy;
        }
        _copies.RemoveRange(kept, _copies.Count - kept);
    }

    private void Land(Copy copy)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        copy.From.Data.AsSpan(copy.FromOffset, copy.Filled).CopyTo(bytes);
        copy.To.Write(copy.ToOffset, bytes[..copy.Size]);
        CheckWrite(copy.To, copy.Lane, copy.ToOffset, copy.Size, Strength.Weak, []);
    }
}
