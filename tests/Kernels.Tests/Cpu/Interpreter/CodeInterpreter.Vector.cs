using System.Runtime.CompilerServices;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Vector steps: operands, the operation, the masked result.</summary>
internal sealed unsafe partial class CodeInterpreter
{
    private const int Result = VectorCount, Temporary = VectorCount + 1;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void ExecuteVector(in Step step, VectorOperands* o)
    {
        // 1. Where the operands are.
        ulong mask = step.Mask == 0 ? ulong.MaxValue : _masks[step.Mask];
        o->Result = Vector(Result);
        o->Old = step.Destination.Kind == PlaceKind.Vector ? Vector(step.Destination.Number) : o->Result;
        o->First = Vector(step.First.Number);
        o->Width = step.Width;
        o->Immediate = (int)step.Immediate & 0xFF;
        o->Control = _control;
        o->Source = step.Source.Kind switch
        {
            PlaceKind.Vector => Vector(step.Source.Number),
            PlaceKind.Memory => Load(step, mask),
            PlaceKind.Mask => Scalar(_masks[step.Source.Number]),
            _ => Scalar((ulong)_registers[step.Source.Number]),
        };

        // 2. The operation.
        step.Vector(o);

        // 3. Its result.
        switch (step.Destination.Kind)
        {
            case PlaceKind.Vector:
                WriteVector(step, o->Result, mask);
                break;
            case PlaceKind.Memory:
                Store(step, o->Result, mask);
                break;
            case PlaceKind.Mask:
                _masks[step.Destination.Number] = *(ulong*)o->Result;
                break;
            default:
                _registers[step.Destination.Number] = *(uint*)o->Result;
                break;
        }
    }

    private byte* Scalar(ulong value)
    {
        *(ulong*)Vector(Temporary) = value;
        return Vector(Temporary);
    }

    // Under a mask only its elements are touched, where memory has as many of them as the result; elsewhere the whole operand is.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private byte* Load(in Step step, ulong mask)
    {
        byte* temporary = Vector(Temporary);
        if (step.IsBroadcast)
        {
            if (step.Mask != 0 && LowBits(mask, step.Width / step.ElementBytes) == 0)
                return temporary;
            byte* element = Memory(step, write: false);
            for (int i = 0; i < step.Width; i += step.MemoryBytes)
                Unsafe.CopyBlockUnaligned(temporary + i, element, (uint)step.MemoryBytes);
            return temporary;
        }
        if (step.Mask == 0 || step.MemoryBytes != step.Width)
            return Memory(step, write: false);
        long address = AddressOf(step);
        for (int i = 0; i < step.Width; i += step.ElementBytes, mask >>= 1)
        {
            if ((mask & 1) == 0)
                continue;
            Check(step, address + i, step.ElementBytes, write: false);
            Unsafe.CopyBlockUnaligned(temporary + i, (byte*)address + i, (uint)step.ElementBytes);
        }
        return temporary;
    }

    private void Store(in Step step, byte* result, ulong mask)
    {
        if (step.Mask == 0)
        {
            Unsafe.CopyBlockUnaligned(Memory(step, write: true), result, (uint)step.Width);
            return;
        }
        long address = AddressOf(step);
        for (int i = 0; i < step.Width; i += step.ElementBytes, mask >>= 1)
        {
            if ((mask & 1) == 0)
                continue;
            Check(step, address + i, step.ElementBytes, write: true);
            Unsafe.CopyBlockUnaligned((byte*)address + i, result + i, (uint)step.ElementBytes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void WriteVector(in Step step, byte* result, ulong mask)
    {
        byte* register = Vector(step.Destination.Number);
        if (step.Mask == 0)
        {
            Unsafe.CopyBlockUnaligned(register, result, (uint)step.Width);
        }
        else
        {
            for (int i = 0; i < step.Width; i += step.ElementBytes, mask >>= 1)
            {
                if ((mask & 1) != 0)
                    Unsafe.CopyBlockUnaligned(register + i, result + i, (uint)step.ElementBytes);
                else if (step.IsZeroing)
                    Unsafe.InitBlockUnaligned(register + i, 0, (uint)step.ElementBytes);
            }
        }
        if (step.Width < VectorBytes)
            Unsafe.InitBlockUnaligned(register + step.Width, 0, (uint)(VectorBytes - step.Width));
        _uppersDirty |= step.Width > 16;
    }

    private static ulong LowBits(ulong value, int count) => count == 64 ? value : value & ((1UL << count) - 1);
}
