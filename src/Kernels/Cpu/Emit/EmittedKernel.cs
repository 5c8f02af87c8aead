using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>A panel kernel as machine code: a function for each number of rows and groups, in one executable block.</summary>
/// <remarks>
/// The function pointers stay valid because Memory lives as long as the kernel, and kernels are kept for the life of the process.
/// Emitted functions read a PanelCall, write Output, Stack and Scratch, and keep the callee-saved registers and MXCSR of System V.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "Kernels are kept for the life of the process; the handle frees itself with it.")]
internal sealed unsafe class EmittedKernel : PanelKernel
{
    private static readonly ConcurrentDictionary<(InstructionFamily, PanelFormat, ActivationKind), EmittedKernel> Known = new();
    private readonly ExecutableMemory _memory;
    private readonly nint[] _entries;

    private EmittedKernel(KernelCode code)
        : base(code.Shape, code.Correction)
    {
        _memory = new ExecutableMemory(code.Bytes);
        _entries = [.. code.Entries.Select(offset => offset < 0 ? 0 : _memory.Address + offset)];
    }

    /// <summary>The kernel of a format, emitted when first asked for.</summary>
    public static EmittedKernel Of(InstructionFamily family, PanelFormat format, ActivationKind kind) =>
        Known.GetOrAdd((family, format, kind), static key => new EmittedKernel(KernelCode.Emit(key.Item1, key.Item2, key.Item3)));

    /// <inheritdoc/>
    public override void Run(int rows, int groups, PanelCall* call) =>
        ((delegate* unmanaged<PanelCall*, void>)_entries[KernelCode.Entry(Shape, rows, groups)])(call);
}

/// <summary>The bytes of a kernel, before they are executable: what a CPU of another family can look at too.</summary>
/// <param name="Shape">Rows and groups there are functions for.</param>
/// <param name="Correction">What integer kernels of symmetric formats want in the activations.</param>
/// <param name="Bytes">All functions, each on a cache line, with the constants they address.</param>
/// <param name="Entries">Where each begins, by <see cref="Entry"/>; −1: there is none.</param>
internal sealed record KernelCode(TileShape Shape, CorrectionKind Correction, byte[] Bytes, int[] Entries)
{
    /// <summary>Emits a format's functions for a family.</summary>
    public static KernelCode Emit(InstructionFamily family, PanelFormat format, ActivationKind kind)
    {
        TileShape shape = ShapeOf(family, format, kind);
        using MemoryStream code = new();
        int[] entries = new int[shape.Groups * (shape.Rows + 1)];
        entries.AsSpan().Fill(-1);
        CorrectionKind correction = CorrectionKind.None; // the same for all functions
        for (int groups = 1; groups <= shape.Groups; groups++)
        {
            // Rows are dealt evenly, so several groups never have fewer rows than half the most.
            for (int rows = groups == 1 ? 1 : shape.Rows / 2; rows <= shape.Rows; rows++)
            {
                while (code.Length % 64 != 0)
                    code.WriteByte(0xCC);
                PanelEmitter emitter = kind != ActivationKind.Int8 ? new FloatEmitter(family, format, kind, rows)
                    : SplitCodeEmitter.Suits(family, format, rows * groups) ? new SplitCodeEmitter(family, format, rows, groups)
                    : new IntegerEmitter(family, format, rows, groups);
                correction = emitter.Correction;
                int start = (int)code.Length;
                entries[Entry(shape, rows, groups)] = start + emitter.Emit(new StreamCodeWriter(code));
            }
        }
        return new KernelCode(shape, correction, code.ToArray(), entries);
    }

    /// <summary>Index of a function.</summary>
    public static int Entry(TileShape shape, int rows, int groups) => ((groups - 1) * (shape.Rows + 1)) + rows;

    // Wide: eight rows have a register each. Narrow: as many rows as 16 registers hold beside the codes; formats that must be decoded share that
    // work among four groups.
    private static TileShape ShapeOf(InstructionFamily family, PanelFormat format, ActivationKind kind)
    {
        if (family.IsWide)
            return new TileShape(8, 1);
        if (kind != ActivationKind.Int8)
            return new TileShape(6, 1);
        bool six = family.HasVnni ? format.Halves == 1 : format.HasMinimum && format.Halves == 1;
        return new TileShape(six ? 6 : 4, format.Codes == CodeLayout.Bytes && family.HasVnni ? 1 : 4);
    }
}
