using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>What each unit of a model that a rank may own weighs, over all layers: from names, shapes and formats of its tensors alone.</summary>
/// <remarks>
/// A unit's bytes are its share of each tensor by elements, as <see cref="ShardSizes"/> counts them; sums over layers are sums of like layers, so that
/// a file with unlike formats in its layers is costed by their mean.
/// </remarks>
public sealed record ModelCosts
{
    /// <summary>Sizes.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>One query head: its rows of the query projection and its columns of the output projection.</summary>
    public required UnitBytes QueryHead { get; init; }

    /// <summary>One KV head: its rows of keys and values. One whose group is cut between two ranks is on both.</summary>
    public required UnitBytes KvHead { get; init; }

    /// <summary>One column of the MLP: a row of gate and up, a column of down; where there are mixtures, of every expert, with its part of the other MLPs. A leaf has <see cref="Leaves"/>' columns, the last one perhaps fewer.</summary>
    public required UnitBytes Column { get; init; }

    /// <summary>One row of the vocabulary, of embedding and head; the products are the head's alone. Where they are tied it is stored once.</summary>
    public required UnitBytes VocabRow { get; init; }

    /// <summary>What every rank holds whole: norms, biases added after a sum.</summary>
    public required double ReplicatedBytes { get; init; }

    /// <summary>Keys and values of one token and one KV head in one layer.</summary>
    public required int KvHeadBytes { get; init; }

    /// <summary>The costs of a checkpoint's tensors.</summary>
    /// <param name="config">The model.</param>
    /// <param name="tensors">Its tensors.</param>
    /// <param name="kvHeadBytes">Keys and values of one token and one KV head in one layer: callers know their type.</param>
    /// <param name="tensorBytes">What a device stores a tensor in; null = as the file does.</param>
    public static ModelCosts Of(ModelConfig config, IEnumerable<TensorInfo> tensors, int kvHeadBytes, Func<TensorInfo, long>? tensorBytes = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tensors);
        UnitSum head = new(), kv = new(), column = new(), row = new();
        double replicated = 0, embeddingProducts = 0;
        TensorType embeddingType = default;
        bool hasHead = false;
        foreach (TensorInfo tensor in tensors)
        {
            double bytes = tensorBytes?.Invoke(tensor) ?? ShardSizes.HeldBytes(config, tensor);
            WeightRole[] roles = ShardSizes.RolesOf(tensor.Name);
            if (roles.Length == 0)
            {
                replicated += bytes;
                continue;
            }
            bool isMatrix = tensor.Shape.Count >= 2;
            double whole = roles.Sum(role => ShardSizes.WholeElements(config, role));
            foreach (WeightRole role in roles)
            {
                double share = bytes * ShardSizes.WholeElements(config, role) / whole;
                switch (role)
                {
                    case WeightRole.Query or WeightRole.LatentHeads or WeightRole.AttentionOutput:
                        head.Add(tensor.Type, share / config.Heads, isMatrix);
                        break;
                    case WeightRole.Key or WeightRole.Value:
                        kv.Add(tensor.Type, share / config.KvHeads, isMatrix);
                        break;
                    case WeightRole.Gate or WeightRole.Up or WeightRole.Down or WeightRole.SharedGate or WeightRole.SharedUp or WeightRole.SharedDown:
                        column.Add(tensor.Type, share / config.MlpColumns, isMatrix);
                        break;
                    case WeightRole.ExpertGate or WeightRole.ExpertUp or WeightRole.ExpertDown:
                        column.Add(tensor.Type, share / config.MlpColumns, isMatrix, (double)config.Experts!.PerToken / config.Experts.Count);
                        break;
                    case WeightRole.Head:
                        hasHead |= isMatrix;
                        row.Add(tensor.Type, share / config.Vocab, isMatrix);
                        break;
                    default:
                        row.Add(tensor.Type, share / config.Vocab, isProduct: false);
                        (embeddingType, embeddingProducts) = (tensor.Type, share / config.Vocab);
                        break;
                }
            }
        }
        if (!hasHead)
            row.AddProduct(embeddingType, embeddingProducts);
        return new ModelCosts
        {
            Config = config,
            QueryHead = head.Unit,
            KvHead = kv.Unit,
            Column = column.Unit,
            VocabRow = row.Unit,
            ReplicatedBytes = replicated,
            KvHeadBytes = kvHeadBytes,
        };
    }

    /// <exception cref="ShardingException">Names the field, its value and its limit.</exception>
    internal void Check()
    {
        if (Config.Layers < 1 || Config.Heads < 1 || Config.KvHeads < 1 || Config.Heads % Config.KvHeads != 0 || Config.MlpColumns < 1 || Config.Vocab < 1)
            throw new ShardingException(
                $"a model of {Config.Layers} layers, {Config.Heads} heads, {Config.KvHeads} KV heads, {Config.MlpColumns} MLP columns and {Config.Vocab} vocabulary rows cannot be planned.");
        if (KvHeadBytes < 1)
            throw new ShardingException($"{KvHeadBytes} bytes of keys and values a token and KV head is not above 0.");
    }

    private sealed class UnitSum
    {
        private readonly SortedDictionary<(TensorType Type, double Chosen), double> _products = [];
        private double _stored;

        public UnitBytes Unit => new(_stored, [.. _products.Select(product => new ProductBytes(product.Key.Type, product.Value, product.Key.Chosen))]);

        public void Add(TensorType type, double bytes, bool isProduct, double chosen = 1)
        {
            _stored += bytes;
            if (isProduct)
                AddProduct(type, bytes, chosen);
        }

        public void AddProduct(TensorType type, double bytes, double chosen = 1) => _products[(type, chosen)] = _products.GetValueOrDefault((type, chosen)) + bytes;
    }
}

/// <summary>The weights of one unit, over all layers.</summary>
/// <param name="Stored">Bytes in memory.</param>
/// <param name="Products">Bytes that a step reads in products of matrices, by format.</param>
public sealed record UnitBytes(double Stored, IReadOnlyList<ProductBytes> Products);

/// <summary>Weights of one format.</summary>
/// <param name="Format">How they are stored.</param>
/// <param name="Bytes">How many bytes.</param>
/// <param name="Chosen">The part of a step's rows that each weight is multiplied with: less than 1 for experts.</param>
public readonly record struct ProductBytes(TensorType Format, double Bytes, double Chosen = 1)
{
    /// <summary>The bytes that a step of so many rows reads, and the rows that it multiplies them with: experts that no row has chosen are not read.</summary>
    /// <remarks>Source   rows choose alike and independently: an expert is read with probability 1 − (1 − Chosen)^rows.</remarks>
    public (double Bytes, int Rows) Read(int rows)
    {
        if (Chosen >= 1)
            return (Bytes, rows);
        double read = 1 - Math.Pow(1 - Chosen, rows);
        return (Bytes * read, Math.Max(1, (int)Math.Round(rows * Chosen / read)));
    }
}
