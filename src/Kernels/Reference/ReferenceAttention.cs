namespace TpServe.Kernels.Reference;

/// <summary>Paged attention as the definition has it: all scores of a row in float64, one softmax, one weighted sum.</summary>
/// <remarks>A row of the cache is a head's elements of one position; of Q8 all codes, then the scales of their blocks.</remarks>
internal static unsafe class ReferenceAttention
{
    /// <summary>Stores keys and values of the step's tokens into their slots.</summary>
    public static void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache)
    {
        int headDim = cache.HeadDim;
        Require.Shape(k, k.Rows, cache.Heads * headDim);
        if (cache.LatentValues == 0)
            Require.Shape(v, k.Rows, cache.Heads * headDim);
        Require.Shape(slots, k.Rows, 1, ElementType.Int32);
        Require.Shape(cache.Values, cache.Keys.Rows, cache.Keys.Columns, cache.Keys.Type);
        for (int row = 0; row < k.Rows; row++)
        {
            int slot = slots.HostRow<int>(row)[0];
            for (int head = 0; head < cache.Heads; head++)
            {
                int place = CacheRow(cache, slot / cache.BlockTokens, head, slot % cache.BlockTokens);
                Write(cache.Keys, place, new ReadOnlySpan<float>(k.HostRow<float>(row) + head * headDim, headDim));
                if (cache.LatentValues == 0)
                    Write(cache.Values, place, new ReadOnlySpan<float>(v.HostRow<float>(row) + head * headDim, headDim));
            }
        }
    }

    /// <summary>y = softmax(scale · q · Kᵀ, causal) · V.</summary>
    public static void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        int headDim = shape.HeadDim, heads = shape.KvHeadOfHead.Count, valueDim = cache.ValueDim;
        Require.Shape(q, q.Rows, heads * headDim);
        Require.Shape(y, q.Rows, heads * valueDim);
        Require.Shape(step.Positions, q.Rows, 1, ElementType.Int32);
        Require.Shape(step.SequenceOfRow, q.Rows, 1, ElementType.Int32);
        Require.Type(step.BlockTables, ElementType.Int32);
        Require.That(cache.HeadDim == headDim, $"A cache of heads of {cache.HeadDim} cannot serve heads of {headDim}.");
        double[] sum = new double[headDim];
        for (int row = 0; row < q.Rows; row++)
        {
            int position = step.Positions.HostRow<int>(row)[0];
            int* blocks = step.BlockTables.HostRow<int>(step.SequenceOfRow.HostRow<int>(row)[0]);
            int first = shape.Window > 0 ? Math.Max(0, position - shape.Window + 1) : 0;
            double[] scores = new double[position + 1 - first];
            for (int head = 0; head < heads; head++)
            {
                int kvHead = shape.KvHeadOfHead[head];
                float* query = q.HostRow<float>(row) + head * headDim;
                float* target = y.HostRow<float>(row) + head * valueDim;

                // 1. Scores of every visible position.
                double sink = shape.Sinks?.HostRow<float>(0)[head] ?? double.NegativeInfinity, max = sink;
                for (int p = first; p <= position; p++)
                {
                    int place = CacheRow(cache, blocks[p / cache.BlockTokens], kvHead, p % cache.BlockTokens);
                    byte* key = cache.Keys.HostRow<byte>(place);
                    double dot = 0;
                    for (int i = 0; i < headDim; i++)
                        dot += (double)query[i] * Read(key, cache.Keys.Type, headDim, i);
                    dot *= shape.Scale;
                    scores[p - first] = shape.Softcap > 0 ? shape.Softcap * Math.Tanh(dot / shape.Softcap) : dot;
                    max = Math.Max(max, scores[p - first]);
                }

                // 2. Softmax and the weighted sum of the values.
                double total = double.IsNegativeInfinity(sink) ? 0 : Math.Exp(sink - max);
                Array.Clear(sum);
                for (int p = first; p <= position; p++)
                {
                    int place = CacheRow(cache, blocks[p / cache.BlockTokens], kvHead, p % cache.BlockTokens);
                    double weight = Math.Exp(scores[p - first] - max);
                    total += weight;
                    byte* value = cache.Values.HostRow<byte>(place);
                    for (int i = 0; i < valueDim; i++)
                        sum[i] += weight * Read(value, cache.Values.Type, headDim, i);
                }
                for (int i = 0; i < valueDim; i++)
                    target[i] = (float)(sum[i] / total);
            }
        }
    }

    /// <summary>The row of Keys and Values that holds a position of a block for one KV head.</summary>
    internal static int CacheRow(KvLayer cache, int block, int head, int positionInBlock)
    {
        int row = (block * cache.Heads + head) * cache.BlockTokens + positionInBlock;
        Require.That(block >= 0 && row < cache.Keys.Rows, $"Block {block} is not in a cache of {cache.Keys.Rows} rows.");
        return row;
    }

    /// <summary>An element of a row of the cache.</summary>
    internal static float Read(byte* row, ElementType type, int headDim, int column) => type switch
    {
        ElementType.Float32 => ((float*)row)[column],
        ElementType.Float16 => (float)((Half*)row)[column],
        ElementType.BFloat16 => FloatValues.FromBFloat16(((ushort*)row)[column]),
        ElementType.Q8 => (float)((Half*)(row + headDim))[column / Q8Block.Elements] * ((sbyte*)row)[column],
        _ => throw new ArgumentException($"A cache cannot hold {type}."),
    };

    private static void Write(Tensor tensor, int row, ReadOnlySpan<float> values)
    {
        for (int i = 0; i < values.Length; i++)
        {
            switch (tensor.Type)
            {
                case ElementType.Float32: tensor.HostRow<float>(row)[i] = values[i]; break;
                case ElementType.Float16: tensor.HostRow<Half>(row)[i] = (Half)values[i]; break;
                case ElementType.BFloat16: tensor.HostRow<ushort>(row)[i] = FloatValues.ToBFloat16(values[i]); break;
                case ElementType.Q8 when i % Q8Block.Elements == 0:
                    Span<sbyte> codes = new(tensor.HostRow<sbyte>(row) + i, Q8Block.Elements);
                    ((Half*)(tensor.HostRow<byte>(row) + values.Length))[i / Q8Block.Elements] = Q8Block.Quantize(values.Slice(i, Q8Block.Elements), codes);
                    break;
                case ElementType.Q8: break; // with its block
                default: throw new ArgumentException($"A cache cannot hold {tensor.Type}.");
            }
        }
    }
}
