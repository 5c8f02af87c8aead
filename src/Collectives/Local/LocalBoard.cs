namespace TpServe.Collectives.Local;

/// <summary>What the threads of a local group share; everything but the blocks' bytes is guarded by the lock on <see cref="Gate"/>.</summary>
internal sealed class LocalBoard
{
    /// <summary>A board of so many ranks.</summary>
    public LocalBoard(int degree, int blockBytes)
    {
        BlockBytes = blockBytes;
        Ranks = new LocalRank[degree];
        for (int rank = 0; rank < degree; rank++)
            Ranks[rank] = new LocalRank(blockBytes);
    }

    /// <summary>Guards the ranks' counters and headers and <see cref="Abort"/>; pulsed at every change.</summary>
    public object Gate { get; } = new();

    /// <summary>Bytes of a block.</summary>
    public int BlockBytes { get; }

    /// <summary>By rank.</summary>
    public LocalRank[] Ranks { get; }

    /// <summary>How the epoch ended, if it has.</summary>
    public GroupAbort? Abort { get; set; }

    /// <summary>One rank's part of the board.</summary>
    internal sealed class LocalRank(int blockBytes)
    {
        /// <summary>Two blocks, used in turn; written by the rank before it publishes, read by the others until they close the round.</summary>
        public byte[][] Blocks { get; } =
        [
            GC.AllocateArray<byte>(blockBytes, pinned: true),
            GC.AllocateArray<byte>(blockBytes, pinned: true),
        ];

        /// <summary>What each block announces.</summary>
        public OperationHeader[] Headers { get; } = new OperationHeader[2];

        /// <summary>Bytes published in each block.</summary>
        public int[] Bytes { get; } = new int[2];

        /// <summary>Last round published.</summary>
        public long Published { get; set; }

        /// <summary>Last round closed.</summary>
        public long Closed { get; set; }

        /// <summary>The rank disposed its end.</summary>
        public bool Left { get; set; }
    }
}
