using ILGPU;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>How the elements of a cache are stored.</summary>
internal enum KvFormat
{
    /// <summary>binary32.</summary>
    Float32,

    /// <summary>binary16.</summary>
    Float16,

    /// <summary>bfloat16.</summary>
    BFloat16,
}

/// <summary>One layer's paged keys and values as kernels see them.</summary>
/// <remarks>
/// Shapes   The blockTokens · headDim elements of one (block, head) are arranged in one of two ways.
///          Tiled, where elements have 16 bits and both numbers are multiples of 16: squares of 16 positions × 16 dimensions, all dimensions of 16
///          positions before the next 16. A square is stored as the A operand of mma.m16n8k16, lane by lane: 8 elements, so that a warp reads a
///          whole square by one 16-byte load a lane, 512 bytes in a row. Keys are the operand's rows and dimensions its columns; for values
///          it is the other way round, because O^T = V^T · P.
///          Otherwise position after position.
/// </remarks>
internal readonly struct KvView
{
    /// <summary>Positions and dimensions of a square.</summary>
    public const int Square = 16;

    /// <summary>Keys as bytes.</summary>
    public readonly ArrayView<byte> Keys;

    /// <summary>Values as bytes.</summary>
    public readonly ArrayView<byte> Values;

    /// <summary>Element type.</summary>
    public readonly KvFormat Format;

    /// <summary>1 where squares are stored as operands.</summary>
    public readonly int Tiled;

    /// <summary>KV heads.</summary>
    public readonly int Heads;

    /// <summary>Elements of a head.</summary>
    public readonly int HeadDim;

    /// <summary>Positions of a block.</summary>
    public readonly int BlockTokens;

    /// <summary>Blocks of the cache.</summary>
    public readonly int Blocks;

    /// <summary>The cache of a layer.</summary>
    /// <exception cref="ArgumentException">Keys and values differ in shape, have gaps, or hold another type.</exception>
    public KvView(KvLayer cache)
    {
        Require.Shape(cache.Values, cache.Keys.Rows, cache.Keys.Columns, cache.Keys.Type, "cache.Values");
        Require.Contiguous(cache.Keys);
        Require.Contiguous(cache.Values);
        Format = cache.Keys.Type switch
        {
            ElementType.Float32 => KvFormat.Float32,
            ElementType.Float16 => KvFormat.Float16,
            ElementType.BFloat16 => KvFormat.BFloat16,
            _ => throw new ArgumentException($"A cache cannot hold {cache.Keys.Type}."),
        };
        Heads = cache.Heads;
        HeadDim = cache.Keys.Columns;
        BlockTokens = cache.BlockTokens;
        Blocks = cache.Keys.Rows / (Heads * BlockTokens);
        Tiled = Format != KvFormat.Float32 && HeadDim % Square == 0 && BlockTokens % Square == 0 ? 1 : 0;
        Keys = Bytes(cache.Keys);
        Values = Bytes(cache.Values);
    }

    /// <summary>Where the elements of one (block, head) begin.</summary>
    public static long TileStart(KvView cache, int block, int head) => ((long)block * cache.Heads + head) * cache.BlockTokens * cache.HeadDim;

    /// <summary>Where a key's element lies behind the start of its tile.</summary>
    public static int KeyOffset(KvView cache, int position, int dimension) => cache.Tiled == 0
        ? position * cache.HeadDim + dimension
        : SquareStart(cache, position, dimension) + OperandOffset(position % Square, dimension % Square);

    /// <summary>Where a value's element lies behind the start of its tile.</summary>
    public static int ValueOffset(KvView cache, int position, int dimension) => cache.Tiled == 0
        ? position * cache.HeadDim + dimension
        : SquareStart(cache, position, dimension) + OperandOffset(dimension % Square, position % Square);

    /// <summary>One element as float32.</summary>
    public static float Read(KvView cache, ArrayView<byte> elements, long index)
    {
        if (cache.Format == KvFormat.Float32)
            return elements.Cast<float>()[index];
        uint bits = elements.Cast<ushort>()[index];
        return cache.Format == KvFormat.Float16 ? HalfFloats.FromHalf(bits) : HalfFloats.FromBFloat(bits);
    }

    /// <summary>Stores a key's or value's element, rounded to nearest even.</summary>
    public static void Write(KvView cache, ArrayView<byte> elements, long index, float value)
    {
        if (cache.Format == KvFormat.Float32)
            elements.Cast<float>()[index] = value;
        else
            elements.Cast<ushort>()[index] = (ushort)(cache.Format == KvFormat.Float16 ? HalfFloats.ToHalves(value, 0f) : HalfFloats.ToBFloats(value, 0f));
    }

    private static ArrayView<byte> Bytes(Tensor tensor) =>
        DeviceViews.Memory(tensor).View.SubView(tensor.OffsetBytes, (long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes());

    private static int SquareStart(KvView cache, int position, int dimension) =>
        position / Square * (Square * cache.HeadDim) + dimension / Square * (Square * Square);

    /// <summary>Place of (row, column) in the A operand of mma.m16n8k16: lane (row % 8, column pair % 4), registers by the halves of rows, then of columns.</summary>
    private static int OperandOffset(int row, int column) => (row % 8 * 4 + column % 8 / 2) * 8 + (row / 8 + column / 8 * 2) * 2 + column % 2;
}
