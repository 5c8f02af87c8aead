using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Executes x86-64 machine code of the emitter's kind on a CPU of chosen features, on real memory, and watches what it touches.</summary>
/// <remarks>
/// Begin with Run; StepDecoder says which instructions there are, VectorOperation what those on vectors compute.
/// Numerics the arithmetic of the instructions bit for bit: <see cref="SingleArithmetic"/>. MXCSR's sticky flags are not kept.
/// Cost     4 to 15 million steps a second on kernels of 8 rows.
/// Threads  none: one interpreter is one CPU.
/// Errors   InterpreterFaultException: an instruction that the CPU or the interpreter lacks, an access outside the allowed ranges, too many
///          steps, a condition on an undefined flag, a broken calling convention.
/// </remarks>
internal sealed unsafe partial class CodeInterpreter : IDisposable
{
    private const int VectorBytes = 64;
    private const int VectorCount = 32;
    private const int StackBytes = 64 << 10;
    private const long ReturnAddress = 0x7E57_C0DE_0000;

    // Bits of MXCSR that code may change: DAZ, FTZ and the sticky flags.
    private const uint FreeControl = SingleArithmetic.DenormalsAreZero | SingleArithmetic.FlushToZero | 0x3F;

    private const int Rax = 0, Rsp = 4, Rdi = 7;
    private static readonly int[] CalleeSaved = [3, 5, 12, 13, 14, 15]; // rbx, rbp, r12..r15

    // What every x86-64 CPU has of what StepDecoder lets through; prefetches count as SSE.
    private static readonly CpuidFeature[] Baseline =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486, CpuidFeature.X64,
        CpuidFeature.MULTIBYTENOP, CpuidFeature.SSE,
    ];

    private readonly HashSet<CpuidFeature> _features;
    private readonly MemoryRanges _ranges = new();
    private readonly byte[] _bytes;
    private readonly byte* _code;
    private readonly byte* _stack;
    private readonly byte* _vectors;
    private readonly int[] _stepAt;
    private Step[] _steps = new Step[256];
    private int _stepCount;
    private GeneralRegisters _registers;
    private MaskRegisters _masks;
    private uint _control;
    private bool _uppersDirty;

    /// <summary>Code for a CPU with the given features beside plain x86-64.</summary>
    public CodeInterpreter(ReadOnlySpan<byte> code, IEnumerable<CpuidFeature> features)
    {
        _features = [.. Baseline, .. features];
        _bytes = code.ToArray();
        _stepAt = new int[code.Length];
        _code = Allocate(code.Length);
        code.CopyTo(new Span<byte>(_code, code.Length));
        _stack = Allocate(StackBytes);
        _vectors = Allocate((VectorCount + 4) * VectorBytes); // behind the registers: result, broadcast or partly loaded source, poison
        Allow((nint)_code, code.Length, write: false, "the code");
        Allow((nint)_stack, StackBytes, write: true, "the stack");
    }

    /// <summary>Steps after which Run gives up.</summary>
    public long StepLimit { get; init; } = 50_000_000;

    /// <summary>Steps of all runs so far.</summary>
    public long Steps { get; private set; }

    /// <summary>Lets the code read, and write where said so, a range of memory that lives as long as the runs.</summary>
    public void Allow(nint start, long bytes, bool write, string name = "a range") => _ranges.Add(start, bytes, write, name);

    /// <summary>Calls the function at an offset with one argument, as System V does.</summary>
    public void Run(int entryOffset, nint argument)
    {
        // 1. A caller's state: all that the convention leaves open is poison.
        long random = 0x5EED_0F_C0DE;
        for (int i = 0; i < 16; i++)
            _registers[i] = random = (random * 6364136223846793005) + 1442695040888963407;
        new Span<byte>(_vectors, VectorCount * VectorBytes).Fill(0xCB);
        for (int i = 0; i < 8; i++)
            _masks[i] = 0xA5A5_5A5A_A5A5_5A5A;
        _undefinedFlags = AllFlags;
        _control = SingleArithmetic.DefaultControl;
        _uppersDirty = false;
        _registers[Rdi] = argument;
        long top = (long)_stack + StackBytes - 64;
        _registers[Rsp] = top - 8; // the return address makes rsp odd eights, as at any function's entry
        *(long*)(top - 8) = ReturnAddress;
        GeneralRegisters before = _registers;

        // 2. Step by step.
        Execute(entryOffset);

        // 3. What the caller relies on.
        foreach (int register in CalleeSaved)
            if (_registers[register] != before[register])
                throw new InterpreterFaultException($"The code returned with {Register.RAX + register} = 0x{_registers[register]:X}; it was 0x{before[register]:X} and belongs to the caller.");
        if (_registers[Rsp] != top)
            throw new InterpreterFaultException($"The code returned with rsp {_registers[Rsp] - top} bytes off.");
        if (_control != SingleArithmetic.DefaultControl)
            throw new InterpreterFaultException($"The code returned with MXCSR 0x{_control:X}; it was 0x{SingleArithmetic.DefaultControl:X}.");
        if (_uppersDirty)
            throw new InterpreterFaultException("The code returned without vzeroupper after its last write of a ymm or zmm register.");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_code);
        NativeMemory.AlignedFree(_stack);
        NativeMemory.AlignedFree(_vectors);
    }

    private static byte* Allocate(int bytes)
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);
        NativeMemory.Clear(memory, (nuint)bytes);
        return memory;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Execute(int offset)
    {
        long limit = Steps + StepLimit;
        VectorOperands operands = default;
        while (true)
        {
            if ((uint)offset >= (uint)_stepAt.Length)
                throw new InterpreterFaultException($"The code ran to offset 0x{offset:X}; it has {_stepAt.Length} bytes.");
            ref readonly Step step = ref StepAt(offset);
            if (++Steps > limit)
                throw Fault(step, $"{StepLimit} steps are done");
            offset = step.Next;
            switch (step.Kind)
            {
                case StepKind.Vector:
                    ExecuteVector(step, &operands);
                    break;
                case StepKind.Move:
                    Write(step, step.Destination, Read(step, step.Source));
                    break;
                case StepKind.Address:
                    Write(step, step.Destination, (ulong)AddressOf(step));
                    break;
                case StepKind.Arithmetic:
                    Calculate(step);
                    break;
                case StepKind.Product:
                    Multiply(step);
                    break;
                case StepKind.MaskMove:
                    Write(step, step.Destination, Read(step, step.Source));
                    break;
                case StepKind.Push:
                    _registers[Rsp] -= 8;
                    Check(step, _registers[Rsp], 8, write: true);
                    *(long*)_registers[Rsp] = step.Destination.Number == Rsp ? _registers[Rsp] + 8 : _registers[step.Destination.Number];
                    break;
                case StepKind.Pop:
                    _registers[step.Destination.Number] = Pop(step, step.Destination.Number == Rsp);
                    break;
                case StepKind.Jump:
                    offset = step.Target;
                    break;
                case StepKind.ConditionalJump:
                    if (Holds(step))
                        offset = step.Target;
                    break;
                case StepKind.Return:
                    long address = Pop(step, false);
                    if (address != ReturnAddress)
                        throw Fault(step, $"0x{address:X} on the stack is not the return address");
                    return;
                case StepKind.LoadControl:
                    LoadControl(step);
                    break;
                case StepKind.StoreControl:
                    Write(step, step.Destination, _control);
                    break;
                case StepKind.ClearUppers:
                    for (int i = 0; i < 16; i++)
                        Unsafe.InitBlockUnaligned(Vector(i) + 16, 0, VectorBytes - 16);
                    _uppersDirty = false;
                    break;
                default:
                    break; // nop, prefetch
            }
        }
    }

    private ref readonly Step StepAt(int offset)
    {
        int index = _stepAt[offset];
        if (index == 0)
            index = Decode(offset);
        return ref _steps[index];
    }

    private int Decode(int offset)
    {
        Instruction instruction = InstructionAt(offset);
        if (instruction.IsInvalid)
            throw new InterpreterFaultException($"The bytes at offset 0x{offset:X} are no instruction.");
        foreach (CpuidFeature feature in instruction.CpuidFeatures)
            if (!_features.Contains(feature))
                throw new InterpreterFaultException($"{instruction} at offset 0x{offset:X} needs {feature}, which this CPU lacks.");
        if (_stepCount + 1 == _steps.Length)
            Array.Resize(ref _steps, 2 * _steps.Length);
        _steps[++_stepCount] = StepDecoder.Decode(instruction, offset, (nint)_code); // index 0 stands for "not yet"
        return _stepAt[offset] = _stepCount;
    }

    private Instruction InstructionAt(int offset)
    {
        Decoder decoder = Decoder.Create(64, new ByteArrayCodeReader(_bytes, offset, _bytes.Length - offset), (ulong)_code + (ulong)offset);
        return decoder.Decode();
    }

    private InterpreterFaultException Fault(in Step step, string what) => new($"{InstructionAt(step.Offset)} at offset 0x{step.Offset:X}: {what}.");

    private long AddressOf(in Step step)
    {
        long address = step.Displacement;
        if (step.Base >= 0)
            address += _registers[step.Base];
        if (step.Index >= 0)
            address += _registers[step.Index] * step.Scale;
        return address;
    }

    private void Check(in Step step, long address, int bytes, bool write)
    {
        if (!_ranges.Holds(address, bytes, write))
            throw Fault(step, $"{(write ? "write" : "read")} of {bytes} bytes at 0x{address:X} is not allowed; {_ranges.Nearest(address)}");
    }

    private byte* Memory(in Step step, bool write)
    {
        long address = AddressOf(step);
        Check(step, address, step.MemoryBytes, write);
        if (step.IsAligned && address % step.MemoryBytes != 0)
            throw Fault(step, $"0x{address:X} is not a multiple of {step.MemoryBytes}");
        return (byte*)address;
    }

    private long Pop(in Step step, bool intoStackPointer)
    {
        long address = _registers[Rsp];
        Check(step, address, 8, write: false);
        if (!intoStackPointer)
            _registers[Rsp] = address + 8;
        return *(long*)address;
    }

    private void LoadControl(in Step step)
    {
        uint control = (uint)Read(step, step.Destination);
        if ((control & ~FreeControl) != SingleArithmetic.DefaultControl)
            throw Fault(step, $"MXCSR 0x{control:X}: the interpreter rounds to nearest even and raises nothing");
        _control = control;
    }

    private byte* Vector(int number) => _vectors + (number * VectorBytes);

    [InlineArray(16)]
    private struct GeneralRegisters
    {
        private long _first;
    }

    [InlineArray(8)]
    private struct MaskRegisters
    {
        private ulong _first;
    }
}

/// <summary>Interpreted code did what it must not, or what the interpreter cannot.</summary>
internal sealed class InterpreterFaultException(string message) : Exception(message);
