namespace TpServe.Kernels.Cpu;

/// <summary>The rows of a step by the expert they go through, and where each expert's activations lie.</summary>
/// <remarks>Threads   built by the rank's thread before the others work, read by them.</remarks>
internal sealed class ExpertGroups
{
    private int[] _ends = [];
    private int[] _rowOf = [];
    private float[] _weightOf = [];
    private ExpertGroup[] _groups = [];
    private int _count;

    /// <summary>Experts that some row goes through, in ascending id; the shared one is last.</summary>
    public ReadOnlySpan<ExpertGroup> Groups => _groups.AsSpan(0, _count);

    /// <summary>Rows of all of them together.</summary>
    public int Rows { get; private set; }

    /// <summary>Most rows of one.</summary>
    public int MostRows { get; private set; }

    /// <summary>Bytes that all tiles of activations take.</summary>
    public long TileBytes { get; private set; }

    /// <summary>The row of x that stands at a place.</summary>
    public int RowAt(int place) => _rowOf[place];

    /// <summary>The weight of the expert at a place.</summary>
    public float WeightAt(int place) => _weightOf[place];

    /// <summary>Groups the rows; those of one expert keep their order.</summary>
    /// <exception cref="ArgumentException">An id is of no expert, or a weight was packed by another backend.</exception>
    public void Build(Tensor ids, Tensor weights, ExpertMlp mlp)
    {
        int experts = mlp.Routed.Count, known = mlp.Shared is null ? experts : experts + 1, chosen = ids.Columns;
        Reserve(experts + 2, ids.Rows * chosen);
        Span<int> ends = _ends.AsSpan(0, experts + 2);
        ends.Clear();

        // 1. How many rows each has, then where they begin.
        for (int row = 0; row < ids.Rows; row++)
            foreach (int id in ids.HostSpan<int>(row))
            {
                Require.That((uint)id <= (uint)experts, $"Row {row} goes through expert {id} of {experts}.");
                if (id < known)
                    ends[id + 1]++;
            }
        for (int id = 1; id < ends.Length; id++)
            ends[id] += ends[id - 1];

        // 2. Experts that have some, and what their activations take.
        _count = 0;
        (Rows, MostRows, TileBytes) = (ends[known], 0, 0);
        int fills = 0, items = 0;
        for (int id = 0; id < known; id++)
        {
            if (ends[id + 1] == ends[id])
                continue;
            ExpertGroup before = _count == 0 ? default : _groups[_count - 1];
            ExpertGroup group = id < experts ? new(mlp.Routed, id, ends[id], ends[id + 1] - ends[id]) : new(mlp.Shared!, 0, ends[id], ends[id + 1] - ends[id]);
            // A single row is laid out once for all experts of a stack.
            bool isLaid = ids.Rows == 1 && before.Count == 1 && before.Gate == group.Gate;
            group.GateAt = isLaid ? before.GateAt : Take(group.Gate, group.Count);
            group.UpAt = isLaid ? before.UpAt : group.IsAlike ? group.GateAt : Take(group.Up, group.Count);
            group.DownAt = Take(group.Down, group.Count);
            group.FirstFill = fills;
            fills += isLaid ? 0 : group.GateTiles.Count + (group.IsAlike ? 0 : group.UpTiles.Count);
            group.FirstItem = items;
            items += (group.Columns + ExpertStack.Alignment - 1) / ExpertStack.Alignment;
            MostRows = Math.Max(MostRows, group.Count);
            _groups[_count++] = group;
        }
        (Fills, Items) = (fills, items);

        // 3. The rows themselves.
        for (int row = 0; row < ids.Rows; row++)
        {
            Span<int> own = ids.HostSpan<int>(row);
            for (int i = 0; i < own.Length; i++)
            {
                if (own[i] >= known)
                    continue;
                int place = ends[own[i]]++;
                _rowOf[place] = row;
                _weightOf[place] = weights.HostSpan<float>(row)[i];
            }
        }
    }

    /// <summary>Tiles of x to be filled.</summary>
    public int Fills { get; private set; }

    /// <summary>Blocks of 32 columns of gate and up.</summary>
    public int Items { get; private set; }

    private long Take(CpuPackedWeight weight, int rows)
    {
        long at = TileBytes;
        TileBytes += ((long)weight.Activations.RowBytes * weight.Plan.Visits.Length * rows + 63) / 64 * 64;
        return at;
    }

    private void Reserve(int experts, int places)
    {
        if (_ends.Length < experts)
        {
            _ends = new int[experts];
            _groups = new ExpertGroup[experts];
        }
        if (_rowOf.Length < places)
        {
            _rowOf = new int[2 * places];
            _weightOf = new float[2 * places];
        }
    }
}

/// <summary>One expert's rows of a step.</summary>
internal struct ExpertGroup
{
    /// <summary>The rows at places [first, first + count) go through an expert of a stack.</summary>
    public ExpertGroup(ExpertStack stack, int expert, int first, int count)
    {
        (Stack, Expert, First, Count) = (stack, expert, first, count);
        (Gate, Up, Down) = (Own(stack.Gate), Own(stack.Up), Own(stack.Down));
        IsAlike = Gate.Activations == Up.Activations && Gate.Plan.VisitsLike(Up.Plan);
        GateTiles = new RowTiles(count, Gate.Activations.Shape);
        UpTiles = new RowTiles(count, Up.Activations.Shape);
        DownTiles = new RowTiles(count, Down.Activations.Shape);
    }

    public ExpertStack Stack;
    public int Expert;

    /// <summary>Place of its first row.</summary>
    public int First;
    public int Count;
    public CpuPackedWeight Gate;
    public CpuPackedWeight Up;
    public CpuPackedWeight Down;

    /// <summary>True where gate and up read the same tiles.</summary>
    public bool IsAlike;
    public RowTiles GateTiles;
    public RowTiles UpTiles;
    public RowTiles DownTiles;

    /// <summary>Where the tiles lie, in bytes.</summary>
    public long GateAt;
    public long UpAt;
    public long DownAt;

    /// <summary>Number of its first tile to be filled, among those of all experts.</summary>
    public int FirstFill;

    /// <summary>Number of its first block of gate and up.</summary>
    public int FirstItem;

    /// <summary>Down's inputs on this rank.</summary>
    public readonly int Columns => Down.Leaves.Columns;

    /// <summary>True where a block of gate and up is a block of down's activations.</summary>
    public readonly bool IsDirect => Down.Plan.VisitsEachBlockOnce;

    private static CpuPackedWeight Own(PackedWeight weight) =>
        weight as CpuPackedWeight ?? throw new ArgumentException($"A {weight?.GetType().Name ?? "null"} was not packed by this backend.");
}
