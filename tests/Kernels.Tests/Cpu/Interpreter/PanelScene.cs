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
    private readonly PanelKernel _kernel;
    private readonly int _rows;
    private readonly int _groups;
    private readonly int _tileBytes;
    private readonly byte* _tile;
    private readonly byte* _stack;
    private readonly byte* _scratch;
    private readonly byte* _output;
    private readonly PanelCall* _call;

    /// <summary>The first panel of a matrix and rows · groups rows of activations, as a kernel wants them.</summary>
    public PanelScene(LinearWeights weights, InputLeaves leaves, ReadOnlySpan<float> x, PanelKernel kernel, ActivationKind kind, int rows, int groups, CpuThreads threads)
    {
        PanelFormat panel = PanelFormat.Of(weights.Format);
        ActivationLayout layout = kernel.Layout(panel, kind);
        LeafPlan plan = new(leaves);
        (_kernel, _rows, _groups) = (kernel, rows, groups);
        _weight = new CpuPackedWeight(weights, plan, panel, kernel, layout, threads, [], out _);
        int groupBytes = layout.RowBytes * rows, blockBytes = groupBytes * groups;
        _tileBytes = blockBytes * plan.Visits.Length;
        _tile = Allocate(_tileBytes);
        fixed (float* values = x)
        {
            for (int group = 0; group < groups; group++)
                ActivationTile.Fill(layout, plan, values + (group * rows * leaves.Columns), leaves.Columns, rows, _tile + (group * groupBytes), blockBytes);
        }
        _stack = Allocate(StackBytes);
        _scratch = Allocate(ThreadScratch.BlockBytes);
        _output = Allocate(AllRows * OutputStride);
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

    private int AllRows => _rows * _groups;

    private int RowOutputBytes => _weight.Panel.PanelOutputs * sizeof(float);

    private int OutputStride => RowOutputBytes + Guard;

    private int StackBytes => _weight.Plan.MostSums * AllRows * RowOutputBytes;

    /// <summary>What the kernel computes: [pieces, rows, outputs].</summary>
    public float[] Run()
    {
        new Span<byte>(_stack, StackBytes).Fill(0xAA);
        new Span<byte>(_output, AllRows * OutputStride).Fill(0xAA);
        if (_kernel is InterpretedKernel interpreted)
            Allow(interpreted.Cpu);
        _kernel.Run(_rows, _groups, _call);
        int pieces = _weight.Leaves.Pieces, outputs = _weight.Panel.PanelOutputs;
        float[] results = new float[pieces * AllRows * outputs];
        if (pieces > 1)
        {
            new ReadOnlySpan<float>(_stack, results.Length).CopyTo(results);
            return results;
        }
        for (int row = 0; row < AllRows; row++)
            new ReadOnlySpan<float>(_output + (row * OutputStride), outputs).CopyTo(results.AsSpan(row * outputs));
        return results;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _weight.Dispose();
        foreach (nint memory in new[] { (nint)_tile, (nint)_stack, (nint)_scratch, (nint)_output, (nint)_call })
            NativeMemory.AlignedFree((void*)memory);
    }

    private static byte* Allocate(int bytes) => (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);

    private void Allow(CodeInterpreter cpu)
    {
        cpu.Allow((nint)_call, sizeof(PanelCall), write: false, "the PanelCall");
        cpu.Allow((nint)_weight.PanelAt(0), _weight.PanelBytes, write: false, "the panel");
        cpu.Allow((nint)_tile, _tileBytes, write: false, "the activations");
        cpu.Allow((nint)_weight.Entries, (long)LeafEntry.Size * _weight.Leaves.Count, write: false, "the leaves");
        cpu.Allow((nint)_stack, StackBytes, write: true, "the merge stack");
        cpu.Allow((nint)_scratch, ThreadScratch.BlockBytes, write: true, "the scratch");
        for (int row = 0; row < AllRows; row++)
            cpu.Allow((nint)_output + (row * OutputStride), RowOutputBytes, write: true, $"row {row} of the output");
    }
}
