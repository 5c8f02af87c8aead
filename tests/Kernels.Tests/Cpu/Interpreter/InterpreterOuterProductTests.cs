using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Attention's emitted loops of every family, interpreted: the bits of plain loops, and no byte read or written but those they are for.</summary>
[TestFixture]
public sealed unsafe class InterpreterOuterProductTests
{
    private const int L = VectorMath.Lanes;
    private readonly List<HostBuffer> _memory = [];

    private static readonly IsaPath[] Paths = [IsaPath.Avx2, IsaPath.Avx512];

    private static IEnumerable<TestCaseData> Cases =>
        from path in Paths
        from type in new[] { ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Q8 }
        select new TestCaseData(path, type);

    [TearDown]
    public void Free()
    {
        _memory.ForEach(buffer => buffer.Dispose());
        _memory.Clear();
    }

    [TestCaseSource(nameof(Cases))]
    public void Loop_EveryShape_SameBitsAsPlainLoops(IsaPath path, ElementType type)
    {
        foreach (ScalesOf scales in type == ElementType.Q8 ? new[] { ScalesOf.Lanes, ScalesOf.Steps } : [ScalesOf.Nothing])
        {
            (byte[] code, int[] offsets) = OuterProductCode.Emit(InstructionFamily.Of(path)!, type, scales);
            for (int shape = 0; shape < offsets.Length; shape++)
            {
                foreach (bool fresh in new[] { false, true })
                {
                    foreach (int count in scales == ScalesOf.Lanes ? new[] { 32, 96 } : [1, 37])
                    {
                        using CodeInterpreter cpu = new(code, InterpretedKernel.Features(path, hasBFloat16: false));
                        Compare(cpu, offsets[shape], type, scales, 1 + (shape / OuterProducts.Vectors), 1 + (shape % OuterProducts.Vectors), count, fresh);
                    }
                }
            }
        }
    }

    private void Compare(CodeInterpreter cpu, int offset, ElementType type, ScalesOf of, int rows, int vectors, int count, bool fresh)
    {
        int aRow = count + 3, sumRow = (vectors * L) + 5, stride = (L * type.SizeBytes()) + 6, vectorBytes = ((count - 1) * stride) + (L * type.SizeBytes());
        int blocks = of == ScalesOf.Lanes ? count / Q8Block.Elements : ((vectors * L) + Q8Block.Elements - 1) / Q8Block.Elements;
        int factors = of == ScalesOf.Nothing ? 0 : ((blocks - 1) * ElementScales.Row) + (of == ScalesOf.Lanes ? vectors * L : count);

        // 1. Operands, each exactly as long as it must be.
        float* a = Floats(((rows - 1) * aRow) + count, seed: 1), sums = Floats(rows * sumRow, seed: 2), expected = Floats(rows * sumRow, seed: 2), scales = Floats(factors, seed: 3);
        byte** b = (byte**)Bytes(2 * OuterProducts.Vectors * sizeof(byte*)), next = b + OuterProducts.Vectors;
        for (int v = 0; v < vectors; v++)
        {
            b[v] = Elements(type, vectorBytes, stride, count, seed: 4 + v);
            next[v] = (byte*)0x10000; // nothing is there: a prefetch may name any address
            cpu.Allow((nint)b[v], vectorBytes, write: false, $"vector {v} of b");
        }
        OuterCall* call = (OuterCall*)Bytes(sizeof(OuterCall));
        *call = new OuterCall
        {
            A = a,
            RowBytes = aRow * sizeof(float),
            B = b,
            Next = next,
            StepBytes = stride,
            Count = count,
            Sums = sums,
            SumBytes = sumRow * sizeof(float),
            IsFresh = fresh ? 1 : 0,
            Scales = scales,
        };
        cpu.Allow((nint)call, sizeof(OuterCall), write: false, "the OuterCall");
        cpu.Allow((nint)b, 2 * OuterProducts.Vectors * sizeof(byte*), write: false, "the addresses");
        cpu.Allow((nint)a, (((rows - 1L) * aRow) + count) * sizeof(float), write: false, "a");
        cpu.Allow((nint)scales, (long)factors * sizeof(float), write: false, "the scales");
        for (int row = 0; row < rows; row++)
            cpu.Allow((nint)(sums + (row * sumRow)), vectors * L * sizeof(float), write: true, $"row {row} of the sums");

        // 2. Interpreted, and in plain loops.
        cpu.Run(offset, (nint)call);
        OuterProducts plain = new(null);
        ElementScales factorsOfB = new(of, scales);
        switch (type)
        {
            case ElementType.Float16: plain.Add<Float16Element>(a, aRow, b, b, rows, vectors, stride, count, expected, sumRow, fresh, factorsOfB); break;
            case ElementType.BFloat16: plain.Add<BFloat16Element>(a, aRow, b, b, rows, vectors, stride, count, expected, sumRow, fresh, factorsOfB); break;
            case ElementType.Q8: plain.Add<Q8Element>(a, aRow, b, b, rows, vectors, stride, count, expected, sumRow, fresh, factorsOfB); break;
            default: plain.Add<Float32Element>(a, aRow, b, b, rows, vectors, stride, count, expected, sumRow, fresh, factorsOfB); break;
        }
        Assert.That(
            new ReadOnlySpan<int>(sums, rows * sumRow).SequenceEqual(new ReadOnlySpan<int>(expected, rows * sumRow)), Is.True,
            $"{type}, {of}, {rows} rows, {vectors} vectors, {count} steps, fresh {fresh}");
    }

    private byte* Bytes(int count)
    {
        HostBuffer buffer = new(Math.Max(count, 1));
        _memory.Add(buffer);
        return buffer.Pointer;
    }

    private float* Floats(int count, int seed)
    {
        float* values = (float*)Bytes(count * sizeof(float));
        Numbers.Uniform(count, seed).CopyTo(new Span<float>(values, count));
        return values;
    }

    private byte* Elements(ElementType type, int bytes, int stride, int count, int seed)
    {
        byte* target = Bytes(bytes);
        float[] values = Numbers.Uniform(count * L, seed);
        for (int i = 0; i < values.Length; i++)
        {
            byte* at = target + (i / L * stride) + (i % L * type.SizeBytes());
            switch (type)
            {
                case ElementType.Float16: *(Half*)at = (Half)values[i]; break;
                case ElementType.BFloat16: *(ushort*)at = FloatValues.ToBFloat16(values[i]); break;
                case ElementType.Q8: *(sbyte*)at = (sbyte)(127 * values[i]); break;
                default: *(float*)at = values[i]; break;
            }
        }
        return target;
    }
}
