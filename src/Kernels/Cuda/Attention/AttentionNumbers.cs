using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>The sizes and factors of one attention call, and how it is cut.</summary>
internal struct AttentionNumbers
{
    /// <summary>Tokens.</summary>
    public int Rows;

    /// <summary>Query heads.</summary>
    public int Heads;

    /// <summary>Elements of a head.</summary>
    public int HeadDim;

    /// <summary>Elements from a row of q to the next.</summary>
    public int StrideQ;

    /// <summary>Elements from a row of y to the next.</summary>
    public int StrideY;

    /// <summary>Sequences.</summary>
    public int Sequences;

    /// <summary>Columns of the block tables.</summary>
    public int TableBlocks;

    /// <summary>Elements from a row of the block tables to the next.</summary>
    public int TableStride;

    /// <summary>Positions a token sees; 0 = all before it.</summary>
    public int Window;

    /// <summary>What a product is multiplied by: see <see cref="SoftmaxMath.Score"/>.</summary>
    public float Factor;

    /// <summary>The soft cap times log2 e; 0 = none.</summary>
    public float Cap;

    /// <summary>Positions of a chunk.</summary>
    public int Chunk;

    /// <summary>Chunks that the block tables can hold.</summary>
    public int Chunks;

    /// <summary>Chunks that one group walks; where that is fewer than <see cref="Chunks"/> each leaves its chunks' partial results in scratch.</summary>
    public int ChunksOfGroup;

    /// <summary>The last position that a row sees; −1 where its sequence or position is out of range, so that it sees nothing.</summary>
    public static int Last(AttentionNumbers numbers, int row, ArrayView<int> positions, ArrayView<int> sequences, KvView cache)
    {
        int position = positions[row];
        return (uint)sequences[row] < (uint)numbers.Sequences && position >= 0 && position / cache.BlockTokens < numbers.TableBlocks ? position : -1;
    }

    /// <summary>The first position that a row sees.</summary>
    public static int First(AttentionNumbers numbers, int last) => numbers.Window > 0 && last >= numbers.Window ? last - numbers.Window + 1 : 0;

    /// <summary>Where the partial result of a chunk lies for a column (row · heads + head): max, sum, then the weighted values.</summary>
    public static long Partial(AttentionNumbers numbers, int column, int chunk) => ((long)column * numbers.Chunks + chunk) * (numbers.HeadDim + 2);
}

/// <summary>The tensors of one attention call as kernels see them.</summary>
/// <param name="Queries">q.</param>
/// <param name="Cache">Keys and values.</param>
/// <param name="KvHeads">The KV head of each query head.</param>
/// <param name="Positions">Of each row.</param>
/// <param name="Sequences">Of each row: its row of the block tables.</param>
/// <param name="Tables">Block tables.</param>
/// <param name="Result">y.</param>
/// <param name="Partials">Partial results of chunks; empty where none are left.</param>
internal readonly record struct AttentionOperands(
    ArrayView<float> Queries, KvView Cache, ArrayView<int> KvHeads, ArrayView<int> Positions, ArrayView<int> Sequences, ArrayView<int> Tables,
    ArrayView<float> Result, ArrayView<float> Partials);
