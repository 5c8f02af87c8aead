using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>A panel kernel as machine code: eight functions, one for each number of rows, in one executable block.</summary>
/// <remarks>
/// The function pointers stay valid because Memory lives as long as the kernel, and kernels are kept for the life of the process.
/// Emitted functions read a PanelCall, write Output, Stack and Scratch, and keep the callee-saved registers of System V.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "Kernels are kept for the life of the process; the handle frees itself with it.")]
internal sealed unsafe class EmittedKernel : PanelKernel
{
    private static readonly ConcurrentDictionary<PanelFormat, EmittedKernel> Known = new();
    private readonly ExecutableMemory _memory;
    private readonly nint[] _entries = new nint[MostRows + 1];

    private EmittedKernel(PanelFormat format)
    {
        (byte[] code, int[] offsets) = Emit(format);
        _memory = new ExecutableMemory(code);
        for (int rows = 1; rows <= MostRows; rows++)
            _entries[rows] = _memory.Address + offsets[rows];
    }

    /// <summary>The bytes of a format's functions, and where the function of each number of rows begins.</summary>
    public static (byte[] Code, int[] Offsets) Emit(PanelFormat format)
    {
        using MemoryStream code = new();
        int[] offsets = new int[MostRows + 1];
        for (int rows = 1; rows <= MostRows; rows++)
        {
            while (code.Length % 64 != 0)
                code.WriteByte(0xCC);
            offsets[rows] = (int)code.Length;
            PanelEmitter emitter = format.IsFloat ? new FloatEmitter(format, rows) : new IntegerEmitter(format, rows);
            emitter.Emit(new StreamCodeWriter(code));
        }
        return (code.ToArray(), offsets);
    }

    /// <summary>The kernel of a format, emitted when first asked for.</summary>
    public static EmittedKernel Of(PanelFormat format) => Known.GetOrAdd(format, static key => new EmittedKernel(key));

    /// <inheritdoc/>
    public override void Run(int rows, PanelCall* call) => ((delegate* unmanaged<PanelCall*, void>)_entries[rows])(call);
}
