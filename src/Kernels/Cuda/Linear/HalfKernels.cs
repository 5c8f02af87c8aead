using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>The kernels of one 16-bit float type; each is compiled when it is first launched.</summary>
internal sealed class HalfKernels
{
    private readonly Lazy<PackedActivations.Launch> _round;
    private readonly Lazy<CodedKernels.Launch>[] _stream;
    private readonly Lazy<CodedKernels.Launch> _rounding;
    private readonly Lazy<CodedKernels.TiledLaunch> _tiled;

    private HalfKernels(Func<PackedActivations.Launch> round, Func<CodedKernels.TiledLaunch> tiled, Func<CodedKernels.Launch> rounding, params Func<CodedKernels.Launch>[] stream)
    {
        _rounding = new Lazy<CodedKernels.Launch>(rounding);
        _tiled = new Lazy<CodedKernels.TiledLaunch>(tiled);
        _round = new Lazy<PackedActivations.Launch>(round);
        _stream = [.. stream.Select(load => new Lazy<CodedKernels.Launch>(load))];
    }

    /// <summary>Rounds activations to the type.</summary>
    public PackedActivations.Launch Round => _round.Value;

    /// <summary><see cref="StreamProduct"/> for so many row tiles.</summary>
    public CodedKernels.Launch Stream(int rowTiles) => _stream[rowTiles switch { 1 => 0, 2 => 1, _ => 2 }].Value;

    /// <summary><see cref="StreamProduct"/> of up to 8 rows of float32.</summary>
    public CodedKernels.Launch StreamRounding => _rounding.Value;

    /// <summary><see cref="TiledProduct"/>.</summary>
    public CodedKernels.TiledLaunch Tiled => _tiled.Value;

    /// <summary>Compiles all of them.</summary>
    public void Compile()
    {
        _ = (_round.Value, _rounding.Value, _tiled.Value);
        foreach (Lazy<CodedKernels.Launch> stream in _stream)
            _ = stream.Value;
    }

    /// <summary>The kernels of a type.</summary>
    public static HalfKernels Of<T>(CudaQueue queue) where T : struct, IHalfMath => new(
        () => PackedActivations.LoadRounding<T>(queue),
        () => CodedKernels.Load(queue, TiledProduct.Kernel<T>),
        () => CodedKernels.Load(queue, StreamProduct.Kernel<T, OneRowTile, FloatRows>),
        () => CodedKernels.Load(queue, StreamProduct.Kernel<T, OneRowTile, PackedHalves>),
        () => CodedKernels.Load(queue, StreamProduct.Kernel<T, TwoRowTiles, PackedHalves>),
        () => CodedKernels.Load(queue, StreamProduct.Kernel<T, FourRowTiles, PackedHalves>));
}
