using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>The one table of matrix products: how a format's weights lie on the device, and which kernels multiply them.</summary>
/// <remarks>
/// <code>
/// weights        activations      few rows            many rows          emulated device
/// F32, FP8       float32          PlainProduct        PlainProduct       PlainProduct
/// F16, BF16      16 bits          StreamProduct       TiledProduct       PlainProduct
/// all others     8 bits a block   StreamCodedProduct  TiledCodedProduct  PlainCodedProduct
/// any            float32 (asked)  PlainProduct        PlainProduct       PlainProduct
/// </code>
/// Cost     a GPU's kernels are compiled when the first weight of their format is packed, an emulated device's when they are first launched.
/// </remarks>
internal sealed class LinearDispatch
{
    private readonly CudaQueue _queue;
    private readonly CudaActivations _activations;
    private readonly ActivationPacking _quantised;
    private readonly Dictionary<WeightFormat, FormatKernels> _formats;

    /// <summary>Compiles nothing yet.</summary>
    public LinearDispatch(CudaQueue queue, CudaActivations activations)
    {
        _queue = queue;
        _activations = activations;
        _quantised = new ActivationPacking(new(() => PackedActivations.LoadQuantising(queue)), PackedActivations.CodedWords, BlockThreads: 8, TileGridRows: PackedActivations.TileRows);
        _formats = new Dictionary<WeightFormat, FormatKernels>
        {
            [WeightFormat.F32] = Floats<Float32Layout>(),
            [WeightFormat.F16] = Halves<Float16Layout, BinaryHalfMath>(),
            [WeightFormat.BF16] = Halves<BFloat16Layout, BFloatMath>(),
            [WeightFormat.Q4_0] = Coded<OffsetNibbleCodes, HalfScales>(),
            [WeightFormat.Q4_1] = Coded<NibbleCodes, HalfScaleMinimums>(),
            [WeightFormat.Q5_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.Q5_1] = Coded<ByteCodes, HalfScaleMinimums>(),
            [WeightFormat.Q8_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.Q2_K] = Coded<ByteCodes, NibbleHalfScaleMinimums>(),
            [WeightFormat.Q3_K] = Coded<ByteCodes, ByteHalfScales>(),
            [WeightFormat.Q4_K] = Coded<NibbleCodes, SixBitScaleMinimums>(),
            [WeightFormat.Q5_K] = Coded<ByteCodes, SixBitScaleMinimums>(),
            [WeightFormat.Q6_K] = Coded<ByteCodes, ByteHalfScales>(),
            [WeightFormat.IQ4_NL] = Coded<TableNibbleCodes<NonLinear4Words>, HalfScales>(),
            [WeightFormat.IQ4_XS] = Coded<TableNibbleCodes<NonLinear4Words>, SingleScales>(),
            [WeightFormat.MXFP4] = Coded<TableNibbleCodes<Float4Words>, SingleScales>(),
            [WeightFormat.NVFP4] = Coded<TableNibbleCodes<Float4Words>, HalfPairScales>(),
            [WeightFormat.IQ3_S] = Coded<TableNibbleCodes<OddWords>, SingleScales>(),
            [WeightFormat.IQ3_XXS] = Coded<TableNibbleCodes<ThreeBitsWords>, SingleScales>(),
            [WeightFormat.IQ2_S] = Coded<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>(),
            [WeightFormat.IQ2_XS] = Coded<TableNibbleCodes<TwoBitsWords>, EighthByteHalfScales>(),
            [WeightFormat.IQ2_XXS] = Coded<TableNibbleCodes<TwoBitsWords>, SingleScales>(),
            [WeightFormat.IQ1_S] = Coded<TableNibbleCodes<ShiftedWords>, SingleScales>(),
            [WeightFormat.IQ1_M] = Coded<TableNibbleCodes<ShiftedWords>, EighthByteHalfScales>(),
            [WeightFormat.TQ1_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.TQ2_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.Q1_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.Q2_0] = Coded<ByteCodes, HalfScales>(),
            [WeightFormat.Q8_K] = Coded<ByteCodes, SingleScales>(),
            [WeightFormat.INT4_F16] = Coded<ByteCodes, SingleScales>(),
            [WeightFormat.INT4_BF16] = Coded<ByteCodes, SingleScales>(),
            [WeightFormat.INT8] = Coded<ByteCodes, SingleScales>(),
            [WeightFormat.FP8] = Floats<Float32Layout>(),
        };
    }

    /// <summary>The signature of the products of packed activations, and of float32 rows that a kernel rounds itself.</summary>
    public delegate void Product(
        KernelConfig config, ArrayView<uint> x, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ProductShape shape);

    /// <summary>The signature of the tiled products.</summary>
    public delegate void TiledProductLaunch(
        KernelConfig config, ArrayView<uint> packed, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, ArrayView<float> y,
        ArrayView<ProductSegment> segments, ArrayView<float> stacks, int levels, ProductShape shape);

    /// <summary>A format's row of the table.</summary>
    public FormatKernels this[WeightFormat format] => _formats[format];

    /// <summary>True where a format's products are <see cref="PlainProduct"/>.</summary>
    public bool IsPlain(WeightFormat format) =>
        _activations == CudaActivations.Float32 || this[format].Packed is null || (_queue.IsEmulated && this[format].Layout.IsFloat);

    /// <summary>On a GPU every kernel the format can need: a step that is being recorded must not compile.</summary>
    public void Compile(WeightFormat format)
    {
        if (_queue.IsEmulated)
            return;
        FormatKernels kernels = this[format];
        _ = kernels.Rows.Value;
        if (IsPlain(format))
            _ = kernels.Plain.Value;
        else
            kernels.Packed!.Compile();
    }

    private FormatKernels Floats<TLayout>() where TLayout : struct, IWeightLayout =>
        new(DeviceLayout.Float32, new(() => PlainProduct.Load<TLayout>(_queue)), new(() => TableRows.Load<TLayout>(_queue)), null);

    private FormatKernels Halves<TLayout, T>() where TLayout : struct, IWeightLayout where T : struct, IHalfMath => new(
        DeviceLayout.Halves,
        new(() => PlainProduct.Load<TLayout>(_queue)),
        new(() => TableRows.Load<TLayout>(_queue)),
        new PackedKernels(
            new ActivationPacking(new(() => PackedActivations.LoadRounding<T>(_queue)), PackedActivations.HalfWords, BlockThreads: 32, TileGridRows: 1),
            new(() => Load(StreamProduct.Kernel<T, OneRowTile, FloatRows>)),
            new(() => Load(StreamProduct.Kernel<T, OneRowTile, PackedHalves>)),
            new(() => Load(StreamProduct.Kernel<T, TwoRowTiles, PackedHalves>)),
            new(() => Load(StreamProduct.Kernel<T, FourRowTiles, PackedHalves>)),
            new(() => LoadTiled(TiledProduct.Kernel<T>)),
            null));

    private FormatKernels Coded<TCodes, TScales>() where TCodes : struct, ICodes where TScales : struct, IScales => new(
        DeviceLayout.Coded<TCodes, TScales>(),
        new(() => PlainProduct.Load<CodedLayout<TCodes, TScales>>(_queue)),
        new(() => TableRows.Load<CodedLayout<TCodes, TScales>>(_queue)),
        new PackedKernels(
            _quantised,
            null,
            new(() => Load(StreamCodedProduct.Kernel<CodedLayout<TCodes, TScales>, OneRowTile>)),
            new(() => Load(StreamCodedProduct.Kernel<CodedLayout<TCodes, TScales>, TwoRowTiles>)),
            new(() => Load(StreamCodedProduct.Kernel<CodedLayout<TCodes, TScales>, FourRowTiles>)),
            new(() => LoadTiled(TiledCodedProduct.Kernel<CodedLayout<TCodes, TScales>>)),
            new(() => Load(PlainCodedProduct.Kernel<CodedLayout<TCodes, TScales>>))));

    private Product Load(
        Action<ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<float>, ArrayView<ProductSegment>, ProductShape> kernel) =>
        new(_queue.Load(kernel));

    private TiledProductLaunch LoadTiled(
        Action<ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<uint>, ArrayView<float>, ArrayView<ProductSegment>, ArrayView<float>, int, ProductShape> kernel) =>
        new(_queue.Load(kernel));
}

/// <summary>A row of <see cref="LinearDispatch"/>; each kernel is compiled when it is first asked for.</summary>
/// <param name="Layout">How the packer writes the weights.</param>
/// <param name="Plain"><see cref="PlainProduct"/>.</param>
/// <param name="Rows"><see cref="TableRows"/>.</param>
/// <param name="Packed">The products with packed activations; null where there are none.</param>
internal sealed record FormatKernels(DeviceLayout Layout, Lazy<PlainProduct.Launch> Plain, Lazy<TableRows.Launch> Rows, PackedKernels? Packed);

/// <summary>The products of one format with activations of <see cref="PackedActivations"/>.</summary>
/// <param name="Packing">How activations are packed.</param>
/// <param name="StreamRows">Up to 8 rows of float32, which the kernel rounds itself; null where no kernel does.</param>
/// <param name="StreamOne">Up to 8 rows at a read of the weights.</param>
/// <param name="StreamTwo">Up to 16.</param>
/// <param name="StreamFour">Up to 32.</param>
/// <param name="Tiled">Tiles of 128 rows.</param>
/// <param name="Plain">Without tensor cores; null where <see cref="PlainProduct"/> takes its place.</param>
internal sealed record PackedKernels(
    ActivationPacking Packing, Lazy<LinearDispatch.Product>? StreamRows, Lazy<LinearDispatch.Product> StreamOne, Lazy<LinearDispatch.Product> StreamTwo,
    Lazy<LinearDispatch.Product> StreamFour, Lazy<LinearDispatch.TiledProductLaunch> Tiled, Lazy<LinearDispatch.Product>? Plain)
{
    /// <summary>The streaming kernel for so many tiles of 8 rows.</summary>
    public LinearDispatch.Product Stream(int rowTiles) => rowTiles switch
    {
        1 => StreamOne.Value,
        2 => StreamTwo.Value,
        _ => StreamFour.Value,
    };

    /// <summary>Compiles all that a GPU can need.</summary>
    public void Compile() => _ = (Packing.Kernel.Value, StreamRows?.Value, StreamOne.Value, StreamTwo.Value, StreamFour.Value, Tiled.Value);
}

/// <summary>A way of packing activations; formats that share it share what was packed.</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="BlockWords">Words of a packed block of 8 rows.</param>
/// <param name="BlockThreads">Threads that a block of 32 inputs takes.</param>
/// <param name="TileGridRows">Rows of the grid for a tile of 8 rows.</param>
internal sealed record ActivationPacking(Lazy<PackedActivations.Launch> Kernel, int BlockWords, int BlockThreads, int TileGridRows);
