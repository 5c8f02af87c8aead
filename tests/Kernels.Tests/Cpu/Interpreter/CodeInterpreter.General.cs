using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>General registers, mask moves, flags.</summary>
internal sealed unsafe partial class CodeInterpreter
{
    private const int Carry = 0x001, Zero = 0x040, Sign = 0x080, Overflow = 0x800, AllFlags = Carry | Zero | Sign | Overflow;

    private int _flags;
    private int _undefinedFlags;

    private ulong Read(in Step step, Place place)
    {
        ulong value = place.Kind switch
        {
            PlaceKind.General => (ulong)_registers[place.Number],
            PlaceKind.Mask => _masks[place.Number],
            PlaceKind.Immediate => (ulong)step.Immediate,
            _ => ReadMemory(step),
        };
        return step.Width == 8 ? value : value & ((1UL << (8 * step.Width)) - 1);
    }

    private ulong ReadMemory(in Step step)
    {
        byte* memory = Memory(step, write: false);
        return step.MemoryBytes switch { 1 => *memory, 2 => *(ushort*)memory, 4 => *(uint*)memory, _ => *(ulong*)memory };
    }

    // The value has no bits beyond the width: 32-bit results clear the upper half of a register, mask moves the rest of a mask.
    private void Write(in Step step, Place place, ulong value)
    {
        if (step.Width < 8)
            value &= (1UL << (8 * step.Width)) - 1;
        switch (place.Kind)
        {
            case PlaceKind.General:
                _registers[place.Number] = (long)value;
                break;
            case PlaceKind.Mask:
                _masks[place.Number] = value;
                break;
            default:
                byte* memory = Memory(step, write: true);
                if (step.MemoryBytes == 8)
                    *(ulong*)memory = value;
                else if (step.MemoryBytes == 4)
                    *(uint*)memory = (uint)value;
                else if (step.MemoryBytes == 2)
                    *(ushort*)memory = (ushort)value;
                else
                    *memory = (byte)value;
                break;
        }
    }

    private void Calculate(in Step step)
    {
        int bits = 8 * step.Width;
        ulong top = 1UL << (bits - 1), all = top | (top - 1);
        ulong a = Read(step, step.Destination), b = step.Source.Kind == PlaceKind.None ? 0 : Read(step, step.Source), result;
        switch (step.Mnemonic)
        {
            case Mnemonic.Add:
                result = (a + b) & all;
                SetFlags(result, top, carry: result < a, overflow: ((a ^ result) & (b ^ result) & top) != 0);
                break;
            case Mnemonic.Sub or Mnemonic.Cmp:
                result = (a - b) & all;
                SetFlags(result, top, carry: a < b, overflow: ((a ^ b) & (a ^ result) & top) != 0);
                break;
            case Mnemonic.And or Mnemonic.Test:
                result = a & b;
                SetFlags(result, top, carry: false, overflow: false);
                break;
            case Mnemonic.Or:
                result = a | b;
                SetFlags(result, top, carry: false, overflow: false);
                break;
            case Mnemonic.Xor:
                result = a ^ b;
                SetFlags(result, top, carry: false, overflow: false);
                break;
            case Mnemonic.Inc or Mnemonic.Dec:
                bool up = step.Mnemonic == Mnemonic.Inc;
                result = (up ? a + 1 : a - 1) & all;
                int carryUndefined = _undefinedFlags & Carry;
                SetFlags(result, top, carry: (_flags & Carry) != 0, overflow: up ? result == top : a == top);
                _undefinedFlags = carryUndefined;
                break;
            default:
                Shift(step, a, (int)b & (bits - 1), bits, top);
                return;
        }
        if (step.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test))
            Write(step, step.Destination, result);
    }

    // A count of zero leaves the flags; overflow is defined for a count of one only.
    private void Shift(in Step step, ulong a, int count, int bits, ulong top)
    {
        ulong result = step.Mnemonic switch
        {
            Mnemonic.Shl => bits == 32 ? (uint)a << count : a << count,
            Mnemonic.Shr => a >> count,
            _ => bits == 32 ? (uint)((int)a >> count) : (ulong)((long)a >> count),
        };
        Write(step, step.Destination, result);
        if (count == 0)
            return;
        bool carry = step.Mnemonic == Mnemonic.Shl ? (a >> (bits - count) & 1) != 0 : (a >> (count - 1) & 1) != 0;
        bool overflow = step.Mnemonic switch
        {
            Mnemonic.Shl => ((result & top) != 0) != carry,
            Mnemonic.Shr => (a & top) != 0,
            _ => false,
        };
        SetFlags(result, top, carry, overflow);
        if (count != 1)
            _undefinedFlags = Overflow;
    }

    private void Multiply(in Step step)
    {
        ulong a = Read(step, step.First.Kind == PlaceKind.None ? step.Destination : step.First), b = Read(step, step.Source);
        Int128 product = step.Width == 4 ? (Int128)(int)a * (int)b : (Int128)(long)a * (long)b;
        bool fits = product == (step.Width == 4 ? (Int128)(int)product : (long)product);
        Write(step, step.Destination, (ulong)(UInt128)product);
        SetFlags(0, 1, carry: !fits, overflow: !fits);
        _undefinedFlags = Zero | Sign;
    }

    private void SetFlags(ulong result, ulong top, bool carry, bool overflow)
    {
        _flags = (carry ? Carry : 0) | (result == 0 ? Zero : 0) | ((result & top) != 0 ? Sign : 0) | (overflow ? Overflow : 0);
        _undefinedFlags = 0;
    }

    private bool Holds(in Step step)
    {
        int needed = step.Condition switch
        {
            ConditionCode.e or ConditionCode.ne => Zero,
            ConditionCode.b or ConditionCode.ae => Carry,
            ConditionCode.a or ConditionCode.be => Carry | Zero,
            ConditionCode.s or ConditionCode.ns => Sign,
            ConditionCode.o or ConditionCode.no => Overflow,
            ConditionCode.l or ConditionCode.ge => Sign | Overflow,
            _ => Zero | Sign | Overflow,
        };
        if ((needed & _undefinedFlags) != 0)
            throw Fault(step, "a flag it looks at is undefined here");
        bool carry = (_flags & Carry) != 0, zero = (_flags & Zero) != 0, sign = (_flags & Sign) != 0, less = sign != ((_flags & Overflow) != 0);
        return step.Condition switch
        {
            ConditionCode.e => zero,
            ConditionCode.ne => !zero,
            ConditionCode.b => carry,
            ConditionCode.ae => !carry,
            ConditionCode.a => !carry && !zero,
            ConditionCode.be => carry || zero,
            ConditionCode.s => sign,
            ConditionCode.ns => !sign,
            ConditionCode.o => (_flags & Overflow) != 0,
            ConditionCode.no => (_flags & Overflow) == 0,
            ConditionCode.l => less,
            ConditionCode.ge => !less,
            ConditionCode.g => !less && !zero,
            _ => less || zero,
        };
    }
}
