namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Rows [First, First + Rows) of one sequence that share loads of keys and values; together they see positions [MinFirst, MaxLast].</summary>
internal readonly record struct RowTile(int First, int Rows, int MinFirst, int MaxLast);

/// <summary>Query heads [First, First + Heads) that share one KV head.</summary>
internal readonly record struct HeadGroup(int First, int Heads, int KvHead);

/// <summary>One piece of an attention call.</summary>
/// <param name="Tile">Rows, and the positions that are walked for them.</param>
/// <param name="Group">Heads.</param>
/// <param name="Segment">Where the state of a segment that is walked apart goes; −1 = the tile is walked whole.</param>
internal readonly record struct AttentionItem(RowTile Tile, HeadGroup Group, int Segment);

/// <summary>How one attention call is cut: tiles of rows × groups of heads, and where those are too few for the threads, segments of what a micro-tile sees. The cut changes no bit.</summary>
/// <remarks>Threads   rebuilt by the caller before a job, read by all threads during it. Arrays grow and stay.</remarks>
internal sealed unsafe class AttentionPlan
{
    /// <summary>(token, head) pairs of a tile: enough that converting a chunk of keys and values once costs little beside using it.</summary>
    private const int TilePairs = 128;

    /// <summary>Fewer items than so many a thread do not share evenly among threads: then segments are items of their own.</summary>
    private const int ItemsPerThread = 8;

    private const int SegmentPositions = SoftmaxState.SegmentPositions;

    private readonly List<AttentionItem> _split = [];
    private RowTile[] _tiles = [];
    private HeadGroup[] _groups = [];

    /// <summary>Number of tiles.</summary>
    public int Tiles { get; private set; }

    /// <summary>Number of groups.</summary>
    public int Groups { get; private set; }

    /// <summary>Number of items.</summary>
    public int Items => _split.Count > 0 ? _split.Count : Tiles * Groups;

    /// <summary>Segments that are walked apart.</summary>
    public int Segments { get; private set; }

    /// <summary>The most (token, head) pairs of any tile and group.</summary>
    public int MostPairs { get; private set; }

    /// <summary>Scores of the whole call: pairs times visible positions.</summary>
    public long Scores { get; private set; }

    /// <summary>A work item, those with the longest past first; segments of one tile and group follow each other, ascending.</summary>
    public AttentionItem Item(int index) => _split.Count > 0 ? _split[index] : new(_tiles[Tiles - 1 - index / Groups], _groups[index % Groups], Segment: -1);

    /// <summary>Cuts a step.</summary>
    /// <param name="threads">Who shares the items.</param>
    /// <exception cref="ArgumentException">A position or sequence is out of range.</exception>
    public void Build(StepTensors step, AttentionShape shape, KvLayer cache, int threads)
    {
        int mostHeads = BuildGroups(shape, cache);
        BuildTiles(step, shape, cache, Math.Max(1, TilePairs / mostHeads));
        int mostRows = 0;
        Scores = 0;
        for (int i = 0; i < Tiles; i++)
        {
            RowTile tile = _tiles[i];
            mostRows = Math.Max(mostRows, tile.Rows);
            Scores += (long)tile.Rows * (tile.MaxLast + 1 - tile.MinFirst) * shape.KvHeadOfHead.Count;
        }
        MostPairs = mostRows * mostHeads;
        _split.Clear();
        Segments = 0;
        if (threads > 1 && Tiles * Groups < ItemsPerThread * threads)
            Split();
    }

    private void Split()
    {
        int whole = Tiles * Groups;
        for (int index = 0; index < whole; index++)
        {
            RowTile tile = _tiles[Tiles - 1 - index / Groups];
            HeadGroup group = _groups[index % Groups];
            int first = tile.MinFirst / SegmentPositions, last = tile.MaxLast / SegmentPositions;
            bool apart = first < last && tile.Rows * group.Heads <= OuterProducts.Rows;
            for (int segment = first; segment <= last && apart; segment++)
            {
                RowTile part = tile with { MinFirst = Math.Max(tile.MinFirst, segment * SegmentPositions), MaxLast = Math.Min(tile.MaxLast, (segment + 1) * SegmentPositions - 1) };
                _split.Add(new AttentionItem(part, group, Segments++));
            }
            if (!apart)
                _split.Add(new AttentionItem(tile, group, Segment: -1));
        }
        if (Segments == 0)
            _split.Clear();
    }

    private int BuildGroups(AttentionShape shape, KvLayer cache)
    {
        int heads = shape.KvHeadOfHead.Count, most = 1;
        if (_groups.Length < heads)
            _groups = new HeadGroup[heads];
        Groups = 0;
        for (int head = 0; head < heads; head++)
        {
            int kvHead = shape.KvHeadOfHead[head];
            Require.That((uint)kvHead < (uint)cache.Heads, $"Query head {head} wants KV head {kvHead} of {cache.Heads}.");
            if (Groups > 0 && _groups[Groups - 1].KvHead == kvHead)
                _groups[Groups - 1] = _groups[Groups - 1] with { Heads = _groups[Groups - 1].Heads + 1 };
            else
                _groups[Groups++] = new HeadGroup(head, 1, kvHead);
            most = Math.Max(most, _groups[Groups - 1].Heads);
        }
        return most;
    }

    private void BuildTiles(StepTensors step, AttentionShape shape, KvLayer cache, int mostRows)
    {
        int rows = step.Positions.Rows;
        long limit = (long)step.BlockTables.Columns * cache.BlockTokens;
        if (_tiles.Length < rows)
            _tiles = new RowTile[Math.Max(rows, 2 * _tiles.Length)];
        Tiles = 0;
        int lastSequence = -1;
        for (int row = 0; row < rows; row++)
        {
            int position = step.Positions.HostRow<int>(row)[0], sequence = step.SequenceOfRow.HostRow<int>(row)[0];
            Require.That(position >= 0 && position < limit, $"Position {position} of row {row} is beyond the {step.BlockTables.Columns} blocks of its sequence.");
            Require.That((uint)sequence < (uint)step.BlockTables.Rows, $"Row {row} belongs to sequence {sequence} of {step.BlockTables.Rows}.");
            int first = FirstVisible(position, shape.Window);
            if (sequence == lastSequence && _tiles[Tiles - 1].Rows < mostRows)
            {
                RowTile tile = _tiles[Tiles - 1];
                _tiles[Tiles - 1] = new RowTile(tile.First, tile.Rows + 1, Math.Min(tile.MinFirst, first), Math.Max(tile.MaxLast, position));
            }
            else
            {
                _tiles[Tiles++] = new RowTile(row, 1, first, position);
            }
            lastSequence = sequence;
        }
    }

    /// <summary>The first position that a token at <paramref name="position"/> sees.</summary>
    public static int FirstVisible(int position, int window) => window > 0 ? Math.Max(0, position - window + 1) : 0;
}
