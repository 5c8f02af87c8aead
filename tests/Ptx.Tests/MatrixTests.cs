using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>Tensor-core products through inline PTX, compared with a plain triple loop over small integers, where every sum is exact.</summary>
public sealed class MatrixTests
{
    private const int Rows = 16, Columns = 8, K = 32;

    /// <summary>C [16, 8] = A [16, K] · B [8, K]ᵀ in bf16: rows of K values in shared memory, fragments by ldmatrix, named registers.</summary>
    private static void Product(ArrayView<uint> a, ArrayView<uint> b, ArrayView<float> c)
    {
        ArrayView<uint> tile = SharedMemory.GetDynamic<uint>();
        int lane = Group.IdxX;
        for (int i = lane; i < Rows * K / 2; i += 32)
            tile[i] = a[i];
        for (int i = lane; i < Columns * K / 2; i += 32)
            tile[Rows * K / 2 + i] = b[i];
        Group.Barrier();

        CudaAsm.Emit(".reg .f32 acc<4>; .reg .b32 ra<4>, rb<2>; .reg .u32 sa, sb;");
        CudaAsm.Emit("mov.f32 acc0, 0f00000000; mov.f32 acc1, 0f00000000; mov.f32 acc2, 0f00000000; mov.f32 acc3, 0f00000000;");
        CudaAsm.Emit("mov.u32 sa, __dyn_shared_alloca; add.u32 sa, sa, %0;", (lane & 15) * K * 2 + lane / 16 * 16);
        CudaAsm.Emit("mov.u32 sb, __dyn_shared_alloca; add.u32 sb, sb, %0;", Rows * K * 2 + (lane & 7) * K * 2 + (lane >> 3 & 1) * 16);
        for (int k = 0; k < K; k += 16)
        {
            CudaAsm.Emit("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {ra0,ra1,ra2,ra3}, [sa];");
            CudaAsm.Emit("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {rb0,rb1}, [sb];");
            CudaAsm.Emit("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {acc0,acc1,acc2,acc3}, {ra0,ra1,ra2,ra3}, {rb0,rb1}, {acc0,acc1,acc2,acc3};");
            CudaAsm.Emit("add.u32 sa, sa, 32; add.u32 sb, sb, 32;");
        }
        CudaAsm.Emit("mov.f32 %0, acc0;", out float c0);
        CudaAsm.Emit("mov.f32 %0, acc1;", out float c1);
        CudaAsm.Emit("mov.f32 %0, acc2;", out float c2);
        CudaAsm.Emit("mov.f32 %0, acc3;", out float c3);
        int row = lane / 4, column = lane % 4 * 2;
        c[row * Columns + column] = c0;
        c[row * Columns + column + 1] = c1;
        c[(row + 8) * Columns + column] = c2;
        c[(row + 8) * Columns + column + 1] = c3;
    }

    private static float[] Values(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)random.Next(-8, 9))];
    }

    private static ushort Bf16(float value) => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);

    private static float[] TripleLoop(float[] a, float[] b, int k)
    {
        float[] c = new float[Rows * Columns];
        for (int row = 0; row < Rows; row++)
            for (int column = 0; column < Columns; column++)
                for (int i = 0; i < k; i++)
                    c[row * Columns + column] += a[row * k + i] * b[column * k + i];
        return c;
    }

    private static float[] RunProduct(PtxModule module, float[] a, float[] b, out PtxRun run)
    {
        PtxMemory memory = new();
        PtxBuffer left = memory.Allocate(a.Select(Bf16).ToArray()), right = memory.Allocate(b.Select(Bf16).ToArray()), c = memory.Allocate(Rows * Columns * 4);
        run = new PtxMachine(memory, 3).Launch(module, nameof(Product), (1, 1, 1), (32, 1, 1), (Rows + Columns) * K * 2, left.ViewOf(4), right.ViewOf(4), c.ViewOf(4));
        return memory.Read<float>(c);
    }

    [Test]
    public void Mma_FragmentsByLdmatrix_GivesTheTripleLoop()
    {
        float[] a = Values(Rows * K, 1), b = Values(Columns * K, 2);
        Assert.That(RunProduct(IlgpuPtx.Compile(Product), a, b, out PtxRun run), Is.EqualTo(TripleLoop(a, b, K)));
        Assert.That(run.MmaInstructions, Is.EqualTo(2));
        Assert.That(run.WorstBankConflict, Is.EqualTo(4)); // rows of 64 bytes: of 8 rows every second one starts at the same bank
    }

    [TestCase("{rb0,rb1}, {acc0", "{rb1,rb0}, {acc0")]
    [TestCase("{ra0,ra1,ra2,ra3}, {rb", "{ra0,ra2,ra1,ra3}, {rb")]
    [TestCase("x2.shared", "x2.trans.shared")]
    public void Mma_AFragmentSwapped_GivesSomethingElse(string right, string wrong)
    {
        string text = IlgpuPtx.Text(((Action<ArrayView<uint>, ArrayView<uint>, ArrayView<float>>)Product).Method);
        Assert.That(text, Does.Contain(right));
        float[] a = Values(Rows * K, 1), b = Values(Columns * K, 2);
        Assert.That(RunProduct(PtxModule.Parse(text.Replace(right, wrong, StringComparison.Ordinal)), a, b, out _), Is.Not.EqualTo(TripleLoop(a, b, K)));
    }

    /// <summary>Where element (row, k) of A is by the tables of the PTX ISA, written out anew: (lane, register, element of the register).</summary>
    private static (int Lane, int Register, int Element) PlaceOfA(int row, int k, int bits)
    {
        int per = 32 / bits, quarter = 4 * per;
        return (row % 8 * 4 + k % quarter / per, row / 8 + k / quarter * 2, k % per);
    }

    private static (int Lane, int Register, int Element) PlaceOfB(int k, int column, int bits)
    {
        int per = 32 / bits, quarter = 4 * per;
        return (column * 4 + k % quarter / per, k / quarter, k % per);
    }

    [TestCase("m16n8k16", "f32.bf16.bf16.f32", 16, 16)]
    [TestCase("m16n8k8", "f32.bf16.bf16.f32", 8, 16)]
    [TestCase("m16n8k16", "f32.f16.f16.f32", 16, 16)]
    [TestCase("m16n8k8", "f32.f16.f16.f32", 8, 16)]
    [TestCase("m16n8k8", "f32.tf32.tf32.f32", 8, 32)]
    [TestCase("m16n8k4", "f32.tf32.tf32.f32", 4, 32)]
    [TestCase("m16n8k32", "s32.s8.s8.s32", 32, 8)]
    [TestCase("m16n8k16", "s32.s8.s8.s32", 16, 8)]
    public void Mma_EveryShape_GivesTheTripleLoop(string shape, string types, int k, int bits)
    {
        float[] a = Values(Rows * k, 5), b = Values(Columns * k, 6);
        int bRegisters = k * bits / 128, aRegisters = 2 * bRegisters;
        uint[] input = new uint[32 * (aRegisters + bRegisters)];
        for (int i = 0; i < k; i++)
        {
            for (int row = 0; row < Rows; row++)
                Put(PlaceOfA(row, i, bits), 0, a[row * k + i]);
            for (int column = 0; column < Columns; column++)
                Put(PlaceOfB(i, column, bits), aRegisters, b[column * k + i]);
        }
        string type = types[0] == 's' ? "b32" : "f32";
        string loads = string.Concat(Enumerable.Range(0, aRegisters + bRegisters).Select(i => $"ld.global.b32 x{i}, [%i+{i * 128}];"));
        string left = string.Join(',', Enumerable.Range(0, aRegisters).Select(i => $"x{i}")), right = string.Join(',', Enumerable.Range(aRegisters, bRegisters).Select(i => $"x{i}"));
        PtxMemory memory = new();
        PtxBuffer c = memory.Allocate(32 * 16);
        new PtxMachine(memory, 1).Launch(
            Kernel.Of($".reg .b32 x<8>; .reg .{type} c<4>; {loads} mov.{type} c0, {Zero(type)}; mov.{type} c1, c0; mov.{type} c2, c0; mov.{type} c3, c0;"
                + $"mma.sync.aligned.{shape}.row.col.{types} {{c0,c1,c2,c3}}, {{{left}}}, {{{right}}}, {{c0,c1,c2,c3}};"
                + "st.global.b32 [%o], c0; st.global.b32 [%o+128], c1; st.global.b32 [%o+256], c2; st.global.b32 [%o+384], c3;"),
            "k", (1, 1, 1), (32, 1, 1), 0, memory.Allocate(input).Address, c.Address, 0L, 0L);

        uint[] registers = memory.Read<uint>(c);
        float[] actual = new float[Rows * Columns];
        for (int row = 0; row < Rows; row++)
            for (int column = 0; column < Columns; column++)
            {
                uint bitsOfC = registers[(row / 8 * 2 + column % 2) * 32 + row % 8 * 4 + column / 2];
                actual[row * Columns + column] = type == "f32" ? BitConverter.UInt32BitsToSingle(bitsOfC) : (int)bitsOfC;
            }
        Assert.That(actual, Is.EqualTo(TripleLoop(a, b, k)));

        void Put((int Lane, int Register, int Element) place, int first, float value) =>
            input[(first + place.Register) * 32 + place.Lane] |= Encode(value) << (place.Element * bits);

        uint Encode(float value) => types.Contains("bf16", StringComparison.Ordinal) ? Bf16(value)
            : types.Contains("tf32", StringComparison.Ordinal) ? BitConverter.SingleToUInt32Bits(value)
            : types.Contains("f16", StringComparison.Ordinal) ? BitConverter.HalfToUInt16Bits((System.Half)value)
            : (byte)(sbyte)value;
    }

    private static string Zero(string type) => type == "f32" ? "0f00000000" : "0";

    /// <summary>Four 8 × 8 matrices of 16 bits, row after row in shared memory: element (m, row, column) is m · 64 + row · 8 + column.</summary>
    private const string FourMatrices = """
        .shared .align 16 .b8 s[1024]; .reg .b32 %x, %y, %n, %r<4>; .reg .b16 %h<2>;
        mov.u32 %n, s;
        mad.lo.u32 %n, %t, 16, %n;
        mul.lo.u32 %x, %t, 8;
        mad.lo.u32 %x, %x, 0x10001, 0x10000;
        st.shared.u32 [%n], %x; add.u32 %x, %x, 0x20002;
        st.shared.u32 [%n+4], %x; add.u32 %x, %x, 0x20002;
        st.shared.u32 [%n+8], %x; add.u32 %x, %x, 0x20002;
        st.shared.u32 [%n+12], %x;
        bar.warp.sync 0xffffffff;
        """;

    [TestCase("", 0)]
    [TestCase("", 3)]
    [TestCase(".trans", 0)]
    [TestCase(".trans", 2)]
    public void Ldmatrix_EachLane_HoldsItsPair(string trans, int matrix)
    {
        uint[] lanes = Kernel.Run(FourMatrices + $"ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%r0,%r1,%r2,%r3}}, [%n]; st.global.u32 [%o], %r{matrix};", [0]);
        for (int lane = 0; lane < 32; lane++)
        {
            int row = lane / 4, column = lane % 4 * 2;
            int low = matrix * 64 + (trans.Length == 0 ? row * 8 + column : column * 8 + row);
            int high = matrix * 64 + (trans.Length == 0 ? row * 8 + column + 1 : (column + 1) * 8 + row);
            Assert.That((lanes[lane] & 0xffff, lanes[lane] >> 16), Is.EqualTo(((uint)low, (uint)high)), $"lane {lane}");
        }
    }

    [Test]
    public void Stmatrix_OfWhatLdmatrixRead_PutsItBackTransposed()
    {
        uint[] lanes = Kernel.Run(
            FourMatrices + """
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0,%r1,%r2,%r3}, [%n];
            bar.warp.sync 0xffffffff;
            stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%n], {%r0,%r1,%r2,%r3};
            bar.warp.sync 0xffffffff;
            ld.shared.u32 %x, [%n+4];
            st.global.u32 [%o], %x;
            """,
            [0]);
        // Columns 2 and 3 of the lane's row, transposed: rows 2 and 3 of its column.
        for (int lane = 0; lane < 32; lane++)
            Assert.That(lanes[lane], Is.EqualTo((uint)(lane / 8 * 64 + 16 + lane % 8) | (uint)(lane / 8 * 64 + 24 + lane % 8) << 16), $"lane {lane}");
    }

    [Test]
    public void Mma_HalfAccumulators_RoundTheSumOnce()
    {
        // A is ones in column 0 and B is 2048 in row 0: with c = 1 the sums 2049 lie between two halves, and the even one is 2048.
        uint[] lanes = Kernel.Run(
            """
            .reg .b32 a<4>, b<2>, c<2>; .reg .pred %p, %q;
            and.b32 a0, %t, 3;
            setp.eq.u32 %p, a0, 0;
            selp.b32 a0, 0x3c00, 0, %p;
            selp.b32 b0, 0x6800, 0, %p;
            mov.b32 a1, a0; mov.b32 a2, 0; mov.b32 a3, 0; mov.b32 b1, 0;
            mov.b32 c0, 0x3c003c00; mov.b32 c1, 0x40004000;
            mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {c0,c1}, {a0,a1,a2,a3}, {b0,b1}, {c0,c1};
            setp.gt.u32 %q, %t, 15;
            selp.b32 c0, c1, c0, %q;
            st.global.u32 [%o], c0;
            """,
            [0]);
        Assert.That(lanes, Is.EqualTo(Enumerable.Range(0, 32).Select(lane => lane > 15 ? 0x68016801u : 0x68006800u)));
    }

    /// <summary>A block copies a tile with cp.async, the last rows cut off by the source size, and reads it back transposed.</summary>
    private static void CopyTile(long source, ArrayView<float> output, int valid)
    {
        ArrayView<float> tile = SharedMemory.GetDynamic<float>();
        int i = Group.IdxX;
        int bytes = i < valid ? 16 : 0;
        CudaAsm.Emit("{ .reg .u32 sa; mov.u32 sa, __dyn_shared_alloca; add.u32 sa, sa, %0; cp.async.cg.shared.global [sa], [%1], 16, %2; }", i * 16, source + i * 16L, bytes);
        CudaAsm.Emit("cp.async.commit_group;");
        CudaAsm.Emit("cp.async.wait_group 0;");
        Group.Barrier();
        for (int k = 0; k < 4; k++)
            output[k * Group.DimX + i] = tile[(Group.DimX - 1 - i) * 4 + k];
    }

    [Test]
    public void AsynchronousCopy_WithSourceSizes_FillsTheRestWithZeros()
    {
        const int threads = 64, valid = 50;
        float[] source = Values(threads * 4, 9);
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(source), output = memory.Allocate(source.Length * 4);

        PtxRun run = new PtxMachine(memory, 2).Launch(IlgpuPtx.Compile(CopyTile), nameof(CopyTile), (1, 1, 1), (threads, 1, 1), threads * 16, input.Address, output.ViewOf(4), valid);

        float[] expected = new float[source.Length];
        for (int i = 0; i < threads; i++)
            for (int k = 0; k < 4; k++)
                expected[k * threads + i] = threads - 1 - i < valid ? source[(threads - 1 - i) * 4 + k] : 0;
        Assert.That(memory.Read<float>(output), Is.EqualTo(expected));
        Assert.That(run.GlobalLoadBytes, Is.EqualTo(valid * 16));
        Assert.That(run.GlobalLoadSectors, Is.EqualTo(valid * 16 / 32));
    }
}
