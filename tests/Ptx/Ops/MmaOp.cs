using TpServe.Ptx.Machine;

namespace TpServe.Ptx.Ops;

/// <summary>How a matrix product of 16 × 8 × K lies in the registers of 32 lanes.</summary>
/// <remarks>
/// Shapes   A [16, K] row-major, B [K, 8] column-major, C and D [16, 8]. A register holds PerRegister neighbours along K. Lane l has
///          rows l / 4 and l / 4 + 8 of A and C and column l / 4 of B; along K it has PerRegister elements at (l mod 4) · PerRegister,
///          and the same again in each further quarter group of 4 · PerRegister.
/// Source   PTX ISA, "Matrix multiply-accumulate operation using mma instruction", fragment tables.
/// </remarks>
internal sealed class MmaShape
{
    private MmaShape(PtxType a, PtxType b, PtxType d, int k, int elementBits) => (A, B, D, K, ElementBits) = (a, b, d, k, elementBits);

    public PtxType A { get; }
    public PtxType B { get; }
    public PtxType D { get; }
    public int K { get; }
    public int ElementBits { get; }
    public int PerRegister => 32 / ElementBits;
    public bool IsInteger => D == PtxType.S32;
    public int BRegisters => K / (4 * PerRegister);
    public int ARegisters => 2 * BRegisters;
    public int AccumulatorRegisters => D == PtxType.F16 ? 2 : 4;

    public static MmaShape? OrNull(PtxType d, PtxType a, PtxType b, PtxType c, int k) => (d, a, b, c, k) switch
    {
        (PtxType.F32, PtxType.F16, PtxType.F16, PtxType.F32, 8 or 16) or (PtxType.F16, PtxType.F16, PtxType.F16, PtxType.F16, 8 or 16)
            or (PtxType.F32, PtxType.Bf16, PtxType.Bf16, PtxType.F32, 8 or 16) => new MmaShape(a, b, d, k, 16),
        (PtxType.F32, PtxType.Tf32, PtxType.Tf32, PtxType.F32, 4 or 8) => new MmaShape(a, b, d, k, 32),
        (PtxType.S32, PtxType.S8 or PtxType.U8, PtxType.S8 or PtxType.U8, PtxType.S32, 16 or 32) => new MmaShape(a, b, d, k, 8),
        _ => null,
    };
}

/// <summary>mma.sync: D = A · B + C.</summary>
/// <remarks>
/// Numerics products are exact, they and the accumulator are added in double, and the sum is rounded once to the accumulator's type.
///          A card adds in an order and with a width of its own: its last bits may differ. Integers are exact.
/// </remarks>
internal sealed class MmaOp(MmaShape shape, Target[] ds, Source[] a, Source[] b, Source[] c, bool saturates) : PtxOp
{
    private readonly double[] _a = new double[16 * shape.K], _b = new double[shape.K * 8], _c = new double[16 * 8];

    public override void Execute(Warp warp, uint mask)
    {
        warp.RequireWhole(mask);
        if (mask != uint.MaxValue)
            throw warp.Fault(PtxFault.Divergent, mask, "executes an instruction of 32 lanes in a warp with fewer");
        ReadOperands(warp);
        int k = shape.K;
        for (int row = 0; row < 16; row++)
        {
            for (int column = 0; column < 8; column++)
            {
                double sum = 0;
                for (int i = 0; i < k; i++)
                    sum += _a[row * k + i] * _b[column * k + i];
                _c[row * 8 + column] += sum;
            }
        }
        WriteResult(warp);
    }

    private void ReadOperands(Warp warp)
    {
        int per = shape.PerRegister, k = shape.K;
        for (int register = 0; register < a.Length; register++)
        {
            ReadOnlySpan<ulong> lanes = a[register].Lanes(warp, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
                for (int i = 0; i < per; i++)
                    _a[((lane >> 2) + 8 * (register & 1)) * k + (register >> 1) * 4 * per + (lane & 3) * per + i] = Element(shape.A, lanes[lane], i);
        }
        for (int register = 0; register < b.Length; register++)
        {
            ReadOnlySpan<ulong> lanes = b[register].Lanes(warp, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
                for (int i = 0; i < per; i++)
                    _b[(lane >> 2) * k + register * 4 * per + (lane & 3) * per + i] = Element(shape.B, lanes[lane], i);
        }
        for (int register = 0; register < c.Length; register++)
        {
            ReadOnlySpan<ulong> lanes = c[register].Lanes(warp, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
            {
                if (shape.D == PtxType.F16)
                {
                    _c[Place(lane, 2 * register)] = Numbers16.Half(lanes[lane]);
                    _c[Place(lane, 2 * register + 1)] = Numbers16.Half(lanes[lane] >> 16);
                }
                else
                    _c[Place(lane, register)] = shape.IsInteger ? (int)lanes[lane] : Numbers16.Single(lanes[lane]);
            }
        }
    }

    private void WriteResult(Warp warp)
    {
        for (int register = 0; register < ds.Length; register++)
        {
            Span<ulong> d = warp.Destination(ds[register].Register, uint.MaxValue);
            for (int lane = 0; lane < Warp.Lanes; lane++)
                d[lane] = shape.D switch
                {
                    PtxType.F16 => Numbers16.HalfBits(_c[Place(lane, 2 * register)]) | Numbers16.HalfBits(_c[Place(lane, 2 * register + 1)]) << 16,
                    PtxType.F32 => Numbers16.Bits((float)_c[Place(lane, register)]),
                    _ => Integer(_c[Place(lane, register)]),
                };
        }
    }

    private uint Integer(double value) => saturates ? (uint)(int)Math.Clamp(value, int.MinValue, int.MaxValue) : (uint)(long)value;

    /// <summary>Where element i of a lane's accumulator is in C.</summary>
    private static int Place(int lane, int i) => ((lane >> 2) + 8 * (i >> 1)) * 8 + 2 * (lane & 3) + (i & 1);

    private static double Element(PtxType type, ulong register, int i) => type switch
    {
        PtxType.F16 => Numbers16.Half(register >> 16 * i),
        PtxType.Bf16 => Numbers16.Bf16(register >> 16 * i & 0xffff),
        PtxType.S8 => (sbyte)(register >> 8 * i),
        PtxType.U8 => (byte)(register >> 8 * i),
        _ => Numbers16.ToDouble(PtxType.Tf32, register),
    };
}
