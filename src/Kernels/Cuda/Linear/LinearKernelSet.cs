using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>The compiled kernels of each weight format.</summary>
/// <remarks>Cost     a GPU's are compiled when the first weight of their format is packed, an emulated device's when they are first launched.</remarks>
internal sealed class LinearKernelSet(CudaQueue queue, CudaActivations activations)
{
    private readonly Dictionary<WeightFormat, PlainProduct.Launch> _plain = [];
    private readonly Dictionary<WeightFormat, TableRows.Launch> _tables = [];
    private readonly Lazy<HalfKernels> _bFloats = new(() => HalfKernels.Of<BFloatMath>(queue));
    private readonly Lazy<HalfKernels> _binaryHalves = new(() => HalfKernels.Of<BinaryHalfMath>(queue));
    private readonly Dictionary<WeightFormat, CodedKernels> _coded = [];
    private readonly Lazy<PackedActivations.Launch> _quantise = new(() => PackedActivations.LoadQuantising(queue));

    /// <summary>Quantises activations.</summary>
    public PackedActivations.Launch Quantise => _quantise.Value;

    /// <summary>On a GPU every kernel the format can need: a step that is being recorded must not compile.</summary>
    public void Compile(WeightFormat format)
    {
        if (queue.IsEmulated)
            return;
        Table(format);
        if (IsPlain(format))
        {
            Plain(format);
            return;
        }
        if (DeviceLayout.Of(format).IsFloat)
        {
            Halves(format).Compile();
            return;
        }
        _ = Quantise;
        Coded(format).Compile();
    }

    /// <summary>True where a format's products are <see cref="PlainProduct"/>.</summary>
    public bool IsPlain(WeightFormat format) =>
        activations == CudaActivations.Float32 || format == WeightFormat.F32 || (queue.IsEmulated && DeviceLayout.Of(format).IsFloat);

    /// <summary><see cref="TableRows"/> of a format.</summary>
    public TableRows.Launch Table(WeightFormat format)
    {
        if (!_tables.TryGetValue(format, out TableRows.Launch? launch))
            _tables.Add(format, launch = TableRows.Load(queue, format));
        return launch;
    }

    /// <summary><see cref="PlainProduct"/> of a format.</summary>
    public PlainProduct.Launch Plain(WeightFormat format)
    {
        if (!_plain.TryGetValue(format, out PlainProduct.Launch? launch))
            _plain.Add(format, launch = PlainProduct.Load(queue, format));
        return launch;
    }

    /// <summary>The kernels of a 16-bit format.</summary>
    public HalfKernels Halves(WeightFormat format) => (format == WeightFormat.F16 ? _binaryHalves : _bFloats).Value;

    /// <summary>The kernels of a coded format.</summary>
    public CodedKernels Coded(WeightFormat format)
    {
        if (!_coded.TryGetValue(format, out CodedKernels? kernels))
            _coded.Add(format, kernels = CodedKernels.Of(queue, format));
        return kernels;
    }
}
