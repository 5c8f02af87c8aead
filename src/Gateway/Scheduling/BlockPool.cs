using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace TpServe.Gateway.Scheduling;

/// <summary>A block of the paged KV cache: the same index on every rank and in every layer.</summary>
public readonly record struct BlockId(int Value);

/// <summary>What besides its tokens decides the content of a block: only sequences of equal realms share blocks.</summary>
/// <param name="Salt">The request's own; empty = shared with every request without one.</param>
/// <param name="LoraId">Adapter the keys and values were computed with; 0 = none.</param>
/// <param name="LongRope">LongRoPE's factors for long sequences rotate them.</param>
public sealed record PrefixRealm(string Salt, int LoraId, bool LongRope)
{
    /// <summary>No salt, no adapter, short sequences.</summary>
    public static PrefixRealm Shared { get; } = new("", 0, LongRope: false);
}

/// <summary>A full block as a prefix ends with it: the chain back to the start names every token before.</summary>
/// <remarks>Hash: of realm and all tokens up to here, so that equal prefixes meet in one dictionary entry whatever their length.</remarks>
public sealed class PrefixNode
{
    private readonly PrefixRealm _realm;
    private readonly PrefixNode? _parent;
    private readonly int[] _tokens;

    internal PrefixNode(PrefixRealm realm, PrefixNode? parent, ReadOnlySpan<int> tokens, BlockId block)
    {
        _realm = realm;
        _parent = parent;
        _tokens = tokens.ToArray();
        Block = block;
        Hash = HashOf(realm, parent, tokens);
    }

    /// <summary>The block that holds the keys and values of its tokens.</summary>
    public BlockId Block { get; }

    internal ulong Hash { get; }

    internal static ulong HashOf(PrefixRealm realm, PrefixNode? parent, ReadOnlySpan<int> tokens)
    {
        ulong hash = parent?.Hash ?? (uint)realm.GetHashCode();
        foreach (int token in tokens)
            hash = BitOperations.RotateLeft((hash ^ (uint)token) * 0x9E3779B97F4A7C15, 29); // 2⁶⁴ / the golden ratio
        return hash;
    }

    /// <summary>Compares the ids themselves: equal hashes prove nothing. The parent is compared as an object, which names its own tokens in turn.</summary>
    internal bool Is(PrefixRealm realm, PrefixNode? parent, ReadOnlySpan<int> tokens) =>
        ReferenceEquals(_parent, parent) && _realm == realm && tokens.SequenceEqual(_tokens);
}

/// <summary>The KV blocks 0..total-1: who holds each, what full ones contain, and which free one goes next.</summary>
/// <remarks>
/// A block is held by as many sequences as took or share it. At zero it is free: one whose content is known stays findable until it is the least
/// recently released and somebody takes it. Sequences release their blocks last first, so a prefix never goes before what follows it.
/// Threads  one caller at a time.
/// </remarks>
public sealed class BlockPool
{
    private readonly int[] _holders;
    private readonly PrefixNode?[] _contents;
    private readonly Stack<int> _blank; // free, content unknown
    private readonly LinkedList<int> _cached = new(); // free, content known; least recently released first
    private readonly LinkedListNode<int>[] _links;
    private readonly Dictionary<ulong, PrefixNode> _known = [];

    public BlockPool(int totalBlocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(totalBlocks);
        _holders = new int[totalBlocks];
        _contents = new PrefixNode?[totalBlocks];
        _links = new LinkedListNode<int>[totalBlocks];
        _blank = new Stack<int>(totalBlocks);
        for (int block = totalBlocks - 1; block >= 0; block--) // so that low blocks go first
        {
            _links[block] = new LinkedListNode<int>(block);
            _blank.Push(block);
        }
    }

    /// <summary>Blocks in all.</summary>
    public int TotalBlocks => _holders.Length;

    /// <summary>Blocks that no sequence holds.</summary>
    public int FreeBlocks => _blank.Count + _cached.Count;

    /// <summary>Of the free ones, how many hold a prefix that can be found.</summary>
    public int CachedBlocks => _cached.Count;

    /// <summary>Takes a block whose content nobody wants, else the one released longest ago. False where none is free.</summary>
    public bool TryTake(out BlockId block)
    {
        block = default;
        if (!_blank.TryPop(out int index))
        {
            if (_cached.First is not { } oldest)
                return false;
            index = oldest.Value;
            _cached.RemoveFirst();
            Forget(index);
        }
        _holders[index] = 1;
        block = new BlockId(index);
        return true;
    }

    /// <summary>One more holder of a block that is held, or free and known.</summary>
    public void Share(BlockId block)
    {
        if (_holders[block.Value]++ > 0)
            return;
        if (_links[block.Value].List is null)
            throw new InvalidOperationException($"Block {block.Value} has no content to share.");
        _cached.Remove(_links[block.Value]);
    }

    /// <summary>One holder less for each of a sequence's blocks, last first.</summary>
    /// <exception cref="InvalidOperationException">A block has no holder: it was released before.</exception>
    public void Release(ReadOnlySpan<BlockId> blocks)
    {
        for (int i = blocks.Length - 1; i >= 0; i--)
        {
            int block = blocks[i].Value;
            if (_holders[block] <= 0)
                throw new InvalidOperationException($"Block {block} is released twice.");
            if (--_holders[block] > 0)
                continue;
            if (_contents[block] is null)
                _blank.Push(block);
            else
                _cached.AddLast(_links[block]);
        }
    }

    /// <summary>How many sequences hold a block.</summary>
    public int Holders(BlockId block) => _holders[block.Value];

    /// <summary>Finds the block that holds these tokens after that prefix.</summary>
    public bool TryFind(PrefixRealm realm, PrefixNode? parent, ReadOnlySpan<int> tokens, [NotNullWhen(true)] out PrefixNode? node)
    {
        if (_known.TryGetValue(PrefixNode.HashOf(realm, parent, tokens), out node) && node.Is(realm, parent, tokens))
            return true;
        node = null;
        return false;
    }

    /// <summary>A held block now holds these tokens after that prefix. Where another block does already, that one stays the known one.</summary>
    public PrefixNode Publish(BlockId block, PrefixRealm realm, PrefixNode? parent, ReadOnlySpan<int> tokens)
    {
        if (TryFind(realm, parent, tokens, out PrefixNode? known))
            return known;
        PrefixNode node = new(realm, parent, tokens, block);
        if (_known.TryGetValue(node.Hash, out PrefixNode? stale)) // another prefix of the same hash, or this one behind a parent that has gone
        {
            Forget(stale.Block.Value);
            if (_holders[stale.Block.Value] == 0)
            {
                _cached.Remove(_links[stale.Block.Value]);
                _blank.Push(stale.Block.Value);
            }
        }
        _known.Add(node.Hash, node);
        _contents[block.Value] = node;
        return node;
    }

    /// <summary>Forgets every content; what sequences hold they keep. How many blocks were known.</summary>
    public int Flush()
    {
        int known = _known.Count;
        _known.Clear();
        Array.Clear(_contents);
        while (_cached.First is { } first)
        {
            _cached.RemoveFirst();
            _blank.Push(first.Value);
        }
        return known;
    }

    /// <summary>What is wrong with the books where nobody should hold a block; null where they balance.</summary>
    public string? Imbalance()
    {
        int held = _holders.Count(holders => holders != 0);
        if (held > 0)
            return $"{held} of {TotalBlocks} KV blocks are held though no sequence runs, block {Array.FindIndex(_holders, holders => holders != 0)} among them.";
        return FreeBlocks == TotalBlocks ? null : $"{FreeBlocks} KV blocks are free of {TotalBlocks} that nobody holds.";
    }

    private void Forget(int block)
    {
        if (_contents[block] is { } node)
            _known.Remove(node.Hash);
        _contents[block] = null;
    }
}
