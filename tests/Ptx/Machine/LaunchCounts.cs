namespace TpServe.Ptx.Machine;

/// <summary>Counters of each instruction of the program.</summary>
internal sealed class LaunchCounts(int instructions)
{
    public long[] Executions { get; } = new long[instructions];
    public long[] Lanes { get; } = new long[instructions];

    /// <summary>Bytes the lanes asked for, of global memory.</summary>
    public long[] Bytes { get; } = new long[instructions];

    /// <summary>32-byte sectors of global memory touched, each once per instruction executed.</summary>
    public long[] Sectors { get; } = new long[instructions];

    /// <summary>Passes over the banks of shared memory, how many there would be without conflicts, and the worst access's share.</summary>
    public long[] Passes { get; } = new long[instructions];

    public long[] IdealPasses { get; } = new long[instructions];
    public int[] WorstWays { get; } = new int[instructions];

    public void Count(int instruction, int lanes)
    {
        Executions[instruction]++;
        Lanes[instruction] += lanes;
    }

    /// <summary>Records an access of global memory by the lanes of mask.</summary>
    public void CountGlobal(int instruction, ReadOnlySpan<ulong> addresses, uint mask, int size)
    {
        Span<ulong> seen = stackalloc ulong[64];
        int count = 0, lanes = 0;
        for (uint rest = mask; rest != 0; rest &= rest - 1, lanes++)
        {
            ulong sector = addresses[System.Numerics.BitOperations.TrailingZeroCount(rest)] >> 5;
            if (count == 0 || (seen[count - 1] != sector && !seen[..count].Contains(sector)))
                seen[count++] = sector;
        }
        Bytes[instruction] += (long)lanes * size;
        Sectors[instruction] += count;
    }

    /// <summary>Records an access of shared memory: lanes are served 128 bytes a pass, a bank of 4 bytes once a pass.</summary>
    public void CountShared(int instruction, ReadOnlySpan<ulong> addresses, uint mask, int size)
    {
        int lanesPerPass = size <= 4 ? 32 : 128 / size;
        int passes = 0, ideal = 0, worst = 0;
        Span<ulong> words = stackalloc ulong[32];
        Span<int> banks = stackalloc int[32];
        for (int first = 0; first < 32; first += lanesPerPass)
        {
            int count = 0, most = 0;
            banks.Clear();
            for (int lane = first; lane < first + lanesPerPass; lane++)
            {
                if ((mask >> lane & 1) == 0)
                    continue;
                // One entry a lane: the banks of wide accesses come in whole groups, so the first word stands for all.
                ulong word = addresses[lane] >> 2;
                if (words[..count].Contains(word))
                    continue;
                words[count++] = word;
                most = Math.Max(most, ++banks[(int)(word % 32)]);
            }
            if (count == 0)
                continue;
            passes += most;
            ideal++;
            worst = Math.Max(worst, most);
        }
        Passes[instruction] += passes;
        IdealPasses[instruction] += ideal;
        WorstWays[instruction] = Math.Max(WorstWays[instruction], worst);
    }
}
