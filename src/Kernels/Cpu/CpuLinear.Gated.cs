using TpServe.Kernels.Cpu.Ops;

namespace TpServe.Kernels.Cpu;

/// <summary>down(act(gate(x)) · up(x)): what gate and up give is activated and rounded for down while it is in the cache, and never written as float32.</summary>
/// <remarks>
/// An item is 32 outputs of gate and of up, which are one block of down's activations. Rows go in strips of tiles, so that an item's floats stay
/// close; its panels wait in the second-level cache for the next strip.
/// Cost     saves writing and reading six times m floats a row.
/// </remarks>
internal sealed unsafe partial class CpuLinear
{
    /// <summary>Fewer rows only stream the weights, and gate's and up's panels in turn are two streams: measured 2.09 against 1.79 ms a step at one row, less from eight on.</summary>
    private const int FewestRows = 4;

    private const int Block = 32;
    private const int StripRows = 64;
    private const int StripFloats = (StripRows + PanelKernel.MostRows) * Block; // a strip ends with the tile that reaches StripRows

    private HostBuffer _strips = new(0);
    private Activation _activation;
    private int _firstUpPanel;

    /// <summary>The pieces of the whole; false where the matrices do not fit this way, and nothing is done.</summary>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public bool TryGatedPieces(Tensor x, ReadOnlySpan<PackedWeight> gateUp, Activation activation, PackedWeight down, Tensor pieces)
    {
        // 1. Gate and up: one matrix whose halves meet between two panels, or two of one layout.
        CpuPackedWeight gate = Own(gateUp[0]), up = Own(gateUp[^1]), own = Own(down);
        int columns = own.Leaves.Columns, outputs = gate.Panel.PanelOutputs;
        bool isOne = gateUp.Length == 1 && gate.Outputs == 2 * columns;
        bool areTwo = gateUp.Length == 2 && gate.Outputs == columns && up.Outputs == columns && up.Panel.PanelOutputs == outputs;
        if (x.Rows < FewestRows || !(isOne || areTwo) || gate.Leaves.Pieces != 1 || up.Leaves.Pieces != 1 || !own.Plan.VisitsEachBlockOnce)
            return false;
        Begin(x, gateUp.Length);
        CheckPieces(own, pieces);
        foreach (PackedWeight part in gateUp)
            Add(Own(part), 0);
        if (_inputCount > 1)
            return false;
        (_firstUpPanel, _activation) = (isOne ? columns / outputs : 0, activation);

        // 2. All items, into down's tiles behind the other ones.
        RowTiles downTiles = new(_rows, own.Activations.Shape);
        long downAt = _inputOffsets[1], end = downAt + ((long)own.Activations.RowBytes * own.Plan.Visits.Length * _rows);
        FillTiles(end);
        if (_strips.Bytes < 2L * StripFloats * sizeof(float) * threads.Count)
        {
            _strips.Dispose();
            _strips = new HostBuffer(2L * StripFloats * sizeof(float) * threads.Count);
        }
        GatedWork items = new(this, own, downTiles, downAt);
        threads.Run(ref items, columns / Block, Grain(columns / Block, 2 * Block / outputs * gate.PanelBytes * _rows));

        // 3. Down, on tiles that are filled already.
        (_inputs[0], _inputOffsets[0], _tilesOf[0], _inputCount) = (0, downAt, downTiles, 1);
        (_parts[0], _inputOf[0], _columns[0], _firstPanels[1], _partCount) = (own, 0, 0, own.Panels, 1);
        Multiply(pieces);
        return true;
    }

    private void ComputeGated(CpuPackedWeight down, RowTiles downTiles, long downAt, int first, int end, int thread)
    {
        float* gate = (float*)_strips.Pointer + (2L * StripFloats * thread), up = gate + StripFloats;
        RowTiles tiles = _tilesOf[0];
        for (int item = first; item < end; item++)
        {
            int downTile = 0;
            for (int tile = 0, row = 0; tile < tiles.Count;)
            {
                int from = tile, firstRow = row;
                for (; tile < tiles.Count && row - firstRow < StripRows; tile++)
                    row += tiles[tile].Rows * tiles[tile].Groups;
                RunStrip(_parts[0], 0, item, from, tile, gate, thread);
                RunStrip(_parts[_partCount - 1], _firstUpPanel, item, from, tile, up, thread);
                GatedActivation.InPlace(_activation, gate, up, (row - firstRow) * Block);
                FillBlock(down, downTiles, ref downTile, downAt, item, gate, firstRow, row);
            }
        }
    }

    /// <summary>The item's 32 outputs of one of the two for the rows of tiles [from, to): target [rows, 32].</summary>
    private void RunStrip(CpuPackedWeight part, int firstPanel, int item, int from, int to, float* target, int thread)
    {
        int outputs = part.Panel.PanelOutputs, firstRow = _tilesOf[0][from].First;
        for (int i = 0; i < Block / outputs; i++)
        {
            int panel = firstPanel + (item * Block / outputs) + i;
            // The first strip reads the panels from memory; what follows finds them in the cache.
            byte* next = from == 0 && _rows >= part.Panel.PrefetchRows && panel + 1 < part.Panels ? part.PanelAt(panel + 1) : null;
            PanelCall call = PanelRun.New(part, panel, next, to - from, _scratch, thread);
            call.OutputStride = Block * sizeof(float);
            for (int tile = from; tile < to; tile++)
            {
                (int row, int rows, int groups) = _tilesOf[0][tile];
                call.Activations = TileAt(0, row);
                call.Output = target + ((row - firstRow) * Block) + (i * outputs);
                PanelRun.Run(part, rows, groups, next, ref call);
            }
        }
    }

    /// <summary>Rounds rows [firstRow, endRow) of one block into down's tiles; <paramref name="tile"/> is where firstRow lies.</summary>
    private void FillBlock(CpuPackedWeight down, RowTiles tiles, ref int tile, long downAt, int block, float* values, int firstRow, int endRow)
    {
        long rowBytes = down.Activations.RowBytes, visits = down.Plan.Visits.Length;
        for (int row = firstRow; row < endRow; row++, values += Block)
        {
            (int first, int rows, int groups) = tiles[tile];
            int local = row - first;
            byte* at = _tiles.Pointer + downAt + (first * rowBytes * visits) + (block * groups * rows * rowBytes) + (local / rows * rows * rowBytes);
            ActivationTile.FillBlock(down.Activations, values, local % rows, rows, at);
            if (local == (rows * groups) - 1)
                tile++;
        }
    }

    private readonly struct GatedWork(CpuLinear owner, CpuPackedWeight down, RowTiles downTiles, long downAt) : IParallelWork
    {
        public void Execute(int first, int end, int thread) => owner.ComputeGated(down, downTiles, downAt, first, end, thread);
    }
}
