using System.Runtime.InteropServices;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Families;
using TpServe.Model.Weights;

namespace TpServe.Benchmarks.Gpu;

/// <summary>A model of the Llama architecture whose weights are drawn when asked for: any size, no file, no download.</summary>
/// <remarks>Matrices are bfloat16, near 1/√columns, so that activations stay finite; every row is a window of one random pool. Norms are ones.</remarks>
internal sealed class SyntheticLlama : ModelCheckpoint
{
    private const int PoolValues = 1 << 24;
    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly byte[] _pool = new byte[2 * PoolValues];
    private readonly byte[] _ones = new byte[4 * 65536];

    public SyntheticLlama(ModelConfig config)
    {
        Config = config;
        Random random = new(20261124);
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(_pool.AsSpan());
        float spread = 1 / MathF.Sqrt(config.Hidden);
        for (int i = 0; i < values.Length; i++)
            values[i] = (ushort)(BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) * spread) >> 16);
        MemoryMarshal.Cast<byte, float>(_ones.AsSpan()).Fill(1f);
        foreach (ExpectedTensor tensor in ExpectedTensors.Of(config, FamilyRegistry.Find(config.Architecture)))
            _tensors[tensor.Name] = new TensorInfo(tensor.Name, tensor.Shape.Count == 2 ? TensorType.BF16 : TensorType.F32, tensor.Shape, RowOrder.Plain);
    }

    /// <summary>Llama 3.1 8B.</summary>
    public static ModelConfig Llama8B { get; } = new()
    {
        Architecture = "llama",
        Hidden = 4096,
        Layers = 32,
        Heads = 32,
        KvHeads = 8,
        HeadDim = 128,
        Intermediate = 14336,
        Vocab = 128256,
        MaxPositions = 8192,
        NormEpsilon = 1e-5f,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 500000, RotaryDim = 128 },
    };

    /// <summary>The same blocks, few and narrow: runs anywhere in seconds.</summary>
    public static ModelConfig Tiny { get; } = Llama8B with
    {
        Hidden = 64,
        Layers = 2,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 16,
        Intermediate = 128,
        Vocab = 256,
        Rope = new RopeConfig { Theta = 500000, RotaryDim = 16 },
    };

    public override string Path => "synthetic";

    public override string Name => "synthetic";

    public override ModelConfig Config { get; }

    public override GenerationDefaults Generation { get; } = new();

    public override TokenizerFiles Tokenizer { get; } = new();

    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    public override ReadOnlySpan<byte> Bytes(TensorInfo tensor) => Bytes(tensor, 0, checked(tensor.Shape.Aggregate(tensor.Type == TensorType.F32 ? 4 : 2, (bytes, length) => bytes * length)));

    public override ReadOnlySpan<byte> Bytes(TensorInfo tensor, long start, int count)
    {
        if (tensor.Type == TensorType.F32)
            return _ones.AsSpan(0, count);
        long at = (start / 2 * 2654435761L + tensor.Name.Length * 7919L) % (PoolValues - count / 2);
        return _pool.AsSpan((int)at * 2, count);
    }

    public override void Drop(TensorInfo tensor)
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
