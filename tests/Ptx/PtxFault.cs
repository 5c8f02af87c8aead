namespace TpServe.Ptx;

/// <summary>What is wrong with a PTX program or with its run.</summary>
public enum PtxFault
{
    /// <summary>The text does not parse, or names something that is not declared.</summary>
    Syntax,

    /// <summary>An instruction, or a form of one, that the interpreter does not have.</summary>
    UnknownInstruction,

    /// <summary>The launch does not fit the kernel: arguments, block size, shared memory.</summary>
    Launch,

    /// <summary>An access outside every allocation.</summary>
    OutOfBounds,

    /// <summary>An access at an address that is no multiple of its size.</summary>
    Misaligned,

    /// <summary>A read of a byte or register nobody has written.</summary>
    Uninitialised,

    /// <summary>An access to bytes a cp.async still writes.</summary>
    InFlight,

    /// <summary>Two unordered accesses to a byte, one of them a write, not both atomic or volatile.</summary>
    Race,

    /// <summary>An instruction of the whole warp met by a part of it.</summary>
    Divergent,

    /// <summary>More instructions than the budget allows.</summary>
    Budget,

    /// <summary>Every warp waits.</summary>
    Deadlock,

    /// <summary>trap, brkpt, or a call of a function without a body.</summary>
    Trap,
}
