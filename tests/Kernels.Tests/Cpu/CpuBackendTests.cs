using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Neon;
using TpServe.Kernels.Cpu.Packing;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>The composed backend beside the reference backend, and the parts that belong to it alone.</summary>
[TestFixture]
public sealed class CpuBackendTests
{
    [Test]
    public void Description_SaysPathAndThreads()
    {
        using CpuBackend backend = new(1, IsaPath.Scalar, CpuActivations.Float32);
        Assert.That(backend.Description, Is.EqualTo("cpu scalar, float32 activations, 1 thread"));
        using CpuBackend widest = new(2);
        Assert.That(widest.Description, Is.EqualTo($"cpu {Isa.Detect().Name()}, 2 threads"));
    }

    [Test]
    public void IsaNames_RoundTrip()
    {
        foreach (IsaPath path in Enum.GetValues<IsaPath>())
        {
            Assert.That(Isa.TryParse(path.Name(), out IsaPath parsed), Is.True);
            Assert.That(parsed, Is.EqualTo(path));
        }
        Assert.That(Isa.TryParse("avx1024", out _), Is.False);
        Assert.That(Isa.TryParse(null, out _), Is.False);
    }

    [Test]
    public void Supported_PathsOfOtherArchitectures_AreNotThere()
    {
        IsaPath[] own = RuntimeInformation.ProcessArchitecture switch
        {
            Architecture.X64 => [IsaPath.Scalar, IsaPath.Avx2, IsaPath.AvxVnni, IsaPath.Avx512, IsaPath.Avx512Vnni],
            Architecture.Arm64 => [IsaPath.Scalar, IsaPath.Neon],
            _ => [IsaPath.Scalar],
        };
        Assert.That(Isa.Supported, Is.SubsetOf(own));
        foreach (IsaPath other in Enum.GetValues<IsaPath>().Except(own))
            Assert.That(() => new CpuBackend(1, other), Throws.TypeOf<PlatformNotSupportedException>());
    }

    [Test]
    public void EmbedAndLinear_AllFormats_CloseToTheReference([Values] WeightFormat format, [Values] CpuActivations activations)
    {
        const int rows = 3, columns = 512, outputs = 48;
        using CpuBackend cpu = new(2, activations: activations);
        using ReferenceBackend reference = new();
        float[] actual = Forward(cpu), expected = Forward(reference);
        // float32 against float32 in another order; int8 and bf16 activations have noise of their own.
        double bound = activations == CpuActivations.Float32 || format is WeightFormat.F32 or WeightFormat.F16 ? 1e-11 : 1e-4;
        Assert.That(Numbers.Nmse(actual, expected), Is.LessThan(bound));

        float[] Forward(ITensorBackend backend)
        {
            LinearWeights matrix = LinearWeights.Random(format, outputs, columns, seed: 1);
            using PackedWeight table = backend.PackWeight(LinearWeights.Random(WeightFormat.F32, 10, columns, seed: 2), InputLeaves.Whole(columns));
            using PackedWeight weight = backend.PackWeight(matrix, InputLeaves.Whole(columns));
            using PackedWeight halves = backend.PackWeight(matrix, new InputLeaves([0, 240, 512], [0, 0]));
            long mark = backend.Mark();
            Tensor ids = backend.Rent(rows, 1, ElementType.Int32);
            backend.Upload<int>([3, 0, 9], ids);
            Tensor x = backend.Rent(rows, columns), y = backend.Rent(rows, 2 * outputs), pieces = backend.Rent(2 * rows, outputs);
            backend.Embed(ids, table, 0, 2f, x);
            backend.Linear(x, [weight, weight], y);
            backend.LinearPieces(x, halves, pieces);
            float[] result = new float[rows * 4 * outputs];
            backend.Download(y, result.AsSpan(0, rows * 2 * outputs));
            backend.Download(pieces, result.AsSpan(rows * 2 * outputs));
            backend.Release(mark);
            return result;
        }
    }

    /// <summary>Codebooks are looked up when they are packed, and three values in eight bits are taken apart: these take a table's index or two bits for each value.</summary>
    [Test]
    public void Pack_AnyFormat_TakesTheFilesBytesOrThoseOfItsTable([Values] WeightFormat format)
    {
        double bits = format switch
        {
            WeightFormat.IQ1_S or WeightFormat.IQ2_XXS or WeightFormat.IQ3_XXS or WeightFormat.IQ3_S or WeightFormat.IQ4_XS => 4.3125,
            WeightFormat.IQ1_M or WeightFormat.IQ2_XS or WeightFormat.IQ2_S => 4.5625,
            WeightFormat.TQ1_0 => 2.0625,
            WeightFormat.Q1_0 => 2.125,
            WeightFormat.Q8_K => 8.125, // without the file's sums
            _ => 8.0 * format.RowBytes(1024) / 1024,
        };
        using CpuThreads threads = new(1);
        using CpuLinear linear = new(threads, IsaPath.Scalar, CpuActivations.Auto);
        using CpuPackedWeight weight = linear.Pack(LinearWeights.Random(format, 64, 1024, seed: 1), InputLeaves.Whole(1024));
        Assert.That(weight.Bytes, Is.EqualTo((long)(64 * 1024 * bits / 8)));
    }

    [Test]
    public void Pack_ColumnsOfOneRank_TakesOnlyTheirUnits()
    {
        using CpuThreads threads = new(1);
        using CpuLinear linear = new(threads, IsaPath.Scalar, CpuActivations.Auto);
        LinearWeights rows = LinearWeights.Random(WeightFormat.Q4_K, 16, 1024, seed: 1);
        using CpuPackedWeight middle = linear.Pack(rows, new InputLeaves([320, 512], [0]));
        using CpuPackedWeight across = linear.Pack(rows, new InputLeaves([320, 544], [0]));
        Assert.That(middle.Bytes, Is.EqualTo(16 * 144));
        Assert.That(across.Bytes, Is.EqualTo(2 * 16 * 144));
    }

    [Test]
    public void WeightMemory_SmallAndHuge_AlignedAndZero([Values(100L, 9L << 20)] long bytes)
    {
        using WeightMemory memory = new(bytes);
        unsafe
        {
            Assert.That((long)memory.Pointer % 64, Is.Zero);
            Assert.That(new ReadOnlySpan<byte>(memory.Pointer, (int)bytes).IndexOfAnyExcept((byte)0), Is.EqualTo(-1));
            memory.Pointer[bytes - 1] = 1;
        }
    }

    [Test]
    public void ScratchArena_SameStepAgain_GivesTheSameMemory()
    {
        using ScratchArena arena = new(bytes => new HostBuffer(bytes));
        long start = arena.Mark();
        Tensor[] first = Rent();
        arena.Release(start);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Tensor big = arena.Rent(1, 3 << 20, ElementType.Float32), small = arena.Rent(3, 5, ElementType.Float16);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.That(allocated, Is.Zero);
        Assert.That((big.Buffer, big.OffsetBytes), Is.EqualTo((first[0].Buffer, first[0].OffsetBytes)));
        Assert.That((small.Buffer, small.OffsetBytes), Is.EqualTo((first[1].Buffer, first[1].OffsetBytes)));
        Assert.That(small.Buffer == big.Buffer && small.OffsetBytes < big.OffsetBytes + (12L << 20), Is.False, "tensors do not overlap");
        Assert.That(() => arena.Release(arena.Mark() + 1), Throws.InstanceOf<ArgumentOutOfRangeException>());

        Tensor[] Rent() => [arena.Rent(1, 3 << 20, ElementType.Float32), arena.Rent(3, 5, ElementType.Float16)];
    }

    [Test]
    public void StructsOfEmittedCode_HaveTheSizesItReads()
    {
        Assert.That(Unsafe.SizeOf<PanelCall>(), Is.EqualTo(96));
        Assert.That(Unsafe.SizeOf<LeafEntry>(), Is.EqualTo(LeafEntry.Size));
        Assert.That(Math.Max(Math.Max(PlainKernel.ScratchBytes, NeonKernel.ScratchBytes), KernelScratch.Bytes), Is.LessThanOrEqualTo(ThreadScratch.BlockBytes));
    }
}
