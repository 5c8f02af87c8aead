using System.Buffers.Binary;
using NUnit.Framework;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Tests;

/// <summary>The codebook formats the other way round: blocks written field by field from chosen codes, signs and scales, and what they must decode to.</summary>
public sealed class CodebookBlocksTests
{
    private const float D = 0.5f;
    private static readonly int[] TwoBits = [8, 25, 43], ThreeBits = [4, 12, 20, 28, 36, 44, 52, 62];

    private readonly Random _random = new(11);
    private readonly float[] _expected = new float[256];

    [TestCase(WeightFormat.IQ2_XXS, 66)]
    [TestCase(WeightFormat.IQ2_XS, 74)]
    [TestCase(WeightFormat.IQ2_S, 82)]
    [TestCase(WeightFormat.IQ3_XXS, 98)]
    [TestCase(WeightFormat.IQ3_S, 110)]
    [TestCase(WeightFormat.IQ1_S, 50)]
    [TestCase(WeightFormat.IQ1_M, 56)]
    public void Row_BlockOfChosenCodes_IsTheirValues(WeightFormat format, int bytes)
    {
        for (int round = 0; round < 20; round++)
        {
            byte[] block = new byte[bytes];
            if (format != WeightFormat.IQ1_M)
                BinaryPrimitives.WriteHalfLittleEndian(block, (Half)D);
            Action<byte[]> write = format switch
            {
                WeightFormat.IQ2_XXS => Iq2Xxs,
                WeightFormat.IQ2_XS => Iq2Xs,
                WeightFormat.IQ2_S => Iq2S,
                WeightFormat.IQ3_XXS => Iq3Xxs,
                WeightFormat.IQ3_S => Iq3S,
                WeightFormat.IQ1_S => Iq1S,
                _ => Iq1M,
            };
            write(block);
            float[] actual = new float[256];
            Dequantize.Row(format, block, actual);
            Assert.That(actual, Is.EqualTo(_expected));
        }
    }

    private void Iq2Xxs(byte[] block)
    {
        for (int sub = 0; sub < 8; sub++)
        {
            uint scale = (uint)_random.Next(16), word = scale << 28;
            for (int group = 0; group < 4; group++)
            {
                (int code, int signs) = (_random.Next(256), EvenSigns());
                block[2 + (8 * sub) + group] = (byte)code;
                word |= (uint)(signs & 127) << (7 * group);
                Expect((32 * sub) + (8 * group), D * (0.5f + scale) / 4, CodebookGrids.TwoBitXxs[code], 2, TwoBits, signs, 8);
            }
            BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(2 + (8 * sub) + 4), word);
        }
    }

    private void Iq2Xs(byte[] block)
    {
        int[] scales = Scales(block.AsSpan(66), 16);
        for (int group = 0; group < 32; group++)
        {
            (int code, int signs) = (_random.Next(512), EvenSigns());
            BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(2 + (2 * group)), (ushort)(code | (signs & 127) << 9));
            Expect(8 * group, D * (0.5f + scales[group / 2]) / 4, CodebookGrids.TwoBitXs[code], 2, TwoBits, signs, 8);
        }
    }

    private void Iq2S(byte[] block)
    {
        int[] scales = Scales(block.AsSpan(74), 16);
        for (int group = 0; group < 32; group++)
        {
            (int code, int signs) = (_random.Next(1024), _random.Next(256));
            block[2 + group] = (byte)code;
            block[34 + group] = (byte)signs;
            block[66 + (group / 4)] |= (byte)(code >> 8 << (2 * (group % 4)));
            Expect(8 * group, D * (0.5f + scales[group / 2]) / 4, CodebookGrids.TwoBitS[code], 2, TwoBits, signs, 8);
        }
    }

    private void Iq3Xxs(byte[] block)
    {
        for (int sub = 0; sub < 8; sub++)
        {
            uint scale = (uint)_random.Next(16), word = scale << 28;
            for (int group = 0; group < 4; group++)
            {
                int signs = EvenSigns();
                word |= (uint)(signs & 127) << (7 * group);
                for (int half = 0; half < 2; half++)
                {
                    int code = _random.Next(256);
                    block[2 + (8 * sub) + (2 * group) + half] = (byte)code;
                    Expect((32 * sub) + (8 * group) + (4 * half), D * (0.5f + scale) / 2, CodebookGrids.ThreeBitXxs[code], 3, ThreeBits, signs >> (4 * half), 4);
                }
            }
            BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(66 + (4 * sub)), word);
        }
    }

    private void Iq3S(byte[] block)
    {
        int[] scales = Scales(block.AsSpan(106), 8), levels = [1, 3, 5, 7, 9, 11, 13, 15];
        for (int group = 0; group < 32; group++)
        {
            int signs = _random.Next(256);
            block[74 + group] = (byte)signs;
            for (int half = 0; half < 2; half++)
            {
                int code = _random.Next(512), at = (2 * group) + half;
                block[2 + at] = (byte)code;
                block[66 + (at / 8)] |= (byte)(code >> 8 << (at % 8));
                Expect((8 * group) + (4 * half), D * ((2 * scales[group / 4]) + 1), CodebookGrids.ThreeBitS[code], 3, levels, signs >> (4 * half), 4);
            }
        }
    }

    private void Iq1S(byte[] block)
    {
        for (int sub = 0; sub < 8; sub++)
        {
            int scale = _random.Next(8), down = _random.Next(2), word = scale << 12 | down << 15;
            for (int group = 0; group < 4; group++)
            {
                int code = _random.Next(2048);
                block[2 + (4 * sub) + group] = (byte)code;
                word |= code >> 8 << (3 * group);
                Shifted((32 * sub) + (8 * group), D * ((2 * scale) + 1), code, down == 1);
            }
            BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(34 + (2 * sub)), (ushort)word);
        }
    }

    private void Iq1M(byte[] block)
    {
        ushort bits = BitConverter.HalfToUInt16Bits((Half)D);
        int[] words = [.. Enumerable.Range(0, 4).Select(i => (bits >> (4 * i) & 15) << 12)];
        for (int sub = 0; sub < 16; sub++)
        {
            int scale = _random.Next(8);
            words[sub / 4] |= scale << (3 * (sub % 4));
            for (int half = 0; half < 2; half++)
            {
                int group = (2 * sub) + half, code = _random.Next(2048), down = _random.Next(2);
                block[group] = (byte)code;
                block[32 + (group / 2)] |= (byte)((code >> 8 | down << 3) << (4 * (group % 2)));
                Shifted(8 * group, D * ((2 * scale) + 1), code, down == 1);
            }
        }
        for (int i = 0; i < 4; i++)
            BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(48 + (2 * i)), (ushort)words[i]);
    }

    private int[] Scales(Span<byte> nibbles, int count)
    {
        int[] scales = [.. Enumerable.Range(0, count).Select(_ => _random.Next(16))];
        for (int i = 0; i < count; i++)
            nibbles[i / 2] |= (byte)(scales[i] << (4 * (i % 2)));
        return scales;
    }

    /// <summary>Eight signs, an even number of them negative.</summary>
    private int EvenSigns()
    {
        int signs = _random.Next(128);
        return int.IsOddInteger(int.PopCount(signs)) ? signs | 128 : signs;
    }

    private void Expect(int at, float scale, int entry, int bits, int[] levels, int signs, int count)
    {
        for (int i = 0; i < count; i++)
            _expected[at + i] = scale * levels[entry >> (bits * i) & ((1 << bits) - 1)] * ((signs >> i & 1) == 0 ? 1 : -1);
    }

    private void Shifted(int at, float scale, int code, bool down)
    {
        for (int i = 0; i < 8; i++)
            _expected[at + i] = scale * ((CodebookGrids.OneBit[code] >> (2 * i) & 3) - 1 + (down ? -0.125f : 0.125f));
    }
}
