using System.Globalization;
using System.Runtime.InteropServices;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Linear;
using TpServe.Kernels.Cuda.Ops;
using TpServe.Kernels.Cuda.Sampling;

namespace TpServe.Kernels.Cuda;

/// <summary>The operations of a forward pass as ILGPU kernels on one NVIDIA GPU, or on ILGPU's CPU accelerator for proof without one.</summary>
/// <remarks>
/// Operations are enqueued on one stream in call order. Each family of kernels has its own class; this one checks nothing and decides nothing.
/// Numerics a row's bits depend on that row alone. Promised per device architecture and release, as DESIGN's instruction set paths are.
/// Threads  the rank's thread.
/// </remarks>
public sealed class CudaBackend : ITensorBackend
{
    private readonly CudaContext _context;
    private readonly CudaQueue _queue;
    private readonly ScratchArena _scratch;
    private readonly HostTransfers _transfers;
    private readonly NormKernels _norms;
    private readonly ElementwiseKernels _elementwise;
    private readonly RowKernels _rows;
    private readonly TopKKernels _topK;
    private readonly RowSampler _sampler;
    private readonly RotaryKernels _rotary;
    private readonly KvStoreKernels _kvStore;
    private readonly AttentionKernels _attention;
    private readonly LinearKernels _linear;
    private readonly StepRecorder _recorder;
    private bool _disposed;

    /// <summary>Takes the device over: disposes it.</summary>
    public CudaBackend(CudaContext context, CudaActivations activations = CudaActivations.Auto)
    {
        ArgumentNullException.ThrowIfNull(context);
        Activations = activations;
        _context = context;
        _queue = new CudaQueue(context);
        _scratch = new ScratchArena(_queue.Allocate);
        _transfers = new HostTransfers(_queue);
        _norms = new NormKernels(_queue);
        _elementwise = new ElementwiseKernels(_queue);
        _rows = new RowKernels(_queue);
        _topK = new TopKKernels(_queue, _scratch);
        _sampler = new RowSampler(_queue, _scratch, _topK);
        _rotary = new RotaryKernels(_queue);
        _kvStore = new KvStoreKernels(_queue);
        _attention = new AttentionKernels(_queue, _scratch, activations);
        _linear = new LinearKernels(_queue, _scratch, _transfers, activations);
        _recorder = new StepRecorder(_queue, _scratch);
    }

    /// <inheritdoc/>
    public string Description => string.Create(CultureInfo.InvariantCulture, $"cuda {_context.Name}{(_context.IsEmulated ? " (emulated)" : "")}");

    /// <summary>The type of activations that products and attention were made for.</summary>
    public CudaActivations Activations { get; }

    /// <summary>Kernels launched so far; a replayed graph counts as the launches it holds.</summary>
    public long Launches => _queue.Launches;

    /// <inheritdoc/>
    public bool Records => _recorder.IsAvailable;

    /// <summary>Recorded graphs replayed so far.</summary>
    public long GraphLaunches => _recorder.GraphLaunches;

    /// <inheritdoc/>
    public string? RecordingFault => _recorder.Fault;

    /// <summary>The stream of this backend's kernels, for kernels of other rooms.</summary>
    public CudaQueue Queue => _queue;

    /// <summary>Where kernels find a tensor's first element.</summary>
    /// <exception cref="ArgumentException">The tensor lies on another device.</exception>
    public static long AddressOf(Tensor tensor) => DeviceViews.Memory(tensor).Address + tensor.OffsetBytes;

    /// <inheritdoc/>
    public DeviceBuffer Allocate(long bytes) => _queue.Allocate(bytes);

    /// <inheritdoc/>
    public HostBuffer AllocateStaging(long bytes) => _transfers.AllocatePinned(bytes);

    /// <inheritdoc/>
    public T Recorded<T>(RecordingKey key, Func<T> work) => _recorder.Run(key, work);

    /// <inheritdoc/>
    public void DropRecordings()
    {
        _queue.Synchronize();
        _recorder.Drop();
    }

    /// <inheritdoc/>
    public Tensor Rent(int rows, int columns, ElementType type = ElementType.Float32) => _scratch.Rent(rows, columns, type);

    /// <inheritdoc/>
    public long Mark() => _scratch.Mark();

    /// <inheritdoc/>
    public void Release(long mark) => _scratch.Release(mark);

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged => _transfers.Upload(MemoryMarshal.AsBytes(source), destination);

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination) where T : unmanaged => _transfers.Download(source, MemoryMarshal.AsBytes(destination));

    /// <inheritdoc/>
    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves) => _linear.Pack(rows, leaves);

    /// <inheritdoc/>
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y) => _linear.Linear(x, parts, y);

    /// <inheritdoc/>
    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces) => _linear.LinearPieces(x, weight, pieces);

    /// <inheritdoc/>
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y) => _linear.Embed(tokenIds, table, firstRow, scale, y);

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y) => _norms.RmsNorm(x, weight, epsilon, y);

    /// <inheritdoc/>
    public void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed) => _norms.AddNorm(x, y, scale, weight, epsilon, normed);

    /// <inheritdoc/>
    public void SumSquares(Tensor x, int dim, Tensor sums) => _norms.SumSquares(x, dim, sums);

    /// <inheritdoc/>
    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) => _norms.NormBySums(x, sums, totalColumns, weight, epsilon);

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim) => _rotary.Rope(x, positions, table, headDim);

    /// <inheritdoc/>
    public void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache) => _kvStore.Store(k, v, slots, cache);

    /// <inheritdoc/>
    public void RopeStoreKv(Tensor q, Tensor k, Tensor v, Tensor positions, Tensor table, int headDim, Tensor slots, KvLayer cache) =>
        _kvStore.RopeStore(q, k, v, positions, table, headDim, slots, cache);

    /// <inheritdoc/>
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y) => _attention.Attention(q, cache, step, shape, y);

    /// <inheritdoc/>
    public void GatedActivation(Tensor x, Activation activation, Tensor y) => _elementwise.GatedActivation(x, activation, y);

    /// <inheritdoc/>
    public void AddScaled(Tensor x, Tensor y, float scale) => _elementwise.AddScaled(x, y, scale);

    /// <inheritdoc/>
    public void AddRow(Tensor x, Tensor bias) => _elementwise.AddRow(x, bias);

    /// <inheritdoc/>
    public void Scale(Tensor x, float scale) => _elementwise.Scale(x, scale);

    /// <inheritdoc/>
    public void Softcap(Tensor x, float cap) => _elementwise.Softcap(x, cap);

    /// <inheritdoc/>
    public void GatherRows(Tensor x, Tensor rows, Tensor y) => _rows.Gather(x, rows, y);

    /// <inheritdoc/>
    public void Copy(Tensor x, Tensor y) => _rows.Copy(x, y);

    /// <inheritdoc/>
    public void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids) => _topK.Run(x, k, firstId, values, ids);

    /// <inheritdoc/>
    public IRowSampler Sampler => _sampler;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return; // or the device lives on in another backend
        DisposeParts();
        _context.Dispose();
    }

    /// <summary>A backend on the same device for other activations. This one is disposed; the device, and what others allocated on it, lives on in the new one.</summary>
    public CudaBackend With(CudaActivations activations)
    {
        DisposeParts();
        return new CudaBackend(_context, activations);
    }

    /// <summary>Everything but the device.</summary>
    internal void DisposeParts()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _disposed = true;
        _queue.Synchronize();
        _recorder.Dispose();
        _attention.Dispose();
        _linear.Dispose();
        _transfers.Dispose();
        _scratch.Dispose();
        _queue.Dispose();
    }
}

/// <summary>In which type activations enter a matrix product and attention.</summary>
public enum CudaActivations
{
    /// <summary>What the tensor cores take: bfloat16 or binary16 as the weight or cache is, 8 bits a block of 32 for quantised weights. Emulated devices compute in float32 where an operation would need tensor cores.</summary>
    Auto,

    /// <summary>float32 with plain multiply-adds.</summary>
    Float32,
}

/// <summary>A GPU has not the memory that was asked for.</summary>
public sealed class DeviceMemoryException : Exception
{
    internal DeviceMemoryException(string device, long bytes, Exception cause)
        : base($"{device} could not allocate {bytes >> 20} MiB: {cause.Message}", cause)
    {
    }
}
