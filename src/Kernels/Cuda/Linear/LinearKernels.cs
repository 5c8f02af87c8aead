using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Matrix products with weights of every format: packs them, chooses the kernel, launches it.</summary>
/// <remarks>
/// Numerics the order of an output's sum is <see cref="LinearPlan"/>'s in every kernel, so which one runs never depends on the degree, and kernels of one
///          arithmetic agree to the bit.
/// Cost     one launch a product, and one before it where activations are packed: all but up to 8 rows of 16-bit weights with whole blocks, and
///          float32. <see cref="LinearDispatch"/> says which, and when kernels are compiled.
/// </remarks>
internal sealed class LinearKernels(CudaQueue queue, ScratchArena scratch, HostTransfers transfers, CudaActivations activations) : IDisposable
{
    private const int MostParts = 3;
    private const int MostGridRows = 65535;

    // Up to here the weights are read once for every 32 rows: a tile of 128 outputs would leave most multiprocessors idle. The bits agree, so this is a
    // matter of speed alone.
    private const int MostStreamedRowTiles = 12;

    private readonly List<LinearPlan> _plans = [];
    private readonly LinearDispatch _dispatch = new(queue, activations);

    // The activations packed last, in the call under way.
    private LinearPlan? _packedFor;
    private ActivationPacking? _packedBy;
    private Tensor _packed;

    /// <summary>Repacks a matrix of the file, piece by piece.</summary>
    /// <exception cref="ArgumentException">The leaves do not lie in the rows, or a row has another length than its format says.</exception>
    public PackedWeight Pack(WeightRows rows, InputLeaves leaves)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(leaves);
        Require.That(
            leaves.Boundaries[0] >= 0 && leaves.Boundaries[^1] <= rows.FileColumns && rows.FileColumns % rows.Format.BlockValues() == 0,
            $"Leaves over columns [{leaves.Boundaries[0]}, {leaves.Boundaries[^1]}) do not lie in rows of {rows.FileColumns} {rows.Format} weights.");
        DeviceLayout layout = _dispatch[rows.Format].Layout;
        LinearPlan plan = PlanOf(leaves, aligned: !layout.IsFloat);
        long tiles = (rows.Outputs + CudaPackedWeight.TileOutputs - 1) / CudaPackedWeight.TileOutputs;
        WeightPacker packer = new(rows, plan, layout);
        long bytes = tiles * plan.Blocks * packer.BlockBytes;
        DeviceMemory memory = queue.Allocate(bytes);
        try
        {
            transfers.UploadChunked(bytes, memory, 0, (span, at) => packer.Fill(span, at / packer.BlockBytes), packer.BlockBytes);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
        _dispatch.Compile(rows.Format);
        return new CudaPackedWeight(rows.Format, rows.Outputs, plan, memory);
    }

    /// <summary>y = x · Wᵀ for matrices of one input; outputs side by side.</summary>
    /// <exception cref="ArgumentException">Shapes disagree, or a part leaves several pieces.</exception>
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y)
    {
        int columns = 0;
        for (int i = 0; i < parts.Length; i++)
        {
            CudaPackedWeight part = Own(parts[i]);
            Require.That(part.Leaves.Pieces == 1, $"Part {i} leaves {part.Leaves.Pieces} pieces; Linear takes one.");
            Require.Shape(x, x.Rows, part.Leaves.Columns);
            columns += part.Outputs;
        }
        Require.Shape(y, x.Rows, columns);

        // Neighbours of one format and one plan share a launch; formats of one arithmetic share the packed activations.
        columns = 0;
        long mark = scratch.Mark();
        _packedFor = null;
        for (int first = 0; first < parts.Length;)
        {
            int end = first + 1, outputs = parts[first].Outputs;
            for (; end < parts.Length && end - first < MostParts && IsAlike(Own(parts[first]), Own(parts[end])); end++)
                outputs += parts[end].Outputs;
            Multiply(x, parts[first..end], y, columns);
            columns += outputs;
            first = end;
        }
        Forget(mark);
    }

    /// <summary>The pieces of one row-parallel product: piece p of row r is row p · n + r.</summary>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces)
    {
        CudaPackedWeight own = Own(weight);
        Require.Shape(x, x.Rows, own.Leaves.Columns);
        Require.Shape(pieces, x.Rows * own.Leaves.Pieces, own.Outputs);
        Require.Contiguous(pieces);
        long mark = scratch.Mark();
        _packedFor = null;
        Multiply(x, [own], pieces, 0);
        Forget(mark);
    }

    /// <summary>y = scale · row of the table + 0, and zeros for tokens that other ranks hold.</summary>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y)
    {
        CudaPackedWeight own = Own(table);
        Require.Shape(tokenIds, y.Rows, 1, ElementType.Int32);
        Require.Shape(y, y.Rows, own.Leaves.Columns);
        TableShape shape = new()
        {
            StrideTokens = tokenIds.RowStride,
            StrideY = y.RowStride,
            Blocks = own.Plan.Blocks,
            Outputs = own.Outputs,
            FirstRow = firstRow,
            Scale = scale,
        };
        TableRows.Launch launch = _dispatch[own.Format].Rows.Value;
        int groups = ((own.Plan.Blocks * 8) + TableRows.GroupSize - 1) / TableRows.GroupSize;
        for (int row = 0; row < y.Rows; row += MostGridRows)
        {
            int rows = Math.Min(MostGridRows, y.Rows - row);
            launch(
                (new Index2D(groups, rows), new Index2D(TableRows.GroupSize, 1)),
                tokenIds.RowSlice(row, rows).View<int>(), own.Words, y.RowSlice(row, rows).View<float>(), own.Plan.DeviceVisits, shape);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LinearPlan plan in _plans)
            plan.Dispose();
        _plans.Clear();
    }

    private static CudaPackedWeight Own(PackedWeight weight) =>
        weight as CudaPackedWeight ?? throw new ArgumentException($"A {weight?.GetType().Name ?? "null"} was not packed by this backend.");

    private static bool IsAlike(CudaPackedWeight left, CudaPackedWeight right) => left.Format == right.Format && ReferenceEquals(left.Plan, right.Plan);

    private static int StreamChunks(int rows) => StreamProduct.RowChunks(rows, rows <= 8 ? 1 : rows <= 16 ? 2 : 4);

    private static int RowTiles(int rows) => (rows + PackedActivations.TileRows - 1) / PackedActivations.TileRows;

    private LinearPlan PlanOf(InputLeaves leaves, bool aligned)
    {
        LinearPlan? plan = _plans.Find(known => known.Fits(leaves, aligned));
        if (plan is null)
            _plans.Add(plan = new LinearPlan(queue, transfers, leaves, aligned));
        return plan;
    }

    private void Multiply(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y, int column)
    {
        CudaPackedWeight w0 = Own(parts[0]), w1 = parts.Length > 1 ? Own(parts[1]) : w0, w2 = parts.Length > 2 ? Own(parts[2]) : w0;
        ProductShape shape = new()
        {
            Rows = x.Rows,
            StrideX = x.RowStride,
            StrideY = y.RowStride,
            Blocks = w0.Plan.Blocks,
            Segments = w0.Plan.Segments.Length,
            Tiles0 = w0.Tiles,
            Tiles1 = w0.Tiles + (parts.Length > 1 ? w1.Tiles : 0),
            Outputs0 = w0.Outputs,
            Outputs1 = w1.Outputs,
            Outputs2 = w2.Outputs,
            Column = column,
        };
        shape.Tiles = shape.Tiles1 + (parts.Length > 2 ? w2.Tiles : 0);
        if (x.Rows == 0 || shape.Tiles == 0)
            return;
        if (_dispatch.IsPlain(w0.Format))
            Plain(x, w0, w1, w2, y, shape);
        else
            MultiplyPacked(_dispatch[w0.Format].Packed!, x, w0, w1, w2, y, shape);
    }

    private void MultiplyPacked(PackedKernels kernels, Tensor x, CudaPackedWeight w0, CudaPackedWeight w1, CudaPackedWeight w2, Tensor y, ProductShape shape)
    {
        int rowTiles = RowTiles(shape.Rows);
        if (kernels.StreamRows is { } rows && rowTiles == 1 && w0.Plan.IsRegular && shape.StrideX % 2 == 0 && x.OffsetBytes % 8 == 0)
        {
            rows.Value((shape.Tiles, StreamProduct.GroupSize), x.View<uint>(), w0.Words, w1.Words, w2.Words, y.View<float>(), w0.Plan.DeviceSegments, shape);
            return;
        }
        Tensor packed = Packed(x, w0, shape, kernels.Packing);
        if (queue.IsEmulated)
        {
            int groups = ((shape.Tiles * CudaPackedWeight.TileOutputs) + PlainCodedProduct.GroupSize - 1) / PlainCodedProduct.GroupSize;
            kernels.Plain!.Value(
                (new Index2D(groups, 1), new Index2D(PlainCodedProduct.GroupSize, 1)),
                packed.View<uint>(), w0.Words, w1.Words, w2.Words, y.View<float>(), w0.Plan.DeviceSegments, shape);
        }
        else if (rowTiles <= MostStreamedRowTiles)
        {
            kernels.Stream(rowTiles)(
                (shape.Tiles * StreamChunks(shape.Rows), StreamProduct.GroupSize),
                packed.View<uint>(), w0.Words, w1.Words, w2.Words, y.View<float>(), w0.Plan.DeviceSegments, shape);
        }
        else
        {
            Tiled(kernels.Tiled.Value, packed, w0, w1, w2, y, shape);
        }
    }

    /// <summary>x rounded or quantised for a weight's kernels; the same again for the next weight that takes the same.</summary>
    private Tensor Packed(Tensor x, CudaPackedWeight weight, ProductShape shape, ActivationPacking packing)
    {
        if (ReferenceEquals(_packedFor, weight.Plan) && ReferenceEquals(_packedBy, packing))
            return _packed;
        int rowTiles = RowTiles(shape.Rows), gridRows = rowTiles * packing.TileGridRows;
        (_packedFor, _packedBy, _packed) = (weight.Plan, packing, scratch.Rent(rowTiles, shape.Blocks * packing.BlockWords, ElementType.Int32));
        int groups = ((shape.Blocks * packing.BlockThreads) + PackedActivations.GroupSize - 1) / PackedActivations.GroupSize;
        packing.Kernel.Value(
            (new Index2D(groups, queue.IsEmulated ? 1 : Math.Min(gridRows, MostGridRows)), new Index2D(PackedActivations.GroupSize, 1)),
            x.View<float>(), _packed.View<uint>(), weight.Plan.DeviceVisits, shape.Rows, shape.StrideX, shape.Blocks);
        return _packed;
    }

    private void Forget(long mark)
    {
        (_packedFor, _packedBy) = (null, null);
        scratch.Release(mark);
    }

    /// <summary>As many groups as the device runs at once; each walks over tiles, so that the stacks stay small and near.</summary>
    private void Tiled(LinearDispatch.TiledProductLaunch launch, Tensor packed, CudaPackedWeight w0, CudaPackedWeight w1, CudaPackedWeight w2, Tensor y, ProductShape shape)
    {
        int groups = (int)Math.Min((long)TiledSums.RowGroups(shape.Rows) * TiledSums.OutputGroups(shape.Tiles), queue.Accelerator.NumMultiprocessors);
        int levels = w0.Plan.MostHeld;
        Tensor stacks = scratch.Rent(groups, Math.Max(1, levels * TiledSums.LevelWords), ElementType.Float32);
        launch(
            (groups, TiledSums.GroupSize),
            packed.View<uint>(), w0.Words, w1.Words, w2.Words, y.View<float>(), w0.Plan.DeviceSegments, stacks.View<float>(), levels, shape);
    }

    private void Plain(Tensor x, CudaPackedWeight w0, CudaPackedWeight w1, CudaPackedWeight w2, Tensor y, ProductShape shape)
    {
        PlainProduct.Launch launch = _dispatch[w0.Format].Plain.Value;
        int groups = ((shape.Tiles * CudaPackedWeight.TileOutputs) + PlainProduct.GroupSize - 1) / PlainProduct.GroupSize;
        int passes = (shape.Rows + PlainProduct.PassRows - 1) / PlainProduct.PassRows; // an emulated group costs far more than a pass
        launch(
            (new Index2D(groups, queue.IsEmulated ? 1 : Math.Min(passes, MostGridRows)), new Index2D(PlainProduct.GroupSize, 1)),
            x.View<float>(), w0.Words, w1.Words, w2.Words, y.View<float>(), w0.Plan.DeviceVisits, w0.Plan.DeviceSegments, shape);
    }
}
