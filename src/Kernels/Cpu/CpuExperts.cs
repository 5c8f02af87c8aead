using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels.Cpu.Ops;

namespace TpServe.Kernels.Cpu;

/// <summary>Mixtures of experts: Σ_e w_e · down_e(act(gate_e(x), up_e(x))) over each row's experts, leaf by leaf.</summary>
/// <remarks>
/// 1. Rows are grouped by expert; each expert's rows are laid out in tiles as for any product.
/// 2. Gate and up: an item is 32 columns of one expert, which are activated while they are in the cache and become one block of down's activations.
/// 3. Down: an item is some outputs of all experts. A leaf's products stay apart in the kernel, are weighted and added to the row's sum of that leaf, expert after
///    expert; then the leaves are merged. Leaves go in runs, so that the sums of all rows stay in the cache.
/// Numerics <see cref="ITensorBackend.ExpertPieces"/>; threads share experts' columns and outputs, never a sum.
/// Cost     reads the weights of each chosen expert once; a sum takes one multiply-add a leaf, row, expert and output beside the products.
/// Threads  the rank's thread calls. Allocates only where a step is larger than any before.
/// </remarks>
internal sealed unsafe class CpuExperts(CpuThreads threads) : IDisposable
{
    private const int Block = ExpertStack.Alignment;
    private const int StripRows = 64;
    private const int SerialFillValues = 16 << 10;

    /// <summary>What a thread's sums of a run of leaves take at most; they should stay in its second-level cache.</summary>
    private const int SumBytes = 512 << 10;

    /// <summary>Few rows: so many bytes of sums, to read longer parts of each expert at once.</summary>
    private const int FewRowsBytes = 32 << 10;

    private readonly ThreadScratch _scratch = new(threads.Count);
    private readonly ExpertGroups _groups = new();
    private HostBuffer _tiles = new(0);
    private HostBuffer _strips = new(0);
    private HostBuffer _activated = new(0);
    private HostBuffer _sums = new(0);
    private int[] _merges = [];
    private long[] _activatedAt = [];

    // The call under way: written by the caller before the threads are called, read by them.
    private ExpertMlp? _mlp;
    private Tensor _x;
    private Tensor _pieces;
    private int _rows;
    private int _leaves;
    private int _stripRows;
    private int _runLeaves;
    private int _depth;
    private int _unitsOfItem;

    /// <summary>The partial sums of a layer's experts.</summary>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public void Pieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces)
    {
        ExpertShapes.OfPieces(x, ids, weights, mlp, pieces.Columns, pieces);
        if (x.Rows == 0)
            return;
        (_mlp, _x, _pieces, _rows, _leaves) = (mlp, x, pieces, x.Rows, mlp.Merges.Count);
        _groups.Build(ids, weights, mlp);
        Reserve();

        FillWork fill = new(this);
        threads.Run(ref fill, _groups.Fills, (long)_groups.Fills * x.Columns < SerialFillValues ? Math.Max(1, _groups.Fills) : 1);
        GatedWork gated = new(this);
        threads.Run(ref gated, _groups.Items, Grain(_groups.Items));
        RefillWork refill = new(this);
        if (!_groups.Groups[0].IsDirect || !_groups.Groups[^1].IsDirect)
            threads.Run(ref refill, _groups.Groups.Length, 1);
        DownWork down = new(this);
        int units = Units();
        threads.Run(ref down, (units + _unitsOfItem - 1) / _unitsOfItem, 1);
        _mlp = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scratch.Dispose();
        _tiles.Dispose();
        _strips.Dispose();
        _activated.Dispose();
        _sums.Dispose();
    }

    private int Units() => (_pieces.Columns + Block - 1) / Block;

    private int Grain(int items) => Math.Max(1, items / (8 * threads.Count));

    private void Reserve()
    {
        bool isAlike = true;
        long activated = 0;
        if (_activatedAt.Length < _groups.Groups.Length)
            _activatedAt = new long[_groups.Groups.Length + 16];
        for (int i = 0; i < _groups.Groups.Length; i++)
        {
            ref readonly ExpertGroup group = ref _groups.Groups[i];
            isAlike &= group.Gate.Activations.Shape == group.Up.Activations.Shape;
            _activatedAt[i] = activated;
            activated += group.IsDirect ? 0 : (long)group.Count * ExpertStack.Stride(group.Columns);
            _scratch.Reserve(Math.Max(group.Down.Plan.MostSums, Math.Max(group.Gate.Plan.MostSums, group.Up.Plan.MostSums)));
        }
        // Strips of gate and up begin at the same rows only where both are cut into the same tiles.
        _stripRows = isAlike ? StripRows + PanelKernel.MostRows : _groups.MostRows;
        if (_merges.Length < _leaves)
            _merges = new int[_leaves];
        int depth = 0;
        _depth = 1;
        for (int leaf = 0; leaf < _leaves; leaf++)
        {
            _merges[leaf] = _mlp!.Merges[leaf];
            _depth = Math.Max(_depth, ++depth);
            depth -= _merges[leaf];
        }
        _runLeaves = (int)Math.Clamp(SumBytes / ((long)_rows * Block * sizeof(float)), 1, _leaves);
        long unitBytes = (long)_rows * (_runLeaves + _depth) * Block * sizeof(float);
        _unitsOfItem = (int)Math.Clamp(FewRowsBytes / unitBytes, 1, Math.Max(1, Units() / (4 * threads.Count)));
        Grow(ref _tiles, _groups.TileBytes);
        Grow(ref _strips, 2L * _stripRows * Block * sizeof(float) * threads.Count);
        Grow(ref _activated, activated * sizeof(float));
        Grow(ref _sums, unitBytes * _unitsOfItem * threads.Count);
    }

    private static void Grow(ref HostBuffer buffer, long bytes)
    {
        if (bytes <= buffer.Bytes)
            return;
        buffer.Dispose();
        buffer = new HostBuffer(bytes * 3 / 2);
    }

    /// <summary>Lays out one tile of an expert's rows, for gate or for up.</summary>
    private void Fill(in ExpertGroup group, int tile)
    {
        bool isUp = tile >= group.GateTiles.Count;
        CpuPackedWeight part = isUp ? group.Up : group.Gate;
        (int first, int rows, int groups) = isUp ? group.UpTiles[tile - group.GateTiles.Count] : group.GateTiles[tile];
        byte* at = _tiles.Pointer + (isUp ? group.UpAt : group.GateAt) + ((long)first * part.Activations.RowBytes * part.Plan.Visits.Length);
        long groupBytes = (long)part.Activations.RowBytes * rows;
        for (int row = 0; row < rows * groups; row++)
            ActivationTile.FillRow(
                part.Activations, part.Plan, _x.HostRow<float>(_groups.RowAt(group.First + first + row)), row % rows, rows, at + (row / rows * groupBytes), groups * groupBytes);
    }

    private void Gated(in ExpertGroup group, int index, int block, int thread)
    {
        float* gate = (float*)_strips.Pointer + (2L * _stripRows * Block * thread), up = gate + ((long)_stripRows * Block);
        bool isAlike = group.Gate.Activations.Shape == group.Up.Activations.Shape;
        int downTile = 0;
        for (int tile = 0, row = 0; tile < group.GateTiles.Count;)
        {
            int from = tile, firstRow = row;
            for (; tile < group.GateTiles.Count && (!isAlike || row - firstRow < StripRows); tile++)
                row += group.GateTiles[tile].Rows * group.GateTiles[tile].Groups;
            // The first strip reads the panels from memory, each while the one before it is computed; what follows finds them in the cache.
            int gatePanel = PanelOf(group.Gate, group, block), upPanel = PanelOf(group.Up, group, block), afterGate = gatePanel + (Block / group.Gate.Panel.PanelOutputs);
            byte* afterUp = afterGate < group.Gate.Panels ? group.Gate.PanelAt(afterGate) : null;
            RunStrip(group.Gate, gatePanel, from == 0 ? group.Up.PanelAt(upPanel) : null, group.GateTiles, from, tile, group.GateAt, gate, thread);
            RunStrip(group.Up, upPanel, from == 0 ? afterUp : null, group.UpTiles, from, isAlike ? tile : group.UpTiles.Count, group.UpAt, up, thread);
            AddBias(group.Stack.GateBias, group.Expert, block, gate, row - firstRow);
            AddBias(group.Stack.UpBias, group.Expert, block, up, row - firstRow);
            GatedActivation.InPlace(_mlp!.Activation, gate, up, (row - firstRow) * Block);
            if (group.IsDirect)
                FillBlock(group, ref downTile, block, gate, firstRow, row);
            else
                Keep(group, index, block, gate, firstRow, row);
        }
    }

    /// <summary>The panel of gate or up where a block of an expert's columns begins.</summary>
    private static int PanelOf(CpuPackedWeight part, in ExpertGroup group, int block) =>
        ((group.Expert * ExpertStack.Stride(group.Columns)) + (block * Block)) / part.Panel.PanelOutputs;

    /// <summary>32 outputs of one expert's gate or up for the rows of tiles [from, to): target [rows, 32]. Meanwhile <paramref name="following"/> is fetched, where it is not null.</summary>
    private void RunStrip(CpuPackedWeight part, int firstPanel, byte* following, RowTiles tiles, int from, int to, long at, float* target, int thread)
    {
        int outputs = part.Panel.PanelOutputs, firstRow = tiles[from].First, panels = Block / outputs;
        for (int i = 0; i < panels; i++)
        {
            int panel = firstPanel + i;
            byte* next = following is null || i + 1 == panels ? following : part.PanelAt(panel + 1);
            PanelCall call = PanelRun.New(part, panel, next, to - from, _scratch, thread);
            call.OutputStride = Block * sizeof(float);
            for (int tile = from; tile < to; tile++)
            {
                (int row, int rows, int groups) = tiles[tile];
                call.Activations = _tiles.Pointer + at + ((long)row * part.Activations.RowBytes * part.Plan.Visits.Length);
                call.Output = target + ((row - firstRow) * Block) + (i * outputs);
                PanelRun.Run(part, rows, groups, next, ref call);
            }
        }
    }

    private static void AddBias(Tensor? bias, int expert, int block, float* values, int rows)
    {
        if (bias is not { } vectors)
            return;
        float* own = vectors.HostRow<float>(expert) + (block * Block);
        Vector512<float> low = Vector512.Load(own), high = Vector512.Load(own + 16);
        for (int row = 0; row < rows; row++, values += Block)
        {
            (Vector512.Load(values) + low).Store(values);
            (Vector512.Load(values + 16) + high).Store(values + 16);
        }
    }

    /// <summary>Rounds rows [firstRow, endRow) of one block into down's tiles; <paramref name="tile"/> is where firstRow lies.</summary>
    private void FillBlock(in ExpertGroup group, ref int tile, int block, float* values, int firstRow, int endRow)
    {
        long rowBytes = group.Down.Activations.RowBytes, visits = group.Down.Plan.Visits.Length;
        for (int row = firstRow; row < endRow; row++, values += Block)
        {
            (int first, int rows, int groups) = group.DownTiles[tile];
            int local = row - first;
            byte* at = _tiles.Pointer + group.DownAt + (first * rowBytes * visits) + (block * groups * rows * rowBytes) + (local / rows * rows * rowBytes);
            ActivationTile.FillBlock(group.Down.Activations, values, local % rows, rows, at);
            if (local == (rows * groups) - 1)
                tile++;
        }
    }

    /// <summary>Keeps rows [firstRow, endRow) of one block as they are: leaves that end inside a block are laid out when all blocks are there.</summary>
    private void Keep(in ExpertGroup group, int index, int block, float* values, int firstRow, int endRow)
    {
        int stride = ExpertStack.Stride(group.Columns);
        float* target = (float*)_activated.Pointer + _activatedAt[index] + ((long)firstRow * stride) + (block * Block);
        for (int row = firstRow; row < endRow; row++, values += Block, target += stride)
            new ReadOnlySpan<float>(values, Block).CopyTo(new Span<float>(target, Block));
    }

    private void Refill(in ExpertGroup group, int index)
    {
        int stride = ExpertStack.Stride(group.Columns);
        float* source = (float*)_activated.Pointer + _activatedAt[index];
        for (int tile = 0; tile < group.DownTiles.Count; tile++)
        {
            (int first, int rows, int groups) = group.DownTiles[tile];
            long rowBytes = group.Down.Activations.RowBytes, groupBytes = rowBytes * rows;
            byte* at = _tiles.Pointer + group.DownAt + (first * rowBytes * group.Down.Plan.Visits.Length);
            for (int i = 0; i < groups; i++)
                ActivationTile.Fill(group.Down.Activations, group.Down.Plan, source + ((long)(first + (i * rows)) * stride), stride, rows, at + (i * groupBytes), groups * groupBytes);
        }
    }

    /// <summary>Outputs [32 · firstUnit, 32 · endUnit) of all rows: sums [unit, row, leaf of the run, 32], stacks [unit, row, depth, 32].</summary>
    private void Down(int firstUnit, int endUnit, int thread)
    {
        int units = endUnit - firstUnit, places = units * _rows, depth = 0;
        float* sums = (float*)_sums.Pointer + ((long)thread * _rows * (_runLeaves + _depth) * Block * _unitsOfItem);
        float* stacks = sums + ((long)places * _runLeaves * Block);
        for (int firstLeaf = 0; firstLeaf < _leaves; firstLeaf += _runLeaves)
        {
            int leaves = Math.Min(_runLeaves, _leaves - firstLeaf);
            new Span<float>(sums, places * _runLeaves * Block).Clear();
            ReadOnlySpan<ExpertGroup> all = _groups.Groups;
            for (int i = 0; i < all.Length; i++)
            {
                int own = Math.Min(leaves, all[i].Down.Leaves.Count - firstLeaf);
                byte* following = i + 1 < all.Length ? all[i + 1].Down.PanelAt(FirstPanel(all[i + 1], firstUnit)) : null;
                for (int unit = 0; unit < units && own > 0; unit++)
                    AddExpert(all[i], firstUnit + unit, firstLeaf, own, unit + 1 == units ? following : null, sums + ((long)unit * _rows * _runLeaves * Block), thread);
            }
            depth = Merge(sums, stacks, places, firstLeaf, leaves, depth);
        }
        int valid = Math.Min(endUnit * Block, _pieces.Columns) - (firstUnit * Block);
        for (int unit = 0; unit < units; unit++)
            for (int row = 0; row < _rows; row++)
                for (int piece = 0; piece < depth; piece++)
                {
                    float* source = stacks + ((((long)unit * _rows) + row) * _depth * Block) + (piece * Block);
                    new ReadOnlySpan<float>(source, Math.Min(Block, valid - (unit * Block)))
                        .CopyTo(_pieces.HostSpan<float>((piece * _rows) + row)[((firstUnit + unit) * Block)..]);
                }
    }

    private int FirstPanel(in ExpertGroup group, int unit) => ((group.Expert * ExpertStack.Stride(_pieces.Columns)) + (unit * Block)) / group.Down.Panel.PanelOutputs;

    /// <summary>Adds the weighted products of one expert's leaves to the sums of its rows; meanwhile the panel after it comes, where that is another expert's <paramref name="following"/>.</summary>
    private void AddExpert(in ExpertGroup group, int unit, int firstLeaf, int leaves, byte* following, float* sums, int thread)
    {
        CpuPackedWeight part = group.Down;
        int outputs = part.Panel.PanelOutputs, firstPanel = FirstPanel(group, unit), firstVisit = part.Plan.FirstVisits[firstLeaf], last = (Block / outputs) - 1;
        for (int i = 0; i < Block / outputs; i++)
        {
            byte* next = i == last && following is not null ? following : firstPanel + i + 1 < part.Panels ? part.PanelAt(firstPanel + i + 1) : null;
            PanelCall call = PanelRun.New(part, firstPanel + i, next, group.DownTiles.Count, _scratch, thread);
            call.Leaves += firstLeaf;
            call.LeafCount = call.Pieces = leaves;
            call.Output = _scratch.Tile(thread);
            call.OutputStride = outputs * sizeof(float);
            float* products = leaves == 1 ? call.Output : call.Stack;
            float* bias = firstLeaf == 0 && group.Stack.DownBias is { } vectors ? vectors.HostRow<float>(group.Expert) + (unit * Block) + (i * outputs) : null;
            for (int tile = 0; tile < group.DownTiles.Count; tile++)
            {
                (int first, int rows, int groups) = group.DownTiles[tile];
                long rowBytes = part.Activations.RowBytes;
                call.Activations = _tiles.Pointer + group.DownAt + (first * rowBytes * part.Plan.Visits.Length) + (firstVisit * rowBytes * rows * groups);
                PanelRun.Run(part, rows, groups, next, ref call);
                AddProducts(products, group.First + first, rows * groups, leaves, outputs, bias, sums + (i * outputs));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void AddProducts(float* products, int firstPlace, int rows, int leaves, int outputs, float* bias, float* sums)
    {
        for (int row = 0; row < rows; row++)
        {
            float* target = sums + ((long)_groups.RowAt(firstPlace + row) * _runLeaves * Block);
            float* source = products + (row * outputs);
            Vector512<float> weight = Vector512.Create(_groups.WeightAt(firstPlace + row));
            for (int leaf = 0; leaf < leaves; leaf++, source += rows * outputs, target += Block)
                for (int i = 0; i < outputs; i += 16)
                {
                    Vector512<float> product = Vector512.Load(source + i);
                    if (bias is not null && leaf == 0)
                        product += Vector512.Load(bias + i);
                    Vector512.FusedMultiplyAdd(weight, product, Vector512.Load(target + i)).Store(target + i);
                }
        }
    }

    /// <summary>Pushes a run's leaves on each stack and merges as the schedule says; returns the depth that all have then.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Merge(float* sums, float* stacks, int places, int firstLeaf, int leaves, int depth)
    {
        int after = depth;
        for (int place = 0; place < places; place++, sums += _runLeaves * Block, stacks += _depth * Block)
        {
            after = depth;
            for (int leaf = 0; leaf < leaves; leaf++)
            {
                Vector512<float> low = Vector512.Load(sums + (leaf * Block)), high = Vector512.Load(sums + (leaf * Block) + 16);
                int at = after++;
                for (int merge = 0; merge < _merges[firstLeaf + leaf]; merge++, after--)
                {
                    float* lower = stacks + (--at * Block);
                    low = Vector512.Load(lower) + low;
                    high = Vector512.Load(lower + 16) + high;
                }
                low.Store(stacks + (at * Block));
                high.Store(stacks + (at * Block) + 16);
            }
        }
        return after;
    }

    private readonly struct FillWork(CpuExperts owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            ReadOnlySpan<ExpertGroup> groups = owner._groups.Groups;
            int group = 0;
            for (int i = first; i < end; i++)
            {
                // Of several that begin here the last one has fills: the others share a single row's tile.
                while (group + 1 < groups.Length && i >= groups[group + 1].FirstFill)
                    group++;
                owner.Fill(groups[group], i - groups[group].FirstFill);
            }
        }
    }

    private readonly struct GatedWork(CpuExperts owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            ReadOnlySpan<ExpertGroup> groups = owner._groups.Groups;
            int group = 0;
            for (int i = first; i < end; i++)
            {
                while (group + 1 < groups.Length && i >= groups[group + 1].FirstItem)
                    group++;
                owner.Gated(groups[group], group, i - groups[group].FirstItem, thread);
            }
        }
    }

    private readonly struct RefillWork(CpuExperts owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int group = first; group < end; group++)
                if (!owner._groups.Groups[group].IsDirect)
                    owner.Refill(owner._groups.Groups[group], group);
        }
    }

    private readonly struct DownWork(CpuExperts owner) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            int units = owner.Units();
            for (int item = first; item < end; item++)
                owner.Down(item * owner._unitsOfItem, Math.Min(units, (item + 1) * owner._unitsOfItem), thread);
        }
    }
}
