using System.Runtime.InteropServices;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Random operands with the numbers at which instructions differ from plain arithmetic.</summary>
internal sealed class OperandNumbers(int seed)
{
    private static readonly byte[] EdgeBytes = [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFF];

    private static readonly uint[] EdgeSingles =
    [
        0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x00800000, 0x80800000, 0x00800001, 0x00FFFFFF, 0x3F800000, 0xBF800000,
        0x3F800001, 0x3F7FFFFF, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
    ];

    private static readonly uint[] NaNs = [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFA12345, 0x7FC54321];
    private readonly Random _random = new(seed);

    /// <summary>Bytes of any kind, or only those at the ends of ranges.</summary>
    public void Bytes(Span<byte> target)
    {
        if (_random.Next(2) == 0)
        {
            _random.NextBytes(target);
            return;
        }
        foreach (ref byte value in target)
            value = EdgeBytes[_random.Next(EdgeBytes.Length)];
    }

    /// <summary>Three operands of float instructions, lane by lane, among them triples at the edge of the subnormals.</summary>
    public void Singles(Span<byte> first, Span<byte> second, Span<byte> third)
    {
        Span<float> a = MemoryMarshal.Cast<byte, float>(first), b = MemoryMarshal.Cast<byte, float>(second), c = MemoryMarshal.Cast<byte, float>(third);
        for (int i = 0; i < a.Length; i++)
        {
            (float x, float y, float z) = Triple();
            (a[i], b[i], c[i]) = _random.Next(3) switch { 0 => (x, y, z), 1 => (y, z, x), _ => (z, x, y) };
        }
    }

    /// <summary>Accumulators, and pairs of bfloat16 whose products reach the edge of the subnormals.</summary>
    public void BFloats(Span<byte> accumulators, Span<byte> first, Span<byte> second)
    {
        Span<float> c = MemoryMarshal.Cast<byte, float>(accumulators);
        Span<ushort> a = MemoryMarshal.Cast<byte, ushort>(first), b = MemoryMarshal.Cast<byte, ushort>(second);
        for (int i = 0; i < c.Length; i++)
        {
            (float x, float y, float z) = Triple();
            (float v, float w, _) = Triple();
            c[i] = z;
            int zero = _random.Next(4);
            a[2 * i] = zero == 0 ? (ushort)0 : BFloat(x);
            b[2 * i] = BFloat(y);
            a[(2 * i) + 1] = zero == 1 ? (ushort)0 : BFloat(zero == 2 ? x : v);
            b[(2 * i) + 1] = BFloat(zero == 2 ? y : w);
        }
    }

    /// <summary>MXCSR with or without DAZ and FTZ.</summary>
    public uint Control() => _random.Next(4) switch
    {
        0 => SingleArithmetic.DefaultControl,
        1 => SingleArithmetic.DefaultControl | SingleArithmetic.DenormalsAreZero,
        2 => SingleArithmetic.DefaultControl | SingleArithmetic.FlushToZero,
        _ => SingleArithmetic.DefaultControl | SingleArithmetic.DenormalsAreZero | SingleArithmetic.FlushToZero,
    };

    private static ushort BFloat(float value) => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);

    // Two factors and a summand.
    private (float X, float Y, float Z) Triple()
    {
        float x = (1f + _random.NextSingle()) * (_random.Next(2) == 0 ? 1 : -1), y;
        switch (_random.Next(6))
        {
            case 0: // anything
                return (Any(), Any(), Any());
            case 1: // the ends of ranges
                return (Edge(), Edge(), Edge());
            case 2: // a product of some last bits, added to a number about 2^-126
                y = MathF.ScaleB(1f + _random.NextSingle(), -75 - _random.Next(4));
                return (MathF.ScaleB(x, -76), y, NearSmallest());
            case 3: // a product just below 2^-126, with or without some last bits
                y = MathF.ScaleB((float)((1 - (_random.NextDouble() * 1.5e-7)) / x), -63);
                return (MathF.ScaleB(x, -63), y, _random.Next(2) == 0 ? 0f : BitConverter.UInt32BitsToSingle((uint)_random.Next(3) | ((uint)_random.Next(2) << 31)));
            case 4: // cancellation
                y = 1f + _random.NextSingle();
                return (x, y, -(x * y));
            default: // ordinary
                return (x, 1f + _random.NextSingle(), MathF.ScaleB(x, _random.Next(-30, 30)));
        }
    }

    private float Any()
    {
        float value = BitConverter.Int32BitsToSingle(_random.Next(int.MinValue, int.MaxValue));
        return float.IsNaN(value) ? 1f : value;
    }

    private float Edge() => BitConverter.UInt32BitsToSingle(_random.Next(16) == 0 ? NaNs[_random.Next(NaNs.Length)] : EdgeSingles[_random.Next(EdgeSingles.Length)]);

    private float NearSmallest() => BitConverter.UInt32BitsToSingle((0x00800000u + (uint)_random.Next(-3, 4)) | ((uint)_random.Next(2) << 31));
}
