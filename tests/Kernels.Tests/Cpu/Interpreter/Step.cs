using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>One instruction, decoded once, as the interpreter executes it.</summary>
internal unsafe struct Step
{
    /// <summary>What kind of work it is.</summary>
    public StepKind Kind;

    /// <summary>Which instruction.</summary>
    public Mnemonic Mnemonic;

    /// <summary>Offset of its first byte in the code.</summary>
    public int Offset;

    /// <summary>Offset behind it.</summary>
    public int Next;

    /// <summary>Offset a jump goes to.</summary>
    public int Target;

    /// <summary>When it goes there.</summary>
    public ConditionCode Condition;

    /// <summary>Where the result goes.</summary>
    public Place Destination;

    /// <summary>First of two sources; a register except where the second is an immediate.</summary>
    public Place First;

    /// <summary>The only or second source.</summary>
    public Place Source;

    /// <summary>Bytes of the operation: 4 or 8 for general registers, 16 to 64 for vectors.</summary>
    public int Width;

    /// <summary>Bytes of its memory operand; of one element where it is broadcast.</summary>
    public int MemoryBytes;

    /// <summary>The memory operand is one element of MemoryBytes, repeated.</summary>
    public bool IsBroadcast;

    /// <summary>The memory operand must lie on a multiple of its size.</summary>
    public bool IsAligned;

    /// <summary>Bytes that one bit of the mask governs.</summary>
    public int ElementBytes;

    /// <summary>Mask register; 0 for none.</summary>
    public int Mask;

    /// <summary>Elements outside the mask become zero instead of staying.</summary>
    public bool IsZeroing;

    /// <summary>Base register of the address, or −1.</summary>
    public int Base;

    /// <summary>Index register, or −1.</summary>
    public int Index;

    /// <summary>Factor of the index.</summary>
    public int Scale;

    /// <summary>Rest of the address; the whole of it where it is relative to the instruction.</summary>
    public long Displacement;

    /// <summary>Immediate operand, sign-extended.</summary>
    public long Immediate;

    /// <summary>The arithmetic of a vector step.</summary>
    public delegate*<VectorOperands*, void> Vector;
}

/// <summary>An operand that is not part of the instruction.</summary>
/// <param name="Kind">Register file, or memory at the step's address.</param>
/// <param name="Number">Number in the register file.</param>
internal readonly record struct Place(PlaceKind Kind, int Number);

/// <summary>Where operands are.</summary>
internal enum PlaceKind
{
    None,
    General,
    Vector,
    Mask,
    Memory,
    Immediate,
}

/// <summary>Kinds of steps.</summary>
internal enum StepKind
{
    /// <summary>Not decoded yet.</summary>
    Unknown,

    /// <summary>Does nothing: nop and prefetches.</summary>
    Nothing,

    /// <summary>Vector registers in, vector registers, memory, a mask or a general register out.</summary>
    Vector,

    /// <summary>mov of general registers.</summary>
    Move,

    /// <summary>Address to register.</summary>
    Address,

    /// <summary>Integer arithmetic that sets flags.</summary>
    Arithmetic,

    /// <summary>Product of general registers.</summary>
    Product,

    /// <summary>Mask registers to and from everything else.</summary>
    MaskMove,

    Push,
    Pop,
    Jump,
    ConditionalJump,
    Return,
    LoadControl,
    StoreControl,
    ClearUppers,
}
