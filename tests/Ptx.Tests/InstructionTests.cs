using NUnit.Framework;

namespace TpServe.Ptx.Tests;

/// <summary>One instruction or a few at a time, against values worked out by hand or by C#'s own arithmetic.</summary>
public sealed class InstructionTests
{
    private const string Registers = """
        .reg .b32 %x, %y, %z, %w; .reg .b64 %q, %r; .reg .b16 %h, %g; .reg .f32 %f, %e; .reg .f64 %d; .reg .pred %p, %s;
        ld.global.u32 %x, [%a];
        ld.global.u32 %y, [%a+4];
        ld.global.u32 %z, [%a+8];
        """;

    private static uint Result(string body, params uint[] input) => Kernel.Run(Registers + body + " st.global.b32 [%o], %x;", input.Concat(new uint[4]).ToArray(), threads: 1)[0];

    private static uint Bits(float value) => BitConverter.SingleToUInt32Bits(value);

    private const uint MinusOne = 0xffff_ffff, MinusSeven = 0xffff_fff9;

    [TestCase("add.s32 %x, %x, %y;", 5u, MinusSeven, 0u, 0xffff_fffeu)]
    [TestCase("add.sat.s32 %x, %x, %y;", 0x7fff_ffffu, 1u, 0u, 0x7fff_ffffu)]
    [TestCase("sub.u32 %x, %x, %y;", 5u, 7u, 0u, 0xffff_fffeu)]
    [TestCase("mul.lo.s32 %x, %x, %y;", 3u, MinusSeven, 0u, 0xffff_ffebu)]
    [TestCase("mul.hi.s32 %x, %x, %y;", 0x4000_0000u, MinusSeven, 0u, 0xffff_fffeu)]
    [TestCase("mul.hi.u32 %x, %x, %y;", 0x8000_0000u, 6u, 0u, 3u)]
    [TestCase("mad.lo.u32 %x, %x, %y, %z;", 6u, 7u, 8u, 50u)]
    [TestCase("mul.wide.s32 %q, %x, %y; shr.u64 %q, %q, 32; cvt.u32.u64 %x, %q;", 2u, MinusSeven, 0u, MinusOne)]
    [TestCase("mul.wide.u32 %q, %x, %y; shr.u64 %q, %q, 32; cvt.u32.u64 %x, %q;", 2u, MinusSeven, 0u, 1u)]
    [TestCase("mad.wide.s32 %q, %x, %y, -1; cvt.u32.u64 %x, %q;", 2u, 3u, 0u, 5u)]
    [TestCase("div.s32 %x, %x, %y;", MinusSeven, 2u, 0u, 0xffff_fffdu)]
    [TestCase("div.u32 %x, %x, %y;", MinusSeven, 2u, 0u, 0x7fff_fffcu)]
    [TestCase("rem.s32 %x, %x, %y;", MinusSeven, 4u, 0u, 0xffff_fffdu)]
    [TestCase("min.s32 %x, %x, %y;", MinusSeven, 4u, 0u, MinusSeven)]
    [TestCase("min.u32 %x, %x, %y;", MinusSeven, 4u, 0u, 4u)]
    [TestCase("max.s32 %x, %x, %y;", MinusSeven, 4u, 0u, 4u)]
    [TestCase("abs.s32 %x, %x;", MinusSeven, 0u, 0u, 7u)]
    [TestCase("neg.s32 %x, %x;", MinusSeven, 0u, 0u, 7u)]
    [TestCase("and.b32 %x, %x, %y;", 12u, 10u, 0u, 8u)]
    [TestCase("or.b32 %x, %x, %y;", 12u, 10u, 0u, 14u)]
    [TestCase("xor.b32 %x, %x, %y;", 12u, 10u, 0u, 6u)]
    [TestCase("not.b32 %x, %x;", 12u, 0u, 0u, 0xffff_fff3u)]
    [TestCase("shl.b32 %x, %x, %y;", 3u, 31u, 0u, 0x8000_0000u)]
    [TestCase("shl.b32 %x, %x, %y;", 3u, 32u, 0u, 0u)]
    [TestCase("shr.s32 %x, %x, %y;", MinusSeven, 40u, 0u, MinusOne)]
    [TestCase("shr.u32 %x, %x, 1;", MinusSeven, 0u, 0u, 0x7fff_fffcu)]
    [TestCase("bfe.u32 %x, %x, 4, 8;", 0x0000_abc0u, 0u, 0u, 0xbcu)]
    [TestCase("bfe.s32 %x, %x, 4, 8;", 0x0000_abc0u, 0u, 0u, 0xffff_ffbcu)]
    [TestCase("bfi.b32 %x, %x, %y, 8, 4;", 0xfu, 0x1234_5678u, 0u, 0x1234_5f78u)]
    [TestCase("prmt.b32 %x, %x, %y, 0x5410;", 0x3322_1100u, 0x7766_5544u, 0u, 0x5544_1100u)]
    [TestCase("prmt.b32 %x, %x, %y, 0x000f;", 0u, 0x8000_0000u, 0u, 0xffu)]
    [TestCase("popc.b32 %x, %x;", 0xf0f0u, 0u, 0u, 8u)]
    [TestCase("clz.b32 %x, %x;", 0xf0f0u, 0u, 0u, 16u)]
    [TestCase("brev.b32 %x, %x;", 1u, 0u, 0u, 0x8000_0000u)]
    [TestCase("lop3.b32 %x, %x, %y, %z, 0x96;", 0xffu, 0x0fu, 0x33u, 0xc3u)]
    [TestCase("lop3.b32 %x, %x, %y, %z, 0xea;", 0xf0u, 0x3cu, 0x03u, 0x33u)] // (a & b) | c
    [TestCase("shf.l.wrap.b32 %x, %x, %y, 8;", 0x1122_3344u, 0x5566_7788u, 0u, 0x6677_8811u)]
    [TestCase("dp4a.s32.s32 %x, %x, %y, %z;", 0xff02_03fcu, 0x0102_0304u, 100u, 96u)] // -1·1 + 2·2 + 3·3 + -4·4 = -4
    [TestCase("dp4a.u32.s32 %x, %x, %y, %z;", 0xff00_0000u, 0xff00_0000u, 0u, 0xffff_ff01u)]
    [TestCase("setp.lt.s32 %p, %x, %y; selp.b32 %x, 1, 2, %p;", MinusSeven, 0u, 0u, 1u)]
    [TestCase("setp.lo.u32 %p, %x, %y; selp.b32 %x, 1, 2, %p;", MinusSeven, 0u, 0u, 2u)]
    [TestCase("setp.gt.u32 %p|%s, %x, %y; selp.b32 %x, 1, 2, %s;", MinusSeven, 0u, 0u, 2u)]
    [TestCase("setp.eq.s32 %p, %x, %x; setp.eq.and.s32 %p, %x, %y, %p; selp.b32 %x, 1, 2, %p;", 1u, 2u, 0u, 2u)]
    [TestCase("setp.eq.s32 %p, %x, %x; setp.eq.or.s32 %p, %x, %y, !%p; selp.b32 %x, 1, 2, %p;", 1u, 1u, 0u, 1u)]
    [TestCase("set.lt.u32.s32 %x, %x, %y;", MinusSeven, 0u, 0u, MinusOne)]
    [TestCase("slct.b32.s32 %x, %x, %y, %z;", 1u, 2u, MinusOne, 2u)]
    [TestCase("setp.ne.u32 %p, %x, 0; @%p mov.u32 %x, 9; @!%p mov.u32 %x, 8;", 1u, 0u, 0u, 9u)]
    [TestCase("mov.b32 {%h, %g}, %x; mov.b32 %x, {%g, %h};", 0x1122_3344u, 0u, 0u, 0x3344_1122u)]
    [TestCase("mov.b64 %q, {%x, %y}; shr.u64 %q, %q, 16; mov.b64 {%x, %y}, %q;", 0x1122_3344u, 0x5566_7788u, 0u, 0x7788_1122u)]
    [TestCase("cvt.s32.s8 %x, %x;", 0x80u, 0u, 0u, 0xffff_ff80u)]
    [TestCase("cvt.u32.u8 %x, %x;", 0x180u, 0u, 0u, 0x80u)]
    [TestCase("cvt.sat.s8.s32 %h, %x; cvt.s32.s16 %x, %h;", 300u, 0u, 0u, 127u)]
    [TestCase("cvt.s64.s32 %q, %x; shr.s64 %q, %q, 40; cvt.u32.u64 %x, %q;", MinusSeven, 0u, 0u, MinusOne)]
    [TestCase("add.s16 %h, 32767, 1; cvt.s32.s16 %x, %h;", 0u, 0u, 0u, 0xffff_8000u)]
    [TestCase("{ .reg .b32 %x2; mov.u32 %x2, 5; add.u32 %x, %x, %x2; }", 1u, 0u, 0u, 6u)]
    public void Integer_Instruction_GivesItsValue(string body, uint x, uint y, uint z, uint expected) => Assert.That(Result(body, x, y, z), Is.EqualTo(expected));

    private static float Float(string body, float x, float y = 0, float z = 0) => BitConverter.UInt32BitsToSingle(Result(body, Bits(x), Bits(y), Bits(z)));

    [TestCase("add.f32 %x, %x, %y;", 1e8f, 1f, 0f, 1e8f)]
    [TestCase("fma.rn.f32 %x, %x, %y, %z;", 1.0000001f, 1.0000001f, -1.0000002f, 1.4210855e-14f)]
    [TestCase("mul.f32 %x, %x, %y; add.f32 %x, %x, %z;", 1.0000001f, 1.0000001f, -1.0000002f, 0f)]
    [TestCase("div.rn.f32 %x, %x, %y;", 1f, 3f, 0f, 0.33333334f)]
    [TestCase("min.f32 %x, %x, %y;", float.NaN, 3f, 0f, 3f)]
    [TestCase("max.NaN.f32 %x, %x, %y;", float.NaN, 3f, 0f, float.NaN)]
    [TestCase("abs.f32 %x, %x;", -2f, 0f, 0f, 2f)]
    [TestCase("sqrt.rn.f32 %x, %x;", 2f, 0f, 0f, 1.4142135f)]
    [TestCase("rsqrt.approx.f32 %x, %x;", 4f, 0f, 0f, 0.5f)]
    [TestCase("rcp.rn.f32 %x, %x;", 3f, 0f, 0f, 0.33333334f)]
    [TestCase("ex2.approx.f32 %x, %x;", -3f, 0f, 0f, 0.125f)]
    [TestCase("lg2.approx.f32 %x, %x;", 8f, 0f, 0f, 3f)]
    [TestCase("tanh.approx.f32 %x, %x;", 0f, 0f, 0f, 0f)]
    [TestCase("add.sat.f32 %x, %x, %y;", 0.75f, 0.5f, 0f, 1f)]
    [TestCase("add.ftz.f32 %x, %x, %y;", 1e-40f, 0f, 0f, 0f)]
    [TestCase("cvt.rni.f32.f32 %x, %x;", 2.5f, 0f, 0f, 2f)]
    [TestCase("cvt.rmi.f32.f32 %x, %x;", -2.5f, 0f, 0f, -3f)]
    [TestCase("cvt.rzi.s32.f32 %x, %x; cvt.rn.f32.s32 %x, %x;", -2.9f, 0f, 0f, -2f)]
    [TestCase("cvt.rni.s32.f32 %x, %x; cvt.rn.f32.s32 %x, %x;", 3e9f, 0f, 0f, 2147483648f)]
    [TestCase("cvt.rn.f16.f32 %h, %x; cvt.f32.f16 %x, %h;", 2049f, 0f, 0f, 2048f)]
    [TestCase("cvt.rn.bf16x2.f32 %x, %x, %y; and.b32 %x, %x, 0xffff0000;", 1.00390625f, 9f, 0f, 1f)] // a tie: to even
    [TestCase("cvt.rn.bf16x2.f32 %x, %x, %y; shl.b32 %x, %x, 16;", 9f, 1.01171875f, 0f, 1.015625f)]
    [TestCase("cvt.rn.f16x2.f32 %x, %x, %y; fma.rn.f16x2 %x, %x, %x, %x; mov.b32 {%h, %g}, %x; cvt.f32.f16 %x, %g;", 3f, 5f, 0f, 12f)]
    [TestCase("cvt.rn.bf16x2.f32 %x, %x, %y; fma.rn.bf16x2 %x, %x, %x, %x; shl.b32 %x, %x, 16;", 3f, 5f, 0f, 30f)]
    [TestCase("cvt.rna.tf32.f32 %x, %x;", 1.00048828125f, 0f, 0f, 1.0009765625f)] // a tie: away from zero
    [TestCase("cvt.f64.f32 %d, %x; add.f64 %d, %d, 0d3FF0000000000000; cvt.rn.f32.f64 %x, %d;", 2f, 0f, 0f, 3f)]
    [TestCase("setp.gtu.f32 %p, %x, %y; selp.f32 %x, 0f3F800000, 0f40000000, %p;", float.NaN, 3f, 0f, 1f)]
    [TestCase("setp.neu.f32 %p, %x, %x; selp.f32 %x, 1.0, 2.0, %p;", float.NaN, 3f, 0f, 1f)]
    [TestCase("testp.infinite.f32 %p, %x; selp.f32 %x, 1.0, 2.0, %p;", float.NegativeInfinity, 3f, 0f, 1f)]
    public void Float_Instruction_GivesItsValue(string body, float x, float y, float z, float expected) => Assert.That(Float(body, x, y, z), Is.EqualTo(expected));

    [Test]
    public void Bf16_EveryFloatNearAHalf_RoundsToEvenInOneStep()
    {
        foreach (uint low in new uint[] { 0x7fff, 0x8000, 0x8001, 0xffff, 1, 0 })
        {
            foreach (uint high in new uint[] { 0x3f80, 0x3f81, 0xbf81, 0x0000, 0x7f7f })
            {
                uint bits = high << 16 | low;
                uint expected = high + (low > 0x8000 || (low == 0x8000 && (high & 1) != 0) ? 1u : 0);
                Assert.That(Result("cvt.rn.bf16x2.f32 %x, %x, %x; and.b32 %x, %x, 0xffff;", bits), Is.EqualTo(expected), $"{bits:x8}");
            }
        }
    }

    [Test]
    public void Vectors_LoadAndStore_KeepTheirOrder()
    {
        uint[] input = [.. Enumerable.Range(0, 128).Select(i => (uint)i * 3)];
        uint[] output = Kernel.Run(
            """
            .reg .b32 %x, %y, %z, %w; .reg .b64 %q;
            mul.wide.u32 %q, %t, 16;
            add.u64 %q, %q, %a;
            ld.global.nc.L1::no_allocate.v4.u32 {%x, %y, %z, %w}, [%q];
            mad.lo.u32 %x, %y, 1000, %x;
            mad.lo.u32 %x, %z, 1000000, %x;
            sub.u32 %x, %x, %w;
            st.global.u32 [%o], %x;
            """,
            input);
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => input[4 * t] + input[4 * t + 1] * 1000 + input[4 * t + 2] * 1000000 - input[4 * t + 3])));
    }

    [Test]
    public void GenericAddresses_OfEverySpace_ReachIt()
    {
        uint[] output = Kernel.Run(
            """
            .shared .align 4 .b32 s[32]; .local .align 4 .b32 d[1]; .reg .b64 %s, %l; .reg .b32 %x, %y, %z; .reg .pred %p;
            mov.u64 %s, s; mad.wide.u32 %s, %t, 4, %s; cvta.shared.u64 %s, %s;
            mov.u64 %l, d; cvta.local.u64 %l, %l;
            st.u32 [%s], %t; st.u32 [%l], 100;
            ld.u32 %x, [%s]; ld.u32 %y, [%l]; add.u32 %x, %x, %y;
            cvta.to.shared.u64 %s, %s; ld.shared.u32 %y, [%s]; mad.lo.u32 %x, %y, 1000, %x;
            isspacep.shared %p, %s; selp.b32 %y, 1, 0, %p;
            st.u32 [%o], %x;
            """,
            [0]);
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => (uint)(t * 1001 + 100))));
    }

    [Test]
    public void Globals_WithInitialisers_AreReadByEveryThread()
    {
        uint[] output = Kernel.Run(
            """
            .reg .b64 %q, %r; .reg .b32 %x;
            mov.u64 %r, table;
            and.b64 %q, %o, 12;
            add.u64 %q, %q, %r;
            ld.const.u32 %x, [%q];
            st.global.u32 [%o], %x;
            """,
            [0],
            before: ".const .align 4 .u32 table[4] = {10, 20, 30, 0x28};");
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => (uint)(t % 4 + 1) * 10)));
    }

    private static readonly object[] WarpCases =
    [
        new object[] { "shfl.sync.up.b32 %x, %t, 3, 0, 0xffffffff;", (Func<int, int>)(t => t >= 3 ? t - 3 : t) },
        new object[] { "shfl.sync.down.b32 %x, %t, 3, 31, 0xffffffff;", (Func<int, int>)(t => t < 29 ? t + 3 : t) },
        new object[] { "shfl.sync.bfly.b32 %x, %t, 5, 31, 0xffffffff;", (Func<int, int>)(t => t ^ 5) },
        new object[] { "shfl.sync.idx.b32 %x, %t, 5, 0x181f, 0xffffffff;", (Func<int, int>)(t => t / 8 * 8 + 5) }, // segments of 8
        new object[] { "shfl.sync.down.b32 %x|%p, %t, 3, 31, 0xffffffff; selp.b32 %x, 1, 0, %p;", (Func<int, int>)(t => t < 29 ? 1 : 0) },
        new object[] { "setp.gt.u32 %p, %t, 20; vote.sync.ballot.b32 %x, %p, 0xffffffff;", (Func<int, int>)(_ => unchecked((int)0xffe0_0000)) },
        new object[] { "setp.gt.u32 %p, %t, 20; vote.sync.any.pred %p, %p, 0xffffffff; selp.b32 %x, 1, 0, %p;", (Func<int, int>)(_ => 1) },
        new object[] { "setp.gt.u32 %p, %t, 20; vote.sync.all.pred %p, %p, 0xffffffff; selp.b32 %x, 1, 0, %p;", (Func<int, int>)(_ => 0) },
        new object[] { "redux.sync.add.s32 %x, %t, 0xffffffff;", (Func<int, int>)(_ => 496) },
        new object[] { "redux.sync.max.s32 %x, %t, 0xffffffff;", (Func<int, int>)(_ => 31) },
        new object[] { "and.b32 %y, %t, 15; match.any.sync.b32 %x, %y, 0xffffffff;", (Func<int, int>)(t => 0x1_0001 << (t % 16)) },
        new object[] { "activemask.b32 %x;", (Func<int, int>)(_ => -1) },
        new object[] { "mov.u32 %x, %lanemask_lt;", (Func<int, int>)(t => (1 << t) - 1) },
        new object[] { "mov.u32 %x, %ntid.x;", (Func<int, int>)(_ => 32) },
        new object[] { "setp.lt.u32 %p, %t, 5; bar.red.popc.u32 %x, 0, %p;", (Func<int, int>)(_ => 5) },
        new object[] { "setp.lt.u32 %p, %t, 5; bar.red.or.pred %p, 0, %p; selp.b32 %x, 1, 0, %p;", (Func<int, int>)(_ => 1) },
        new object[] { "atom.global.add.u32 %x, [%a], 2; shr.u32 %x, %x, 1;", (Func<int, int>)(t => t) }, // lanes in their order
        new object[] { "mov.u32 %x, 0; and.b32 %y, %t, 3; L: .branchtargets A, B, C, D; brx.idx %y, L; A: mov.u32 %x, 5; B: add.u32 %x, %x, 1; bra D; C: mov.u32 %x, 9; D: add.u32 %x, %x, 100;", (Func<int, int>)(t => (t % 4) switch { 0 => 106, 1 => 101, 2 => 109, _ => 100 }) },
        new object[] { "mov.u32 %x, 0; LOOP: add.u32 %x, %x, 1; setp.lt.u32 %p, %x, %t; @%p bra LOOP; shfl.sync.bfly.b32 %x, %x, 1, 31, 0xffffffff;", (Func<int, int>)(t => Math.Max(1, t ^ 1)) },
        new object[] { "setp.lt.u32 %p, %t, 4; @%p bra SMALL; mov.u32 %x, 1; bra JOIN; SMALL: setp.lt.u32 %p, %t, 2; @%p bra TINY; mov.u32 %x, 2; bra JOIN; TINY: mov.u32 %x, 3; JOIN: redux.sync.add.s32 %x, %x, 0xffffffff;", (Func<int, int>)(_ => 38) },
    ];

    [TestCaseSource(nameof(WarpCases))]
    public void Warp_Instruction_GivesEachLaneItsValue(string body, Func<int, int> expected)
    {
        uint[] output = Kernel.Run(".reg .b32 %x, %y; .reg .pred %p;" + body + " st.global.u32 [%o], %x;", [0]);
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => (uint)expected(t))));
    }

    [Test]
    public void EarlyExit_OfSomeLanes_LetsTheOthersMeet()
    {
        uint[] output = Kernel.Run(
            """
            .reg .b32 %x; .reg .pred %p, %q;
            st.global.u32 [%o], 7;
            setp.lt.u32 %p, %t, 8;
            @%p bra LOW;
            setp.gt.u32 %q, %t, 29;
            @%q ret;
            mov.u32 %x, 1;
            bra BOTH;
            LOW: mov.u32 %x, 2;
            setp.eq.u32 %q, %t, 3;
            @%q bra OUT;
            BOTH: bar.sync 0;
            redux.sync.add.s32 %x, %x, 0x3ffffff7;
            st.global.u32 [%o], %x;
            ret;
            OUT: st.global.u32 [%o], 9;
            """,
            [0]);
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => t > 29 ? 7u : t == 3 ? 9u : 36u)));
    }

    [Test]
    public void Call_OfAFunction_ReturnsItsResultToEachLane()
    {
        uint[] output = Kernel.Run(
            """
            .reg .b32 %x;
            { .param .b32 arg; st.param.b32 [arg], %t; .param .b32 res; call.uni (res), twice, (arg); ld.param.b32 %x, [res]; }
            st.global.u32 [%o], %x;
            """,
            [0],
            before: """
            .func (.param .b32 out) twice(.param .b32 in)
            {
                .reg .b32 %v; .reg .pred %p;
                ld.param.b32 %v, [in];
                setp.gt.u32 %p, %v, 10;
                @%p bra BIG;
                add.u32 %v, %v, %v;
                st.param.b32 [out], %v;
                ret;
            BIG:
                st.param.b32 [out], 1;
                ret;
            }
            """);
        Assert.That(output, Is.EqualTo(Enumerable.Range(0, 32).Select(t => t > 10 ? 1u : 2u * (uint)t)));
    }
}
