using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Turns an instruction into a step; knows which instructions there are.</summary>
/// <remarks>Errors   InterpreterFaultException: an instruction or a form of it that the interpreter does not have.</remarks>
internal static unsafe class StepDecoder
{
    /// <summary>Vector instructions with an arithmetic of their own: <see cref="VectorOperation.Of"/> has it.</summary>
    public static IEnumerable<Mnemonic> VectorMnemonics => Enum.GetValues<Mnemonic>().Where(static mnemonic => VectorOperation.Of(mnemonic).Function is not null);

    /// <summary>The step at an offset; the instruction's address is that of its bytes.</summary>
    public static Step Decode(in Instruction instruction, int offset, nint code)
    {
        Step step = new()
        {
            Mnemonic = instruction.Mnemonic,
            Offset = offset,
            Next = offset + instruction.Length,
            Mask = instruction.OpMask == Register.None ? 0 : instruction.OpMask.GetNumber(),
            IsZeroing = instruction.ZeroingMasking,
        };
        step.Kind = KindOf(instruction);
        bool odd = instruction.HasLockPrefix || instruction.HasRepPrefix || instruction.HasRepnePrefix || instruction.SegmentPrefix != Register.None
            || instruction.RoundingControl != RoundingControl.None || instruction.SuppressAllExceptions;
        if (step.Kind == StepKind.Unknown || odd)
            throw Unknown(instruction, offset);
        if (step.Kind is StepKind.Jump or StepKind.ConditionalJump)
        {
            step.Target = checked((int)((long)instruction.NearBranchTarget - code));
            step.Condition = instruction.ConditionCode;
        }
        if (step.Kind is StepKind.Nothing or StepKind.Jump or StepKind.ConditionalJump or StepKind.Return or StepKind.ClearUppers)
            return step;

        // 1. The operands: a destination, up to two sources, an immediate.
        int places = 0;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            Place place = PlaceOf(instruction, i, offset);
            if (place.Kind == PlaceKind.Immediate && i > 0)
            {
                step.Immediate = (long)instruction.GetImmediate(i);
                if (i + 1 != instruction.OpCount)
                    throw Unknown(instruction, offset);
                if (step.Kind != StepKind.Vector)
                    (step.First, step.Source) = (step.Source, place);
                continue;
            }
            if (places == 0)
                step.Destination = place;
            else if (places == 1)
                step.Source = place;
            else if (places == 2)
                (step.First, step.Source) = (step.Source, place);
            else
                throw Unknown(instruction, offset);
            places++;
        }

        // 2. The memory operand, if one of them is.
        if (step.Destination.Kind == PlaceKind.Memory || step.First.Kind == PlaceKind.Memory || step.Source.Kind == PlaceKind.Memory)
            DecodeAddress(ref step, instruction, offset);

        // 3. How wide, and which arithmetic.
        if (step.Kind == StepKind.Vector)
            DecodeVector(ref step, instruction, offset);
        else
            step.Width = WidthOf(step, instruction, offset);
        return step;
    }

    /// <summary>The failure of an instruction that the interpreter lacks.</summary>
    public static InterpreterFaultException Unknown(in Instruction instruction, int offset) =>
        new($"The interpreter has no {instruction} ({instruction.Code}) as at offset 0x{offset:X}.");

    private static StepKind KindOf(in Instruction instruction)
    {
        if (instruction.IsJccShortOrNear)
            return instruction.ConditionCode is ConditionCode.p or ConditionCode.np ? StepKind.Unknown : StepKind.ConditionalJump;
        if (instruction.IsJmpShortOrNear)
            return StepKind.Jump;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Nop or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetchnta:
                return StepKind.Nothing;
            case Mnemonic.Mov:
                return StepKind.Move;
            case Mnemonic.Lea:
                return StepKind.Address;
            case Mnemonic.Add or Mnemonic.Sub or Mnemonic.Cmp or Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test:
            case Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Shl or Mnemonic.Shr or Mnemonic.Sar:
                return StepKind.Arithmetic;
            case Mnemonic.Imul:
                return instruction.OpCount == 1 ? StepKind.Unknown : StepKind.Product;
            case Mnemonic.Kmovb or Mnemonic.Kmovw or Mnemonic.Kmovd or Mnemonic.Kmovq:
                return StepKind.MaskMove;
            case Mnemonic.Push:
                return StepKind.Push;
            case Mnemonic.Pop:
                return StepKind.Pop;
            case Mnemonic.Ret:
                return instruction.OpCount == 0 ? StepKind.Return : StepKind.Unknown;
            case Mnemonic.Vldmxcsr:
                return StepKind.LoadControl;
            case Mnemonic.Vstmxcsr:
                return StepKind.StoreControl;
            case Mnemonic.Vzeroupper:
                return StepKind.ClearUppers;
            default:
                return VectorOperation.Of(instruction.Mnemonic).Function is null ? StepKind.Unknown : StepKind.Vector;
        }
    }

    private static Place PlaceOf(in Instruction instruction, int operand, int offset)
    {
        switch (instruction.GetOpKind(operand))
        {
            case OpKind.Memory:
                return new Place(PlaceKind.Memory, 0);
            case OpKind.Register:
                Register register = instruction.GetOpRegister(operand);
                if (register.IsVectorRegister())
                    return new Place(PlaceKind.Vector, register.GetNumber());
                if (register.IsK())
                    return new Place(PlaceKind.Mask, register.GetNumber());
                if (register.IsGPR32() || register.IsGPR64() || register == Register.CL)
                    return new Place(PlaceKind.General, register.GetNumber());
                throw Unknown(instruction, offset);
            case OpKind.Immediate8 or OpKind.Immediate8to32 or OpKind.Immediate8to64 or OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate64:
                return new Place(PlaceKind.Immediate, 0);
            default:
                throw Unknown(instruction, offset);
        }
    }

    private static void DecodeAddress(ref Step step, in Instruction instruction, int offset)
    {
        step.Base = step.Index = -1;
        step.Scale = instruction.MemoryIndexScale;
        step.Displacement = (long)instruction.MemoryDisplacement64;
        step.MemoryBytes = instruction.MemorySize.GetSize();
        step.IsBroadcast = instruction.IsBroadcast;
        step.IsAligned = step.Mnemonic is Mnemonic.Vmovdqa or Mnemonic.Vmovdqa32 or Mnemonic.Vmovdqa64 or Mnemonic.Vmovaps;
        if (instruction.MemoryBase.IsGPR64())
            step.Base = instruction.MemoryBase.GetNumber();
        else if (instruction.MemoryBase is not (Register.None or Register.RIP))
            throw Unknown(instruction, offset);
        if (instruction.MemoryIndex.IsGPR64())
            step.Index = instruction.MemoryIndex.GetNumber();
        else if (instruction.MemoryIndex != Register.None)
            throw Unknown(instruction, offset);
        if (step.IsBroadcast && step.MemoryBytes is not (4 or 8))
            throw Unknown(instruction, offset);
    }

    private static void DecodeVector(ref Step step, in Instruction instruction, int offset)
    {
        VectorOperation operation = VectorOperation.Of(step.Mnemonic);
        step.Vector = operation.Function;
        step.ElementBytes = operation.ElementBytes;
        step.Width = step.Destination.Kind switch
        {
            PlaceKind.Vector => instruction.Op0Register.GetSize(),
            PlaceKind.Memory => step.MemoryBytes,
            PlaceKind.Mask => instruction.Op1Register.GetSize(),
            _ => 4,
        };
        bool hasImmediate = instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Immediate8;
        bool general = step.Destination.Kind == PlaceKind.General || step.Source.Kind == PlaceKind.General;
        bool fits = hasImmediate == operation.HasImmediate && (step.First.Kind == PlaceKind.None) == (operation.Sources == 1)
            && step.Source.Kind is not (PlaceKind.None or PlaceKind.Immediate)
            && (!general || instruction.Mnemonic is Mnemonic.Vmovd or Mnemonic.Vpbroadcastb or Mnemonic.Vpbroadcastw or Mnemonic.Vpbroadcastd or Mnemonic.Vpbroadcastq);
        if (!fits)
            throw Unknown(instruction, offset);
    }

    // General registers work on 4 or 8 bytes; kmov on 1 to 8, which its name tells.
    private static int WidthOf(in Step step, in Instruction instruction, int offset)
    {
        int width = step.Kind switch
        {
            StepKind.MaskMove => step.Mnemonic switch { Mnemonic.Kmovb => 1, Mnemonic.Kmovw => 2, Mnemonic.Kmovd => 4, _ => 8 },
            StepKind.LoadControl or StepKind.StoreControl => 4,
            _ => step.Destination.Kind == PlaceKind.General ? instruction.Op0Register.GetSize() : step.MemoryBytes,
        };
        bool wide = step.Kind is StepKind.Push or StepKind.Pop;
        if (wide && (width != 8 || step.Destination.Kind != PlaceKind.General))
            throw Unknown(instruction, offset);
        if (step.Kind != StepKind.MaskMove && width is not (4 or 8))
            throw Unknown(instruction, offset);
        return width;
    }
}
