using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Sharding.Planning;

namespace TpServe.Sharding.Tests.Planning;

/// <summary>Models, devices and links for the planner's tests.</summary>
internal static class PlannerCases
{
    public static ModelConfig Config(int heads, int kvHeads, int intermediate, int vocab, int headDim = 8, int layers = 2, int hidden = 0) => new()
    {
        Architecture = "llama",
        Hidden = hidden > 0 ? hidden : heads * headDim,
        Layers = layers,
        Heads = heads,
        KvHeads = kvHeads,
        HeadDim = headDim,
        Intermediate = intermediate,
        Vocab = vocab,
        MaxPositions = 8192,
        NormEpsilon = 1e-5f,
        TieEmbeddings = false,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = headDim },
    };

    /// <summary>All weights in one format, of so many bytes a weight; keys and values in 16 bits.</summary>
    public static ModelCosts Costs(ModelConfig config, TensorType format = TensorType.BF16, double bytesPerWeight = 2)
    {
        double hiddenBytes = config.Hidden * bytesPerWeight * config.Layers;
        return new ModelCosts
        {
            Config = config,
            QueryHead = Unit(2 * config.HeadDim * hiddenBytes),
            KvHead = Unit(2 * config.HeadDim * hiddenBytes),
            Column = Unit(3 * hiddenBytes),
            VocabRow = new UnitBytes(2 * config.Hidden * bytesPerWeight, [new ProductBytes(format, config.Hidden * bytesPerWeight)]),
            ReplicatedBytes = (2.0 * config.Layers + 1) * config.Hidden * 4,
            KvHeadBytes = 4 * config.HeadDim,
        };

        UnitBytes Unit(double bytes) => new(bytes, [new ProductBytes(format, bytes)]);
    }

    /// <summary>Llama 3 70B in 16 bits.</summary>
    public static ModelCosts Llama70B => Costs(Config(64, 8, 28672, 128256, headDim: 128, layers: 80, hidden: 8192));

    /// <summary>A device that reads so many bytes a second, and whose other rates follow from that.</summary>
    public static DeviceProfile Device(double readBytesPerSecond, long memoryBytes = 1L << 40, string name = "device", double operationSeconds = 0) => new()
    {
        Name = name,
        Kind = "test",
        MemoryBytes = memoryBytes,
        ReadBytesPerSecond = readBytesPerSecond,
        Products = new Dictionary<TensorType, ProductCurve>
        {
            [TensorType.BF16] = new([new(1, 1 / readBytesPerSecond), new(32, 1.5 / readBytesPerSecond), new(512, 4 / readBytesPerSecond)]),
        },
        DecodeAttentionSecondsPerByte = 1.3 / readBytesPerSecond,
        PrefillAttentionSecondsPerElement = 0.05 / readBytesPerSecond,
        ElementwiseSecondsPerFloat = 2 / readBytesPerSecond,
        OperationSeconds = operationSeconds,
    };

    public static LinkProfile Link(double latencySeconds, double bytesPerSecond, LinkTransport transport = LinkTransport.SharedMemory) =>
        new(transport, latencySeconds, bytesPerSecond, 2 * bytesPerSecond);

    /// <summary>Links that cost next to nothing.</summary>
    public static LinkTable FreeLinks(int devices) => LinkTable.Uniform(devices, Link(0, 1e30));
}
