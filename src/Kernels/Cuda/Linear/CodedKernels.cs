using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>The kernels of one coded format; each is compiled when it is first launched.</summary>
internal sealed class CodedKernels
{
    private readonly Lazy<Launch> _plain;
    private readonly Lazy<Launch> _one;
    private readonly Lazy<Launch> _two;
    private readonly Lazy<Launch> _four;
    private readonly Lazy<TiledLaunch> _tiled;

    private CodedKernels(Func<Launch> plain, Func<Launch> one, Func<Launch> two, Func<Launch> four, Func<TiledLaunch> tiled)
    {
        _plain = new Lazy<Launch>(plain);
        _one = new Lazy<Launch>(one);
        _two = new Lazy<Launch>(two);
        _four = new Lazy<Launch>(four);
        _tiled = new Lazy<TiledLaunch>(tiled);
    }

    /// <summary>The signature of the tiled products.</summary>
    public delegate void TiledLaunch(
        KernelConfig config, ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ArrayView<float> stacks, int levels, ProductShape shape);

    /// <summary>The signature of the other products of packed activations.</summary>
    public delegate void Launch(
        KernelConfig config, ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape);

    /// <summary><see cref="PlainCodedProduct"/>.</summary>
    public Launch Plain => _plain.Value;

    /// <summary><see cref="StreamCodedProduct"/> for so many row tiles.</summary>
    public Launch Stream(int rowTiles) => rowTiles switch
    {
        1 => _one.Value,
        2 => _two.Value,
        _ => _four.Value,
    };

    /// <summary><see cref="TiledCodedProduct"/>.</summary>
    public TiledLaunch Tiled => _tiled.Value;

    /// <summary>Compiles what a GPU can need.</summary>
    public void Compile() => _ = (_one.Value, _two.Value, _four.Value, _tiled.Value);

    /// <summary>The kernels of a format.</summary>
    public static CodedKernels Of(CudaQueue queue, WeightFormat format) => WeightLayouts.ChooseCoded(format, new Loader(queue));

    /// <summary>Compiles a kernel of this signature.</summary>
    public static Launch Load(
        CudaQueue queue,
        Action<ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<float>, ArrayView<ProductSegment>, ProductShape> kernel) =>
        new(queue.Load(kernel));

    /// <summary>Compiles a tiled kernel.</summary>
    public static TiledLaunch Load(
        CudaQueue queue,
        Action<ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<float>, ArrayView<ProductSegment>, ArrayView<float>, int, ProductShape> kernel) =>
        new(queue.Load(kernel));

    private sealed class Loader(CudaQueue queue) : ICodedLayoutUser<CodedKernels>
    {
        public CodedKernels With<T>() where T : struct, ICodedLayout => new(
            () => Load(queue, PlainCodedProduct.Kernel<T>),
            () => Load(queue, StreamCodedProduct.Kernel<T, OneRowTile>),
            () => Load(queue, StreamCodedProduct.Kernel<T, TwoRowTiles>),
            () => Load(queue, StreamCodedProduct.Kernel<T, FourRowTiles>),
            () => Load(queue, TiledCodedProduct.Kernel<T>));
    }
}
