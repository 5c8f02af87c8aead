using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;

namespace TpServe.Model.Weights;

/// <summary>Rows of a matrix that a hub folder keeps quantised in several tensors, put together as blocks of one weight format; no value is rounded twice.</summary>
/// <remarks>
/// Numerics scale · (code − zero) is exact in every format chosen, or in float32 rounded once, as the reference's float32 is.
/// Cost     words of codes that several outputs share, or that lie side by side, are taken apart once for eight outputs.
/// Threads  any: what is put together is the thread's own until its next call for other outputs or columns.
/// </remarks>
internal sealed class AssembledRows(ModelCheckpoint checkpoint, TensorInfo tensor, QuantisedStorage storage, int firstRow, int rows, int headDim)
    : TensorRows(checkpoint, tensor, firstRow, rows, headDim)
{
    private const int Octet = 8;

    // Where in a word of eight outputs AWQ keeps each of them.
    private static readonly int[] s_awqPlace = [0, 4, 1, 5, 2, 6, 3, 7];

    [ThreadStatic]
    private static CodesOfOctet? s_last;

    private readonly ModelCheckpoint _checkpoint = checkpoint;
    private readonly WeightFormat _format = FormatOf(tensor);
    private readonly int _inputs = tensor.Shape[^1];
    private readonly int _outputs = tensor.Shape[^2];
    private readonly int _groups = storage.Scales.Shape.Count > 0 ? (tensor.Shape[^1] + storage.Group - 1) / storage.Group : 1;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output) => Part(output, 0, checked((int)_format.RowBytes(_inputs)));

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Part(int output, int start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)Outputs, nameof(output));
        int blockBytes = _format.BlockBytes(), blockValues = _format.BlockValues(), row = FirstRow + output;
        byte[] blocks = new byte[length];
        int first = start / blockBytes * blockValues, count = length / blockBytes * blockValues;
        if (_format == WeightFormat.MXFP4)
        {
            Float4(row, first, blocks);
            return blocks;
        }
        Sources sources = new(_checkpoint, storage);
        ReadOnlySpan<byte> codes = Codes(sources, row, first, count);
        switch (_format)
        {
            case WeightFormat.INT4_F16 or WeightFormat.INT4_BF16:
                Nibbles(sources, row, first, codes, blocks);
                break;
            case WeightFormat.INT8 or WeightFormat.FP8:
                Bytes(sources, row, first, codes, blocks);
                break;
            default:
                Singles(sources, row, first, codes, MemoryMarshal.Cast<byte, float>(blocks.AsSpan()));
                break;
        }
        return blocks;
    }

    /// <inheritdoc/>
    public override void Release(int first, int count)
    {
        // Its parts lie in other orders: they go together when the matrix is done.
    }

    // Pairs of neighbours become low and high halves of a block; rows of all outer dimensions follow each other.
    private void Float4(int row, int first, Span<byte> blocks)
    {
        long at = ((long)row * _inputs) + first;
        int count = blocks.Length / 17;
        ReadOnlySpan<byte> pairs = _checkpoint.Bytes(storage.Codes, at / 2, 16 * count), exponents = _checkpoint.Bytes(storage.Scales, at / 32, count);
        for (int block = 0; block < count; block++)
        {
            ReadOnlySpan<byte> source = pairs.Slice(16 * block, 16);
            Span<byte> target = blocks.Slice(17 * block, 17);
            target[0] = exponents[block];
            for (int j = 0; j < 8; j++)
            {
                target[1 + (2 * j)] = (byte)((source[j] & 15) | (source[8 + j] & 15) << 4);
                target[2 + (2 * j)] = (byte)(source[j] >> 4 | (source[8 + j] & 0xF0));
            }
        }
    }

    private void Nibbles(Sources sources, int row, int first, ReadOnlySpan<byte> codes, Span<byte> blocks)
    {
        for (int at = 0; at < codes.Length; at += 32, blocks = blocks[19..])
        {
            int group = (first + at) / storage.Group;
            BinaryPrimitives.WriteUInt16LittleEndian(blocks, Half(sources, row, group));
            blocks[2] = (byte)Zero(sources, row, group);
            for (int j = 0; j < 16; j++)
                blocks[3 + j] = (byte)(codes[at + j] | codes[at + 16 + j] << 4);
        }
    }

    private void Bytes(Sources sources, int row, int first, ReadOnlySpan<byte> codes, Span<byte> blocks)
    {
        // Packed codes of eight bits are the value + 128; what is a byte in the file is the value, or an E4M3.
        byte flip = (byte)(storage.Form is StorageForm.Packed or StorageForm.Gptq ? 0x80 : 0);
        int checkedGroup = -1;
        for (int at = 0; at < codes.Length; at += 32, blocks = blocks[36..])
        {
            int group = (first + at) / storage.Group;
            if (group != checkedGroup && storage.Zeros is { } zeros && Zero(sources, row, group) != 128)
                throw new ModelLoadException($"{_checkpoint.Path}: tensor '{zeros.FileName}': expected zeros of 128, for quantization_config says that it is symmetric, found {Zero(sources, row, group)}.");
            checkedGroup = group;
            BinaryPrimitives.WriteSingleLittleEndian(blocks, Scale(sources, row, group));
            for (int j = 0; j < 32; j++)
                blocks[4 + j] = (byte)(codes[at + j] ^ flip);
        }
    }

    private void Singles(Sources sources, int row, int first, ReadOnlySpan<byte> codes, Span<float> values)
    {
        ReadOnlySpan<byte> order = storage.Order is { } groups ? _checkpoint.Bytes(groups) : default;
        int last = -1, zero = 0;
        float scale = 0;
        for (int k = 0; k < values.Length; k++)
        {
            int group = order.IsEmpty ? (first + k) / storage.Group : BinaryPrimitives.ReadInt32LittleEndian(order[(4 * (first + k))..]);
            if (group != last)
                (last, scale, zero) = (group, Scale(sources, row, group), storage.Form is StorageForm.Integers or StorageForm.Floats8 ? 0 : Zero(sources, row, group));
            values[k] = storage.Form switch
            {
                StorageForm.Floats8 => scale * FloatValues.E4M3(codes[k]),
                StorageForm.Integers => scale * (sbyte)codes[k],
                _ => scale * (codes[k] - zero),
            };
        }
    }

    private ushort Half(Sources sources, int row, int group) => BinaryPrimitives.ReadUInt16LittleEndian(sources.Scales[(2 * (int)ScaleIndex(row, group))..]);

    private float Scale(Sources sources, int row, int group)
    {
        int index = (int)ScaleIndex(row, group);
        return storage.Scales.Type switch
        {
            TensorType.F32 => BinaryPrimitives.ReadSingleLittleEndian(sources.Scales[(4 * index)..]),
            TensorType.F16 => (float)BinaryPrimitives.ReadHalfLittleEndian(sources.Scales[(2 * index)..]),
            TensorType.BF16 => FloatValues.FromBFloat16(BinaryPrimitives.ReadUInt16LittleEndian(sources.Scales[(2 * index)..])),
            _ => throw new ModelLoadException($"{_checkpoint.Path}: tensor '{storage.Scales.FileName}': expected F32, F16 or BF16, found {storage.Scales.Type}."),
        };
    }

    private long ScaleIndex(int row, int group) => storage.Form is StorageForm.Awq or StorageForm.Gptq ? ((long)group * _outputs) + row : ((long)(row / storage.GroupOutputs) * _groups) + group;

    private int Zero(Sources sources, int row, int group)
    {
        if (storage.Zeros is not { } zeros)
            return 1 << (storage.Bits - 1);
        int perWord = 32 / storage.Bits, place = storage.Form is StorageForm.Awq ? s_awqPlace[row % Octet] : row % perWord;
        long word = storage.Form is StorageForm.Packed ? ((long)(row / perWord) * _groups) + group : ((long)group * zeros.Shape[1]) + (row / perWord);
        return (int)(Word(sources.Zeros, word) >> (storage.Bits * place) & ((1u << storage.Bits) - 1)) + storage.ZeroOffset;
    }

    private static uint Word(ReadOnlySpan<byte> words, long index) => BinaryPrimitives.ReadUInt32LittleEndian(words[checked((int)(4 * index))..]);

    /// <summary>A byte for each of a row's codes from an input on.</summary>
    private ReadOnlySpan<byte> Codes(Sources sources, int row, int first, int count)
    {
        switch (storage.Form)
        {
            case StorageForm.Integers or StorageForm.Floats8:
                return sources.Codes.Slice(checked((row * _inputs) + first), count);
            case StorageForm.Packed:
                byte[] codes = new byte[count];
                int perWord = 32 / storage.Bits;
                for (int k = 0; k < count; k++)
                    codes[k] = Code(Word(sources.Codes, ((long)row * storage.Codes.Shape[1]) + ((first + k) / perWord)), (first + k) % perWord);
                return codes;
            default:
                CodesOfOctet? last = s_last;
                if (last is null || last.Rows != this || last.Octet != row / Octet || last.First != first || last.Count != count)
                    s_last = last = TakeApart(sources, row / Octet, first, count);
                return last.Codes.AsSpan(row % Octet * count, count);
        }
    }

    // AWQ: a word is eight outputs of an input. GPTQ: a word is several inputs of an output, eight outputs lie side by side.
    private CodesOfOctet TakeApart(Sources sources, int octet, int first, int count)
    {
        byte[] codes = new byte[Octet * count];
        int outputs = Math.Min(Octet, _outputs - (octet * Octet)), perWord = 32 / storage.Bits;
        if (storage.Form is StorageForm.Awq)
        {
            for (int k = 0; k < count; k++)
            {
                uint word = Word(sources.Codes, ((long)(first + k) * storage.Codes.Shape[1]) + octet);
                for (int i = 0; i < Octet; i++)
                    codes[(i * count) + k] = Code(word, s_awqPlace[i]);
            }
            return new CodesOfOctet(this, octet, first, count, codes);
        }
        for (int k = 0; k < count; k += perWord - ((first + k) % perWord))
        {
            int place = (first + k) % perWord, inWord = Math.Min(perWord - place, count - k);
            ReadOnlySpan<byte> words = sources.Codes.Slice(checked(4 * (((first + k) / perWord * _outputs) + (octet * Octet))), 4 * outputs);
            for (int i = 0; i < outputs; i++)
            {
                uint word = BinaryPrimitives.ReadUInt32LittleEndian(words[(4 * i)..]);
                for (int j = 0; j < inWord; j++)
                    codes[(i * count) + k + j] = Code(word, place + j);
            }
        }
        return new CodesOfOctet(this, octet, first, count, codes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte Code(uint word, int place) => (byte)(word >> (storage.Bits * place) & ((1u << storage.Bits) - 1));

    /// <summary>Codes of eight outputs, one after the other.</summary>
    private sealed record CodesOfOctet(AssembledRows Rows, int Octet, int First, int Count, byte[] Codes);

    /// <summary>The mapped bytes of the parts: looked up once, read where they are wanted.</summary>
    private readonly ref struct Sources(ModelCheckpoint checkpoint, QuantisedStorage storage)
    {
        public ReadOnlySpan<byte> Codes { get; } = checkpoint.Bytes(storage.Codes);

        public ReadOnlySpan<byte> Scales { get; } = checkpoint.Bytes(storage.Scales);

        public ReadOnlySpan<byte> Zeros { get; } = storage.Zeros is { } zeros ? checkpoint.Bytes(zeros) : default;
    }
}
