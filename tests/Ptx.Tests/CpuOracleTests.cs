using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Ptx.Tests;

/// <summary>The same C# kernels on ILGPU's CPU accelerator, which never sees PTX, and through its PTX in the interpreter.</summary>
public sealed class CpuOracleTests
{
    private const int Threads = 64, Groups = 2, Count = Threads * Groups;

    private static void Integers(ArrayView<int> x, ArrayView<uint> u, ArrayView<long> l)
    {
        int i = Grid.GlobalIndex.X;
        int v = x[i];
        x[i] = IntrinsicMath.PopCount(v) + IntrinsicMath.LeadingZeroCount(v) * 3 + v / 3 + v % 5 + (v >> 2) + ~v + Math.Abs(v) + Math.Min(v, 3) + Math.Max(v, 9);
        u[i] = ((u[i] >> 3) + u[i] / 7 + u[i] % 9) ^ ((u[i] & 3) | 8);
        l[i] = (l[i] >> 3) + (long)v * l[i] + l[i] / 7 + (int)(l[i] % 11) + u[i] + (byte)v + (sbyte)v + (short)v + (ushort)v;
    }

    private static void Floats(ArrayView<float> x, ArrayView<double> d, ArrayView<int> o)
    {
        int i = Grid.GlobalIndex.X;
        float a = x[i];
        o[i] = (int)(a * 100) + (int)(d[i] * 1000) + (a < 0.3f ? 1 : 0) + (a == 2f ? 4 : 0) + (float.IsNaN(a) ? 1 : 0);
        x[i] = XMath.Sqrt(XMath.Abs(a)) + a / 3f + XMath.Floor(a * 10) + XMath.Ceiling(a * 7) + XMath.Truncate(a * 5) + XMath.Min(a, 0.2f) + XMath.Max(a, 0.3f) + XMath.Clamp(a, 0f, 1f) - a;
        d[i] = XMath.Sqrt(XMath.Abs(d[i])) * d[i] / 3.0 + a;
    }

    private static void Functions(ArrayView<float> x, ArrayView<float> y)
    {
        int i = Grid.GlobalIndex.X;
        float a = XMath.Abs(x[i]) + 0.5f;
        y[i] = XMath.Exp(a) + XMath.Log(a) + XMath.Sin(a) + XMath.Cos(a) + XMath.Tanh(a) + XMath.Rsqrt(a) + XMath.Pow(a, 1.5f) + (float)XMath.Exp((double)a);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static float Weighted(float a, int b, ArrayView<float> v)
    {
        if (b > 20)
            return v[b];
        float sum = 0;
        for (int i = 0; i < b; i++)
            sum += v[i] * a;
        return sum;
    }

    private static void Calls(ArrayView<float> x, ArrayView<float> y)
    {
        int i = Grid.GlobalIndex.X;
        y[i] = Weighted(x[i], i, x) + Weighted(1f, 2, x);
    }

    private static void Locals(ArrayView<int> x, ArrayView<int> y)
    {
        int i = Grid.GlobalIndex.X;
        ArrayView<int> local = LocalMemory.Allocate<int>(8);
        for (int k = 0; k < 8; k++)
            local[k] = x[k] + i;
        int sum = 0;
        for (int k = 0; k < 8; k++)
            sum += local[((k * 3) + i) & 7] * k;
        y[i] = (sum & 7) switch { 0 => 1, 1 => 3, 2 => 11, 3 => 14, 4 => sum, _ => -sum };
    }

    internal struct Mixed
    {
        public int A;
        public float B;
        public long C;
        public byte D;
    }

    private static void Structs(ArrayView<Mixed> x, ArrayView<Mixed> y, int a, byte d)
    {
        int i = Grid.GlobalIndex.X;
        Mixed value = x[i];
        value.A += a;
        value.B *= 2;
        value.C -= i;
        value.D = (byte)(i > 3 ? value.D : value.D + d);
        y[i] = value;
    }

    private static void Atomics(ArrayView<int> x, ArrayView<int> sums)
    {
        int v = x[Grid.GlobalIndex.X];
        Atomic.Add(ref sums[0], v);
        Atomic.Max(ref sums[1], v);
        Atomic.Min(ref sums[2], v);
        Atomic.Or(ref sums[3], v);
        Atomic.Xor(ref sums[4], v);
        Atomic.And(ref sums[5], v);
    }

    private static readonly int[] Ints = [.. Enumerable.Range(0, Count).Select(i => (i * 7919 - 300_000) * (i % 3 + 1))];
    private static readonly float[] Singles = Numbers.Uniform(Count, 4);

    [Test]
    public void Integers_SameAsOnTheCpu()
    {
        uint[] u = [.. Ints.Select(i => (uint)i)];
        long[] l = [.. Ints.Select(i => i * 1_000_003L)];
        using Cpu cpu = new();
        PtxMemory memory = new();
        PtxBuffer x1 = memory.Allocate(Ints), u1 = memory.Allocate(u), l1 = memory.Allocate(l);
        Launch(Integers, memory, x1.ViewOf(4), u1.ViewOf(4), l1.ViewOf(8));
        using MemoryBuffer1D<int, Stride1D.Dense> x2 = cpu.Accelerator.Allocate1D(Ints);
        using MemoryBuffer1D<uint, Stride1D.Dense> u2 = cpu.Accelerator.Allocate1D(u);
        using MemoryBuffer1D<long, Stride1D.Dense> l2 = cpu.Accelerator.Allocate1D(l);
        cpu.Accelerator.LoadStreamKernel<ArrayView<int>, ArrayView<uint>, ArrayView<long>>(Integers)((Groups, Threads), x2.View, u2.View, l2.View);
        cpu.Accelerator.Synchronize();
        Assert.That(memory.Read<int>(x1), Is.EqualTo(x2.GetAsArray1D()));
        Assert.That(memory.Read<uint>(u1), Is.EqualTo(u2.GetAsArray1D()));
        Assert.That(memory.Read<long>(l1), Is.EqualTo(l2.GetAsArray1D()));
    }

    [Test]
    public void Floats_SameBitsAsOnTheCpu()
    {
        double[] d = [.. Singles.Select(x => (double)x * 1.7)];
        using Cpu cpu = new();
        PtxMemory memory = new();
        PtxBuffer x1 = memory.Allocate(Singles), d1 = memory.Allocate(d), o1 = memory.Allocate(Count * 4);
        Launch(Floats, memory, x1.ViewOf(4), d1.ViewOf(8), o1.ViewOf(4));
        using MemoryBuffer1D<float, Stride1D.Dense> x2 = cpu.Accelerator.Allocate1D(Singles);
        using MemoryBuffer1D<double, Stride1D.Dense> d2 = cpu.Accelerator.Allocate1D(d);
        using MemoryBuffer1D<int, Stride1D.Dense> o2 = cpu.Accelerator.Allocate1D<int>(Count);
        cpu.Accelerator.LoadStreamKernel<ArrayView<float>, ArrayView<double>, ArrayView<int>>(Floats)((Groups, Threads), x2.View, d2.View, o2.View);
        cpu.Accelerator.Synchronize();
        Assert.That(memory.Read<int>(o1), Is.EqualTo(o2.GetAsArray1D()));
        Assert.That(memory.Read<double>(d1), Is.EqualTo(d2.GetAsArray1D()));
        Assert.That(memory.Read<float>(x1), Is.EqualTo(x2.GetAsArray1D()));
    }

    [Test]
    public void Functions_CloseToTheCpus()
    {
        (float[] actual, float[] expected) = FloatKernel(Functions);
        // Approximations of single precision on both sides, of sums near 10.
        Assert.That(Numbers.Nmse(actual, expected), Is.LessThan(1e-11));
    }

    [Test]
    public void Calls_SameBitsAsOnTheCpu()
    {
        (float[] actual, float[] expected) = FloatKernel(Calls);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Locals_SameAsOnTheCpu()
    {
        (int[] actual, int[] expected) = IntKernel(Locals, new int[Count]);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Atomics_SameAsOnTheCpu()
    {
        (int[] actual, int[] expected) = IntKernel(Atomics, [0, int.MinValue, int.MaxValue, 0, 0, -1]);
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Structs_SameAsOnTheCpu()
    {
        Mixed[] x = [.. Ints.Select(i => new Mixed { A = i, B = i / 4f, C = i * 77L, D = (byte)i })];
        using Cpu cpu = new();
        PtxMemory memory = new();
        PtxBuffer x1 = memory.Allocate(x), y1 = memory.Allocate(new byte[Count * Unsafe.SizeOf<Mixed>()]);
        Launch(Structs, memory, x1.ViewOf(Unsafe.SizeOf<Mixed>()), y1.ViewOf(Unsafe.SizeOf<Mixed>()), 5, (byte)6);
        using MemoryBuffer1D<Mixed, Stride1D.Dense> x2 = cpu.Accelerator.Allocate1D(x), y2 = cpu.Accelerator.Allocate1D<Mixed>(Count);
        cpu.Accelerator.LoadStreamKernel<ArrayView<Mixed>, ArrayView<Mixed>, int, byte>(Structs)((Groups, Threads), x2.View, y2.View, 5, 6);
        cpu.Accelerator.Synchronize();
        Assert.That(
            MemoryMarshal.Cast<byte, Mixed>(memory.Read<byte>(y1)).ToArray().Select(m => (m.A, m.B, m.C, m.D)),
            Is.EqualTo(y2.GetAsArray1D().Select(m => (m.A, m.B, m.C, m.D))));
    }

    private static (float[] Actual, float[] Expected) FloatKernel(Action<ArrayView<float>, ArrayView<float>> kernel)
    {
        using Cpu cpu = new();
        PtxMemory memory = new();
        PtxBuffer x1 = memory.Allocate(Singles), y1 = memory.Allocate(Count * 4);
        Launch(kernel, memory, x1.ViewOf(4), y1.ViewOf(4));
        using MemoryBuffer1D<float, Stride1D.Dense> x2 = cpu.Accelerator.Allocate1D(Singles), y2 = cpu.Accelerator.Allocate1D<float>(Count);
        cpu.Accelerator.LoadStreamKernel(kernel)((Groups, Threads), x2.View, y2.View);
        cpu.Accelerator.Synchronize();
        return (memory.Read<float>(y1), y2.GetAsArray1D());
    }

    private static (int[] Actual, int[] Expected) IntKernel(Action<ArrayView<int>, ArrayView<int>> kernel, int[] y)
    {
        using Cpu cpu = new();
        PtxMemory memory = new();
        PtxBuffer x1 = memory.Allocate(Ints), y1 = memory.Allocate(y);
        Launch(kernel, memory, x1.ViewOf(4), y1.ViewOf(4));
        using MemoryBuffer1D<int, Stride1D.Dense> x2 = cpu.Accelerator.Allocate1D(Ints), y2 = cpu.Accelerator.Allocate1D(y);
        cpu.Accelerator.LoadStreamKernel(kernel)((Groups, Threads), x2.View, y2.View);
        cpu.Accelerator.Synchronize();
        return (memory.Read<int>(y1), y2.GetAsArray1D());
    }

    private static void Launch(Delegate kernel, PtxMemory memory, params object[] args) =>
        new PtxMachine(memory, 5).Launch(IlgpuPtx.Compile(kernel), kernel.Method.Name, (Groups, 1, 1), (Threads, 1, 1), 0, args);

    /// <summary>ILGPU's CPU accelerator with a card's group size.</summary>
    private sealed class Cpu : IDisposable
    {
        private readonly Context _context = Context.Create(builder => builder.CPU(CPUDeviceKind.Nvidia).EnableAlgorithms());

        public Cpu() => Accelerator = _context.CreateCPUAccelerator(0);

        public Accelerator Accelerator { get; }

        public void Dispose()
        {
            Accelerator.Dispose();
            _context.Dispose();
        }
    }
}
