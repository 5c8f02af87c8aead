using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using View = ILGPU.ArrayView<float>;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>target[r, i] = f(a[r, i], b[r, i]): activations, sums and scales.</summary>
/// <remarks>
/// Shapes   as <see cref="ITensorBackend"/> states them; float32, strided as they like; the target may be an operand.
/// Launch   groups of 128 threads, 4 values a thread: a row takes ⌈columns / 512⌉ groups.
/// Numerics every element by itself, by instructions whose rounding is fixed. GeLU-tanh as x · sigmoid(2u), u = √(2/π)·(x + 0.044715·x³), which is
///          the same function and does not cancel where tanh(u) is near −1.
/// Cost     reads each operand and writes the target once: memory bound.
/// Source   Shazeer 2020; Hendrycks and Gimpel 2016.
/// Oracle   the reference backend: equal bit for bit where no exponential is in it, NMSE ≤ 1e-13 else.
/// </remarks>
internal sealed class ElementwiseKernels(CudaQueue queue)
{
    private const int GroupSize = 128;
    private const int SegmentColumns = GroupSize * FloatQuad.Count;

    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _silu = Load<SiluTimes>(queue);
    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _geluTanh = Load<GeluTanhTimes>(queue);
    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _addScaled = Load<SumOfScaled>(queue);
    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _add = Load<Sum>(queue);
    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _scale = Load<Product>(queue);
    private readonly Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> _softcap = Load<Capped>(queue);

    /// <summary>y[:, i] = act(x[:, i]) · x[:, m + i].</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void GatedActivation(Tensor x, Activation activation, Tensor y)
    {
        Require.Type(y, ElementType.Float32);
        Require.Shape(x, y.Rows, 2 * y.Columns);
        Tensor gate = x.ColumnSlice(0, y.Columns), up = x.ColumnSlice(y.Columns, y.Columns);
        switch (activation)
        {
            case Activation.Silu: Run(_silu, gate, up, y, 0f); break;
            case Activation.GeluTanh: Run(_geluTanh, gate, up, y, 0f); break;
            default: throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation");
        }
    }

    /// <summary>x ← x + scale · y.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void AddScaled(Tensor x, Tensor y, float scale)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        Run(_addScaled, x, y, x, scale);
    }

    /// <summary>x ← x + bias on every row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void AddRow(Tensor x, Tensor bias)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(bias, 1, x.Columns);
        Run(_add, x, bias, x, 0f);
    }

    /// <summary>x ← scale · x.</summary>
    public void Scale(Tensor x, float scale)
    {
        Require.Type(x, ElementType.Float32);
        Run(_scale, x, x, x, scale);
    }

    /// <summary>x ← cap · tanh(x / cap).</summary>
    /// <exception cref="ArgumentException">The cap is not positive.</exception>
    public void Softcap(Tensor x, float cap)
    {
        Require.Type(x, ElementType.Float32);
        Require.That(cap > 0, $"A soft cap of {cap} is not positive.");
        Run(_softcap, x, x, x, cap);
    }

    private static Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> Load<TFunction>(CudaQueue queue)
        where TFunction : struct, IElementFunction =>
        queue.Load<View, View, View, int, int, int, int, int, float, int>(Kernel<TFunction>);

    /// <summary>Launches over all rows; an operand of one row serves all.</summary>
    private static void Run(
        Action<KernelConfig, View, View, View, int, int, int, int, int, float, int> launch, Tensor a, Tensor b, Tensor target, float parameter)
    {
        if (target.Rows == 0 || target.Columns == 0)
            return;
        const int QuadBytes = FloatQuad.Count * sizeof(float);
        bool aligned = DeviceViews.IsAligned(a, QuadBytes) && DeviceViews.IsAligned(b, QuadBytes) && DeviceViews.IsAligned(target, QuadBytes);
        int segments = (target.Columns + SegmentColumns - 1) / SegmentColumns;
        launch(
            (target.Rows * segments, GroupSize), a.View<float>(), b.View<float>(), target.View<float>(), target.Columns, segments,
            a.RowStride, b.Rows == 1 ? 0 : b.RowStride, target.RowStride, parameter, aligned ? 1 : 0);
    }

    [DeviceKernel(typeof(SiluTimes), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(GeluTanhTimes), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(SumOfScaled), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(Sum), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(Product), Uses = "ld.global.v4")]
    [DeviceKernel(typeof(Capped), Uses = "ld.global.v4")]
    private static void Kernel<TFunction>(
        View a, View b, View target, int columns, int segments, int strideA, int strideB, int strideTarget, float parameter, int aligned)
        where TFunction : struct, IElementFunction
    {
        int row = Grid.IdxX / segments, i = Grid.IdxX % segments * SegmentColumns + Group.IdxX * FloatQuad.Count;
        if (i >= columns)
            return;
        TFunction f = default;
        FloatQuad x = FloatQuad.Load(a, row * strideA, i, columns, aligned), y = FloatQuad.Load(b, row * strideB, i, columns, aligned);
        x.A = f.Apply(x.A, y.A, parameter);
        x.B = f.Apply(x.B, y.B, parameter);
        x.C = f.Apply(x.C, y.C, parameter);
        x.D = f.Apply(x.D, y.D, parameter);
        FloatQuad.Store(target, row * strideTarget, i, columns, aligned, x);
    }

    private readonly struct SiluTimes : IElementFunction
    {
        public float Apply(float a, float b, float parameter) => DeviceMath.Multiply(Exponentials.TimesSigmoid(a, a), b);
    }

    private readonly struct GeluTanhTimes : IElementFunction
    {
        private const float TwiceRoot = 1.5957691216f; // 2·√(2/π)

        public float Apply(float a, float b, float parameter)
        {
            float cubic = DeviceMath.Fma(DeviceMath.Multiply(a, a), 0.044715f * TwiceRoot, TwiceRoot);
            return DeviceMath.Multiply(Exponentials.TimesSigmoid(a, DeviceMath.Multiply(cubic, a)), b);
        }
    }

    private readonly struct SumOfScaled : IElementFunction
    {
        public float Apply(float a, float b, float parameter) => DeviceMath.Fma(parameter, b, a); // an ordinary sum where it is 1
    }

    private readonly struct Sum : IElementFunction
    {
        public float Apply(float a, float b, float parameter) => DeviceMath.Add(a, b);
    }

    private readonly struct Product : IElementFunction
    {
        public float Apply(float a, float b, float parameter) => DeviceMath.Multiply(a, parameter);
    }

    private readonly struct Capped : IElementFunction
    {
        public float Apply(float a, float b, float parameter) => DeviceMath.Multiply(Exponentials.Tanh(DeviceMath.Divide(a, parameter)), parameter);
    }
}

/// <summary>A function of two elements, compiled into <see cref="ElementwiseKernels"/>' one kernel.</summary>
internal interface IElementFunction
{
    /// <summary>f(a, b).</summary>
    float Apply(float a, float b, float parameter);
}
