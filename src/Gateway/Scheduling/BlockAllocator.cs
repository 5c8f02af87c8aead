namespace TpServe.Gateway.Scheduling;

/// <summary>Hands out the KV blocks 0..total-1, each to one owner at a time.</summary>
public sealed class BlockAllocator
{
    private readonly Stack<int> _free;
    private readonly bool[] _used;

    public BlockAllocator(int totalBlocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(totalBlocks);
        TotalBlocks = totalBlocks;
        _used = new bool[totalBlocks];
        _free = new Stack<int>(totalBlocks);
        for (int block = totalBlocks - 1; block >= 0; block--) // so that low blocks go first
            _free.Push(block);
    }

    /// <summary>Blocks in all.</summary>
    public int TotalBlocks { get; }

    /// <summary>Blocks without an owner.</summary>
    public int FreeBlocks => _free.Count;

    /// <summary>Takes count blocks, or none where fewer are free.</summary>
    public bool TryAllocate(int count, out BlockId[] blocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (count > _free.Count)
        {
            blocks = [];
            return false;
        }
        blocks = new BlockId[count];
        for (int i = 0; i < count; i++)
        {
            int block = _free.Pop();
            _used[block] = true;
            blocks[i] = new BlockId(block);
        }
        return true;
    }

    /// <summary>Gives blocks back.</summary>
    /// <exception cref="InvalidOperationException">A block has no owner: it was given back before.</exception>
    public void Free(ReadOnlySpan<BlockId> blocks)
    {
        foreach (BlockId block in blocks)
        {
            if (!_used[block.Value])
                throw new InvalidOperationException($"Block {block.Value} is given back twice.");
            _used[block.Value] = false;
            _free.Push(block.Value);
        }
    }
}
