using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Matrix products of one rank: packs weights, lays activations out in tiles, shares panels among the threads.</summary>
/// <remarks>
/// Threads  the rank's thread calls; its threads draw ranges of panels, and every output of a row is computed by one of them alone.
/// Cost     few rows: the weights are read once, in one ascending stream per panel. More: tiles of equal height use a panel while the next one
///          is prefetched.
/// Numerics <see cref="PanelKernel"/>; rows, tiles and threads never change a bit.
/// </remarks>
internal sealed unsafe partial class CpuLinear(CpuThreads threads, IsaPath isa, CpuActivations activations) : IDisposable
{
    private const int ChunksPerThread = 8;
    private const long SmallestChunkBytes = 64 << 10;
    private const int SerialFillValues = 16 << 10;

    private readonly ThreadScratch _scratch = new(threads.Count);
    private HostBuffer _tiles = new(1 << 20);

    // The product under way: written by the caller before the threads are called, read by them.
    private CpuPackedWeight[] _parts = new CpuPackedWeight[8];
    private int[] _firstPanels = new int[9];
    private int[] _columns = new int[8];
    private int[] _inputOf = new int[8];
    private int[] _inputs = new int[8];
    private long[] _inputOffsets = new long[9];
    private int _partCount;
    private int _inputCount;
    private Tensor _x;
    private Tensor _y;
    private int _rows;
    private RowTiles[] _tilesOf = new RowTiles[8];
    private int[] _firstFills = new int[9];

    /// <summary>Repacks a matrix of the file.</summary>
    public CpuPackedWeight Pack(WeightRows rows, InputLeaves leaves) => Pack(rows, leaves, [], out _);

    /// <summary>Repacks a matrix of the file, and takes what is packed already from where it is.</summary>
    public CpuPackedWeight Pack(WeightRows rows, InputLeaves leaves, IReadOnlyList<KeptRows> kept, out long readBytes)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(leaves);
        PanelFormat panel = PanelFormat.Of(rows.Format);
        (PanelKernel kernel, ActivationLayout layout) = PanelKernel.For(panel, activations, isa);
        LeafPlan plan = new(leaves);
        CpuPackedWeight weight = new(rows, plan, panel, kernel, layout, threads, kept, out readBytes);
        _scratch.Reserve(plan.MostSums);
        return weight;
    }

    /// <summary>y = x · Wᵀ for matrices of one input; outputs side by side.</summary>
    /// <exception cref="ArgumentException">Shapes disagree, or a part leaves several pieces.</exception>
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y)
    {
        int columns = 0;
        Begin(x, parts.Length);
        for (int i = 0; i < parts.Length; i++)
        {
            CpuPackedWeight part = Own(parts[i]);
            if (part.Leaves.Pieces != 1)
                throw new ArgumentException($"Part {i} leaves {part.Leaves.Pieces} pieces; Linear takes one.");
            Add(part, columns);
            columns += part.Outputs;
        }
        if (y.Rows != x.Rows || y.Columns != columns || y.Type != ElementType.Float32)
            throw new ArgumentException($"The product of {x} and {columns} outputs does not fit {y}.");
        Compute(y);
    }

    /// <summary>The pieces of one row-parallel product: piece p of row r is row p · n + r.</summary>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public void Pieces(Tensor x, PackedWeight weight, Tensor pieces)
    {
        Begin(x, 1);
        CpuPackedWeight part = Own(weight);
        Add(part, 0);
        CheckPieces(part, pieces);
        Compute(pieces);
    }

    /// <summary>y = scale · row of the table + 0, and zeros for tokens that other ranks hold.</summary>
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y)
    {
        CpuPackedWeight own = Own(table);
        if (tokenIds.Columns != 1 || tokenIds.Type != ElementType.Int32 || y.Rows != tokenIds.Rows || y.Columns != own.Leaves.Columns || y.Type != ElementType.Float32)
            throw new ArgumentException($"Rows of {own.Leaves.Columns} values for {tokenIds} do not fit {y}.");
        EmbedWork work = new(tokenIds, own, firstRow, scale, y);
        threads.Run(ref work, y.Rows, 4);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scratch.Dispose();
        _tiles.Dispose();
        _strips.Dispose();
    }

    private void CheckPieces(CpuPackedWeight part, Tensor pieces)
    {
        if (pieces.Rows != _rows * part.Leaves.Pieces || pieces.Columns != part.Outputs || pieces.Type != ElementType.Float32 || !pieces.IsContiguous)
            throw new ArgumentException($"{part.Leaves.Pieces} pieces of {_rows} rows and {part.Outputs} outputs do not fit {pieces}.");
    }

    private static CpuPackedWeight Own(PackedWeight weight) =>
        weight as CpuPackedWeight ?? throw new ArgumentException($"A {weight?.GetType().Name ?? "null"} was not packed by this backend.");

    private void Begin(Tensor x, int parts)
    {
        if (x.Type != ElementType.Float32)
            throw new ArgumentException($"Activations are float32, not {x}.");
        if (parts > _parts.Length)
        {
            _parts = new CpuPackedWeight[parts];
            _firstPanels = new int[parts + 1];
            _columns = new int[parts];
            _inputOf = new int[parts];
            _inputs = new int[parts];
            _inputOffsets = new long[parts + 1];
            _tilesOf = new RowTiles[parts];
            _firstFills = new int[parts + 1];
        }
        _x = x;
        _rows = x.Rows;
        _partCount = _inputCount = 0;
        _firstPanels[0] = 0;
        _inputOffsets[0] = 0;
    }

    private void Add(CpuPackedWeight part, int column)
    {
        if (_x.Columns != part.Leaves.Columns)
            throw new ArgumentException($"A weight of {part.Leaves.Columns} inputs does not fit {_x}.");
        int input = 0;
        while (input < _inputCount && !(_parts[_inputs[input]].Activations == part.Activations && _parts[_inputs[input]].Plan.VisitsLike(part.Plan)))
            input++;
        if (input == _inputCount)
        {
            _tilesOf[input] = new RowTiles(_rows, part.Activations.Shape);
            _firstFills[input + 1] = _firstFills[input] + _tilesOf[input].Count;
            _inputs[_inputCount++] = _partCount;
            long bytes = (long)part.Activations.RowBytes * part.Plan.Visits.Length * _rows;
            _inputOffsets[_inputCount] = _inputOffsets[input] + ((bytes + 63) / 64 * 64);
        }
        _inputOf[_partCount] = input;
        _columns[_partCount] = column;
        _parts[_partCount++] = part;
        _firstPanels[_partCount] = _firstPanels[_partCount - 1] + part.Panels;
    }

    private void Compute(Tensor y)
    {
        if (_rows == 0 || _partCount == 0)
            return;
        FillTiles(_inputOffsets[_inputCount]);
        Multiply(y);
    }

    private void Multiply(Tensor y)
    {
        _y = y;
        PanelWork products = new(this);
        int panels = _firstPanels[_partCount];
        threads.Run(ref products, panels, Grain(panels, _parts[0].PanelBytes * _rows));
    }

    /// <summary>Lays out the activations, once for all parts that read the same layout, in a buffer of <paramref name="bytes"/>.</summary>
    private void FillTiles(long bytes)
    {
        if (bytes > _tiles.Bytes) // grows while batches grow, then never again
        {
            _tiles.Dispose();
            _tiles = new HostBuffer(bytes * 3 / 2);
        }
        FillWork fill = new(this);
        int fills = _firstFills[_inputCount];
        threads.Run(ref fill, fills, (long)_rows * _x.Columns < SerialFillValues ? fills : 1); // one row is cheaper than waking anybody
    }

    /// <summary>How many items a thread draws at once: the same number of times each, and each time enough to be worth drawing.</summary>
    private int Grain(int items, long itemBytes)
    {
        long turns = Math.Clamp(items * itemBytes / (threads.Count * SmallestChunkBytes), 1, ChunksPerThread) * threads.Count;
        return (int)Math.Max(1, (items + turns - 1) / turns);
    }

    private byte* TileAt(int input, int firstRow)
    {
        CpuPackedWeight part = _parts[_inputs[input]];
        return _tiles.Pointer + _inputOffsets[input] + ((long)firstRow * part.Activations.RowBytes * part.Plan.Visits.Length);
    }

    private void Fill(int input, int tile)
    {
        (int first, int rows, int groups) = _tilesOf[input][tile];
        CpuPackedWeight part = _parts[_inputs[input]];
        long groupBytes = (long)part.Activations.RowBytes * rows;
        for (int group = 0; group < groups; group++)
        {
            ActivationTile.Fill(
                part.Activations, part.Plan, _x.HostRow<float>(first + (group * rows)), _x.RowStride, rows,
                TileAt(input, first) + (group * groupBytes), groups * groupBytes);
        }
    }

    private void ComputePanels(int first, int end, int thread)
    {
        int index = 0;
        for (int item = first; item < end; item++)
        {
            while (item >= _firstPanels[index + 1])
                index++;
            CpuPackedWeight part = _parts[index];
            int panel = item - _firstPanels[index];
            byte* next = item + 1 == end || _rows < part.Panel.PrefetchRows ? null
                : item + 1 < _firstPanels[index + 1] ? part.PanelAt(panel + 1) : _parts[index + 1].PanelAt(0);
            ComputePanel(part, index, panel, next, thread);
        }
    }

    private void ComputePanel(CpuPackedWeight part, int index, int panel, byte* next, int thread)
    {
        int outputs = part.Panel.PanelOutputs, column = panel * outputs;
        int valid = Math.Min(outputs, part.Outputs - column);
        RowTiles tiles = _tilesOf[_inputOf[index]];
        PanelCall call = PanelRun.New(part, panel, next, tiles.Count, _scratch, thread);
        for (int tile = 0; tile < tiles.Count; tile++)
        {
            (int first, int rows, int groups) = tiles[tile];
            bool direct = valid == outputs && call.Pieces == 1;
            float* target = _y.HostRow<float>(first) + _columns[index] + column;
            call.Activations = TileAt(_inputOf[index], first);
            call.Output = direct ? target : _scratch.Tile(thread);
            call.OutputStride = sizeof(float) * (long)(direct ? _y.RowStride : outputs);
            PanelRun.Run(part, rows, groups, next, ref call);
            if (direct)
                continue;
            float* source = call.Pieces == 1 ? call.Output : call.Stack;
            for (int piece = 0; piece < call.Pieces; piece++)
            {
                for (int row = 0; row < rows * groups; row++, source += outputs)
                {
                    float* to = _y.HostRow<float>((piece * _rows) + first + row) + _columns[index] + column;
                    new ReadOnlySpan<float>(source, valid).CopyTo(new Span<float>(to, valid));
                }
            }
        }
    }

    private readonly struct FillWork(CpuLinear owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            int input = 0;
            for (int i = first; i < end; i++)
            {
                while (i >= owner._firstFills[input + 1])
                    input++;
                owner.Fill(input, i - owner._firstFills[input]);
            }
        }
    }

    private readonly struct PanelWork(CpuLinear owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread) => owner.ComputePanels(first, end, thread);
    }

    private readonly struct EmbedWork(Tensor tokenIds, CpuPackedWeight table, int firstRow, float scale, Tensor y) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int row = first; row < end; row++)
            {
                long own = (long)*tokenIds.HostRow<int>(row) - firstRow;
                Span<float> values = y.HostSpan<float>(row);
                if (own < 0 || own >= table.Outputs)
                {
                    values.Clear();
                    continue;
                }
                table.DecodeRow((int)own, values);
                for (int i = 0; i < values.Length; i++)
                    values[i] = (values[i] * scale) + 0f; // turns −0 into +0
            }
        }
    }
}
