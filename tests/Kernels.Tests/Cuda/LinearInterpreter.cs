using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Linear;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Ptx;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Products by the kernels' PTX, interpreted: races, stray accesses and divergence fail; weights are packed by the emulated backend.</summary>
internal sealed class LinearInterpreter : IDisposable
{
    private static readonly Dictionary<OfflineKernel, PtxModule> Modules = [];

    private readonly CudaBackend _backend;
    private readonly CudaPackedWeight[] _weights;
    private readonly PtxMemory _memory = new();
    private readonly PtxBuffer[] _words;
    private readonly PtxBuffer _segments;
    private readonly PtxBuffer _visits;
    private readonly int _seed;

    /// <summary>Packs up to three weights of one input.</summary>
    public LinearInterpreter(LinearWeights[] weights, InputLeaves leaves, int seed = 1)
    {
        _seed = seed;
        _backend = new CudaBackend(CudaContext.Emulated());
        _weights = [.. weights.Select(weight => (CudaPackedWeight)_backend.PackWeight(weight, leaves))];
        _words = [.. _weights.Select(weight => _memory.Allocate(Words(weight)))];
        _segments = _memory.Allocate(Plan.Segments);
        _visits = _memory.Allocate(Plan.Visits);
    }

    /// <summary>What the last product's launch did.</summary>
    public PtxRun LastRun { get; private set; } = null!;

    private LinearPlan Plan => _weights[0].Plan;

    /// <summary>The product by a kernel of packed activations, [pieces · rows, outputs].</summary>
    public float[] Product(OfflineKernel pack, int packedWords, OfflineKernel product, int groupSize, Func<ProductShape, (int X, int Y)> grid, float[] x, int rows, bool isTiled = false)
    {
        ProductShape shape = Shape(rows);
        int rowTiles = (rows + PackedActivations.TileRows - 1) / PackedActivations.TileRows, outputs = _weights.Sum(weight => weight.Outputs);
        PtxBuffer input = _memory.Allocate(x), packed = _memory.Allocate((long)rowTiles * shape.Blocks * packedWords * sizeof(uint));
        PtxBuffer y = _memory.Allocate((long)Plan.Leaves.Pieces * rows * outputs * sizeof(float));
        int items = packedWords == PackedActivations.HalfWords ? shape.Blocks * 32 : shape.Blocks * 8;
        Launch(pack, ((items + PackedActivations.GroupSize - 1) / PackedActivations.GroupSize, 2), PackedActivations.GroupSize,
            input.ViewOf(4), packed.ViewOf(4), _visits.ViewOf(Marshal.SizeOf<BlockVisit>()), rows, shape.StrideX, shape.Blocks);
        List<object> arguments = [packed.ViewOf(4), Weight(0), Weight(1), Weight(2), y.ViewOf(4), _segments.ViewOf(Marshal.SizeOf<ProductSegment>())];
        if (isTiled)
            arguments.AddRange([_memory.Allocate(Math.Max(4L, (long)grid(shape).X * Plan.MostHeld * TiledSums.LevelWords * sizeof(float))).ViewOf(4), Plan.MostHeld]);
        arguments.Add(Bytes(shape));
        LastRun = Launch(product, grid(shape), groupSize, [.. arguments]);
        return _memory.Read<float>(y);
    }

    /// <summary>The product by a kernel that takes float32 rows.</summary>
    public float[] Product(OfflineKernel product, int groupSize, float[] x, int rows)
    {
        ProductShape shape = Shape(rows);
        PtxBuffer input = _memory.Allocate(x), y = _memory.Allocate((long)Plan.Leaves.Pieces * rows * shape.StrideY * sizeof(float));
        LastRun = Launch(
            product, (shape.Tiles, 1), groupSize,
            input.ViewOf(4), Weight(0), Weight(1), Weight(2), y.ViewOf(4), _segments.ViewOf(Marshal.SizeOf<ProductSegment>()), Bytes(shape));
        return _memory.Read<float>(y);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (CudaPackedWeight weight in _weights)
            weight.Dispose();
        _backend.Dispose();
    }

    private ProductShape Shape(int rows)
    {
        int[] tiles = [.. _weights.Select(weight => weight.Tiles)];
        return new ProductShape
        {
            Rows = rows,
            StrideX = Plan.Leaves.Columns,
            StrideY = _weights.Sum(weight => weight.Outputs),
            Blocks = Plan.Blocks,
            Segments = Plan.Segments.Length,
            Tiles0 = tiles[0],
            Tiles1 = tiles.Take(2).Sum(),
            Tiles = tiles.Sum(),
            Outputs0 = _weights[0].Outputs,
            Outputs1 = _weights.Length > 1 ? _weights[1].Outputs : 0,
            Outputs2 = _weights.Length > 2 ? _weights[2].Outputs : 0,
        };
    }

    private View Weight(int part) => _words[Math.Min(part, _words.Length - 1)].ViewOf(sizeof(uint));

    private uint[] Words(CudaPackedWeight weight)
    {
        uint[] words = new uint[weight.Words.Length];
        weight.Words.CopyToCPU(_backend.Queue.Stream, words);
        return words;
    }

    private PtxRun Launch(OfflineKernel kernel, (int X, int Y) grid, int groupSize, params object[] arguments)
    {
        PtxModule module;
        lock (Modules)
        {
            if (!Modules.TryGetValue(kernel, out module!))
                Modules.Add(kernel, module = PtxModule.Parse(kernel.Ptx));
        }
        PtxRun run = new PtxMachine(_memory, _seed).Launch(module, module.Kernels[0].Name, (grid.X, grid.Y, 1), (groupSize, 1, 1), 0, arguments);
        Assert.That(run.DividedUniformBranches, Is.Zero, "a branch that ILGPU marked as uniform parted a warp");
        return run;
    }

    private static byte[] Bytes(ProductShape shape) => MemoryMarshal.AsBytes(new ReadOnlySpan<ProductShape>(in shape)).ToArray();
}
