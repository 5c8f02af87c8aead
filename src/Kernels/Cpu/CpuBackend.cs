using TpServe.Kernels.Cpu.Emit;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Cpu;

/// <summary>The operations of a forward pass on this host's CPU.</summary>
/// <remarks>
/// Numerics matrix products: <see cref="PanelKernel"/>; every instruction path gives the same bits, and none depends on rows, threads or rank.
/// Threads  runs every operation at the call; the caller is one of the threads and the others share its work. One thread drives a backend.
/// Errors   ArgumentException where shapes disagree, before anything is written.
/// </remarks>
public sealed class CpuBackend : ITensorBackend
{
    private readonly CpuThreads _threads;
    private readonly CpuLinear _linear;
    private readonly CpuExperts _experts;
    private readonly Ops.Attention _attention;
    private readonly ScratchArena _scratch = new(bytes => new HostBuffer(bytes));

    /// <summary>A backend of <paramref name="threads"/> threads, the caller's among them.</summary>
    /// <param name="threads">How many.</param>
    /// <param name="isa">Instruction path; null = the widest the CPU has.</param>
    /// <param name="activations">What inputs of matrix products are rounded to.</param>
    /// <param name="cpus">CPUs the threads are bound to; null or none = they are left as they are.</param>
    /// <exception cref="PlatformNotSupportedException">This CPU cannot execute the path.</exception>
    public CpuBackend(int threads, IsaPath? isa = null, CpuActivations activations = CpuActivations.Auto, IReadOnlyCollection<int>? cpus = null)
    {
        Path = isa ?? Isa.Detect();
        if (!Path.IsSupported())
            throw new PlatformNotSupportedException($"The instruction path {Path.Name()} was asked for; this machine goes up to {Isa.Detect().Name()}.");
        Activations = activations;
        bool isBound = cpus is { Count: > 0 } && CpuAffinity.Bind(cpus);
        _threads = new CpuThreads(threads, isBound ? cpus : null);
        _linear = new CpuLinear(_threads, Path, activations);
        _experts = new CpuExperts(_threads);
        _attention = new Ops.Attention(_threads, InstructionFamily.Of(Path));
        Description = $"cpu {Path.Name()}{(isa is null && Isa.Fault is { } fault ? $" ({fault})" : "")}{(activations == CpuActivations.Auto ? "" : ", float32 activations")}, {threads} {(threads == 1 ? "thread" : "threads")}{(isBound ? $" on {(cpus!.Count == 1 ? "CPU" : "CPUs")} {string.Join(",", cpus)}" : "")}";
    }

    /// <inheritdoc/>
    public string Description { get; }

    /// <summary>The instruction path of the matrix products.</summary>
    public IsaPath Path { get; }

    /// <summary>What inputs of matrix products are rounded to.</summary>
    public CpuActivations Activations { get; }

    /// <inheritdoc/>
    public DeviceBuffer Allocate(long bytes) => new HostBuffer(bytes);

    /// <inheritdoc/>
    public Tensor Rent(int rows, int columns, ElementType type = ElementType.Float32) => _scratch.Rent(rows, columns, type);

    /// <inheritdoc/>
    public long Mark() => _scratch.Mark();

    /// <inheritdoc/>
    public void Release(long mark) => _scratch.Release(mark);

    /// <inheritdoc/>
    public void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged => HostTransfer.Upload(source, destination);

    /// <inheritdoc/>
    public void Download<T>(Tensor source, Span<T> destination) where T : unmanaged => HostTransfer.Download(source, destination);

    /// <inheritdoc/>
    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves) => _linear.Pack(rows, leaves);

    /// <inheritdoc/>
    public PackedWeight PackWeight(WeightRows rows, InputLeaves leaves, IReadOnlyList<KeptRows> kept, out long readBytes) => _linear.Pack(rows, leaves, kept, out readBytes);

    /// <inheritdoc/>
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y) => _linear.Linear(x, parts, y);

    /// <inheritdoc/>
    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces) => _linear.Pieces(x, weight, pieces);

    /// <inheritdoc/>
    public void GatedPieces(Tensor x, ReadOnlySpan<PackedWeight> gateUp, Activation activation, PackedWeight down, Tensor pieces)
    {
        if (!_linear.TryGatedPieces(x, gateUp, activation, down, pieces))
            ITensorBackend.GatedPiecesInTurn(this, x, gateUp, activation, down, pieces);
    }

    /// <inheritdoc/>
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y) => _linear.Embed(tokenIds, table, firstRow, scale, y);

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y) => Ops.RmsNorm.Run(_threads, x, weight, epsilon, y);

    /// <inheritdoc/>
    public bool HasLayerNorm => true;

    /// <inheritdoc/>
    public void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y) => Ops.LayerNorm.Run(_threads, x, weight, bias, epsilon, y);

    /// <inheritdoc/>
    public void Activate(Tensor x, PlainActivation activation) => PlainActivations.Run(_threads, x, activation);

    /// <inheritdoc/>
    public void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed) =>
        Ops.RmsNorm.AddNorm(_threads, x, y, scale, weight, epsilon, normed);

    /// <inheritdoc/>
    public void SumSquares(Tensor x, int dim, Tensor sums) => Ops.RmsNorm.SumSquares(_threads, x, dim, sums);

    /// <inheritdoc/>
    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) =>
        Ops.RmsNorm.NormBySums(_threads, x, sums, totalColumns, weight, epsilon);

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim) => Ops.Rope.Run(_threads, x, positions, table, headDim);

    /// <inheritdoc/>
    public void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache) => Ops.StoreKv.Run(_threads, k, v, slots, cache);

    /// <inheritdoc/>
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y) => _attention.Run(q, cache, step, shape, y);

    /// <inheritdoc/>
    public void GatedActivation(Tensor x, Activation activation, Tensor y) => Ops.GatedActivation.Run(_threads, x, activation, y);

    /// <inheritdoc/>
    public bool HasExperts => true;

    /// <inheritdoc/>
    public bool HasSinks => true;

    /// <inheritdoc/>
    public bool HasLatentCaches => true;

    /// <inheritdoc/>
    public void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights) => Routing.Run(_threads, logits, correction, shape, ids, weights);

    /// <inheritdoc/>
    public void ExpertPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces) => _experts.Pieces(x, ids, weights, mlp, pieces);

    /// <inheritdoc/>
    public bool HasLora => true;

    /// <inheritdoc/>
    public void LoraDown(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total) =>
        Ops.Lora.Down(_threads, x, rows, a, leaves, pieces, first, total);

    /// <inheritdoc/>
    public void LoraUp(Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y) => Ops.Lora.Up(_threads, t, rows, firstRow, b, scale, y);

    /// <inheritdoc/>
    public void AddScaled(Tensor x, Tensor y, float scale) => Ops.AddScaled.Run(_threads, x, y, scale);

    /// <inheritdoc/>
    public void AddRow(Tensor x, Tensor bias) => Ops.AddRow.Run(_threads, x, bias);

    /// <inheritdoc/>
    public void Scale(Tensor x, float scale) => Ops.Scale.Run(_threads, x, scale);

    /// <inheritdoc/>
    public void Softcap(Tensor x, float cap) => Ops.Softcap.Run(_threads, x, cap);

    /// <inheritdoc/>
    public void GatherRows(Tensor x, Tensor rows, Tensor y) => RowCopy.Gather(_threads, x, rows, y);

    /// <inheritdoc/>
    public void Copy(Tensor x, Tensor y) => RowCopy.Copy(_threads, x, y);

    /// <inheritdoc/>
    public void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids) => Ops.TopK.Run(_threads, x, k, firstId, values, ids);

    /// <inheritdoc/>
    public void Dispose()
    {
        _attention.Dispose();
        _experts.Dispose();
        _linear.Dispose();
        _scratch.Dispose();
        _threads.Dispose();
    }
}

/// <summary>What the input of a matrix product is rounded to before it meets the weights.</summary>
public enum CpuActivations
{
    /// <summary>What suits the weight's format: 8-bit blocks for the quantised ones, bf16 for bf16, float32 for f16 and f32.</summary>
    Auto,

    /// <summary>float32 for every format: weights are widened exactly, one fused multiply-add per weight in ascending order.</summary>
    Float32,
}
