using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>The same bytes of up to four rows of a matrix, taken together: four lanes of a panel are written by one store.</summary>
/// <remarks>Rows that are missing read as zeros. Offsets are the caller's to keep inside the rows: nothing is checked at each.</remarks>
internal readonly ref struct FourRows
{
    private readonly ref byte _a;
    private readonly ref byte _b;
    private readonly ref byte _c;
    private readonly ref byte _d;

    /// <summary>Bytes [start, start + length) of rows [first, first + count).</summary>
    /// <exception cref="ArgumentException">A row is not as long as its format says.</exception>
    public FourRows(WeightRows rows, int first, int count, int start, int length)
    {
        _a = ref MemoryMarshal.GetReference(Part(rows, first, start, length));
        _b = ref MemoryMarshal.GetReference(Part(rows, first + Math.Min(1, count - 1), start, length));
        _c = ref MemoryMarshal.GetReference(Part(rows, first + Math.Min(2, count - 1), start, length));
        _d = ref MemoryMarshal.GetReference(Part(rows, first + Math.Min(3, count - 1), start, length));
        Present = Vector128.LessThan(Vector128<uint>.Indices, Vector128.Create((uint)count));
        PresentHalves = count == 4 ? ulong.MaxValue : (1UL << (16 * count)) - 1;
    }

    /// <summary>All ones in the lanes of rows that are there.</summary>
    public Vector128<uint> Present { get; }

    /// <summary>The same for four 16-bit lanes.</summary>
    public ulong PresentHalves { get; }

    /// <summary>The 16 bits at <paramref name="at"/> of each row, the first row's lowest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Halves(nint at) => PresentHalves & (
        Half(ref _a, at) | ((ulong)Half(ref _b, at) << 16) | ((ulong)Half(ref _c, at) << 32) | ((ulong)Half(ref _d, at) << 48));

    /// <summary>The dword at <paramref name="at"/> of each row.</summary>
    public Vector128<uint> Dword(nint at) => Present & Vector128.Create(Whole(ref _a, at), Whole(ref _b, at), Whole(ref _c, at), Whole(ref _d, at));

    /// <summary>Four dwords of each row from <paramref name="at"/> on: vector i holds dword i of every row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public (Vector128<uint> D0, Vector128<uint> D1, Vector128<uint> D2, Vector128<uint> D3) Dwords(nint at)
    {
        Vector128<uint> a = Sixteen(ref _a, at).AsUInt32(), b = Sixteen(ref _b, at).AsUInt32(), c = Sixteen(ref _c, at).AsUInt32(), d = Sixteen(ref _d, at).AsUInt32();
        return Transposed(a, b, c, d, Present);
    }

    /// <summary>Eight 16-bit values of each row from <paramref name="at"/> on: vector i holds values 2i and then 2i + 1 of every row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public (Vector128<ushort> P0, Vector128<ushort> P1, Vector128<ushort> P2, Vector128<ushort> P3) Words(nint at)
    {
        Vector128<ushort> a = Sixteen(ref _a, at).AsUInt16(), b = Sixteen(ref _b, at).AsUInt16(), c = Sixteen(ref _c, at).AsUInt16(), d = Sixteen(ref _d, at).AsUInt16();
        Vector128<ushort> present = Vector128.Create(PresentHalves).AsUInt16();
        Vector128<ushort> ac = ZipLow(a, c), acHigh = ZipHigh(a, c), bd = ZipLow(b, d), bdHigh = ZipHigh(b, d);
        return (ZipLow(ac, bd) & present, ZipHigh(ac, bd) & present, ZipLow(acHigh, bdHigh) & present, ZipHigh(acHigh, bdHigh) & present);
    }

    /// <summary>Four rows of four dwords by columns, without the lanes that are missing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector128<uint> D0, Vector128<uint> D1, Vector128<uint> D2, Vector128<uint> D3) Transposed(
        Vector128<uint> a, Vector128<uint> b, Vector128<uint> c, Vector128<uint> d, Vector128<uint> present)
    {
        Vector128<uint> ac = ZipLow(a, c), acHigh = ZipHigh(a, c), bd = ZipLow(b, d), bdHigh = ZipHigh(b, d);
        return (ZipLow(ac, bd) & present, ZipHigh(ac, bd) & present, ZipLow(acHigh, bdHigh) & present, ZipHigh(acHigh, bdHigh) & present);
    }

    private static ReadOnlySpan<byte> Part(WeightRows rows, int row, int start, int length) => rows.Part(row, start, length);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ushort Half(ref byte row, nint at) => Unsafe.ReadUnaligned<ushort>(ref Unsafe.AddByteOffset(ref row, at));

    private static uint Whole(ref byte row, nint at) => Unsafe.ReadUnaligned<uint>(ref Unsafe.AddByteOffset(ref row, at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Sixteen(ref byte row, nint at) => Unsafe.ReadUnaligned<Vector128<byte>>(ref Unsafe.AddByteOffset(ref row, at));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> ZipLow(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b) : Vector128.Create(a[0], b[0], a[1], b[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> ZipHigh(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b) : Vector128.Create(a[2], b[2], a[3], b[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> ZipLow(Vector128<ushort> a, Vector128<ushort> b) => Sse2.IsSupported ? Sse2.UnpackLow(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b) : Vector128.Create(a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> ZipHigh(Vector128<ushort> a, Vector128<ushort> b) => Sse2.IsSupported ? Sse2.UnpackHigh(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b) : Vector128.Create(a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]);
}
