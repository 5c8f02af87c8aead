namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Rows [First, First + Rows) of one sequence that share loads of keys and values; together they see positions [MinFirst, MaxLast].</summary>
internal readonly record struct RowTile(int First, int Rows, int MinFirst, int MaxLast);

/// <summary>Query heads [First, First + Heads) that share one KV head.</summary>
internal readonly record struct HeadGroup(int First, int Heads, int KvHead);

/// <summary>How one attention call is cut: tiles of rows × groups of heads. The cut changes no bit.</summary>
/// <remarks>Threads   rebuilt by the caller before a job, read by all threads during it. Arrays grow and stay.</remarks>
internal sealed unsafe class AttentionPlan
{
    /// <summary>(token, head) pairs of a tile: enough that converting a chunk of keys and values once costs little beside using it.</summary>
    private const int TilePairs = 128;

    private RowTile[] _tiles = [];
    private HeadGroup[] _groups = [];

    /// <summary>Number of tiles.</summary>
    public int Tiles { get; private set; }

    /// <summary>Number of groups.</summary>
    public int Groups { get; private set; }

    /// <summary>The most (token, head) pairs of any tile and group.</summary>
    public int MostPairs { get; private set; }

    /// <summary>Scores of the whole call: pairs times visible positions.</summary>
    public long Scores { get; private set; }

    /// <summary>The tile and group of a work item, those with the longest past first.</summary>
    public (RowTile Tile, HeadGroup Group) Item(int index) => (_tiles[Tiles - 1 - index / Groups], _groups[index % Groups]);

    /// <summary>Cuts a step.</summary>
    /// <exception cref="ArgumentException">A position or sequence is out of range.</exception>
    public void Build(StepTensors step, AttentionShape shape, KvLayer cache)
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
