using System.Runtime.InteropServices;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>One call of a panel kernel: a packed panel, a tile of activations and room for results, each exactly as long as it must be.</summary>
internal sealed unsafe class PanelScene : IDisposable
{
    private const int Guard = 64;

    private readonly CpuPackedWeight _weight;
    private readonly ActivationLayout _layout;
    private readonly int _rows;
    private readonly int _tileBytes;
    private readonly byte* _tile;
    private readonly byte* _stack;
    private readonly byte* _scratch;
    private readonly byte* _output;
    private readonly PanelCall* _call;

    /// <summary>The first panel of a matrix and some rows of activations.</summary>
    public PanelScene(LinearWeights weights, InputLeaves leaves, float[] x, int rows, CpuThreads threads)
    {
        PanelFormat panel = PanelFormat.Of(weights.Format);
        _layout = ActivationLayout.Of(panel, CpuActivations.Auto);
        LeafPlan plan = new(leaves);
        _rows = rows;
        _weight = new CpuPackedWeight(weights, plan, panel, _layout, new BlockKernel<ScalarMath>(panel, _layout), threads);
        _tileBytes = _layout.RowBytes * plan.Visits.Length * rows;
        _tile = Allocate(_tileBytes);
        fixed (float* values = x)
            ActivationTile.Fill(_layout, plan, values, leaves.Columns, rows, _tile);
        _stack = Allocate(StackBytes);
        _scratch = Allocate(ThreadScratch.BlockBytes);
        _output = Allocate(rows * OutputStride);
        _call = (PanelCall*)Allocate(sizeof(PanelCall));
        *_call = new PanelCall
        {
            Panel = _weight.PanelAt(0),
            Activations = _tile,
            Output = (float*)_output,
            OutputStride = OutputStride,
            Leaves = _weight.Entries,
            LeafCount = leaves.Count,
            Pieces = leaves.Pieces,
            Stack = (float*)_stack,
            Scratch = _scratch,
            Next = (byte*)0x10000, // nothing is there: a prefetch may name any address
            LinesPerBlock = 2,
        };
    }

    private int RowOutputBytes => _weight.Panel.PanelOutputs * sizeof(float);

    private int OutputStride => RowOutputBytes + Guard;

    private int StackBytes => _weight.Plan.MostSums * _rows * RowOutputBytes;

    /// <summary>What a kernel of this process computes.</summary>
    public byte[] Run(PanelKernel kernel)
    {
        Clear();
        kernel.Run(_rows, _call);
        return Results();
    }

    /// <summary>What the interpreter computes; it may touch this scene and nothing else.</summary>
    public byte[] Interpret(CodeInterpreter interpreter, int entry)
    {
        Clear();
        interpreter.Allow((nint)_call, sizeof(PanelCall), write: false, "the PanelCall");
        interpreter.Allow((nint)_weight.PanelAt(0), _weight.PanelBytes, write: false, "the panel");
        interpreter.Allow((nint)_tile, _tileBytes, write: false, "the activations");
        interpreter.Allow((nint)_weight.Entries, (long)LeafEntry.Size * _weight.Leaves.Count, write: false, "the leaves");
        interpreter.Allow((nint)_stack, StackBytes, write: true, "the merge stack");
        interpreter.Allow((nint)_scratch, ThreadScratch.BlockBytes, write: true, "the scratch");
        for (int row = 0; row < _rows; row++)
            interpreter.Allow((nint)_output + (row * OutputStride), RowOutputBytes, write: true, $"row {row} of the output");
        interpreter.Run(entry, (nint)_call);
        return Results();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _weight.Dispose();
        foreach (nint memory in new[] { (nint)_tile, (nint)_stack, (nint)_scratch, (nint)_output, (nint)_call })
            NativeMemory.AlignedFree((void*)memory);
    }

    private static byte* Allocate(int bytes) => (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);

    private void Clear()
    {
        new Span<byte>(_stack, StackBytes).Fill(0xAA);
        new Span<byte>(_output, _rows * OutputStride).Fill(0xAA);
    }

    // The pieces on the stack, or the rows of the only one with the guards behind them.
    private byte[] Results()
    {
        bool single = _weight.Leaves.Pieces == 1;
        return new ReadOnlySpan<byte>(single ? _output : _stack, single ? _rows * OutputStride : _weight.Leaves.Pieces * _rows * RowOutputBytes).ToArray();
    }
}
