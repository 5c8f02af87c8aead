namespace TpServe.Kernels;

/// <summary>The operations of a forward pass on one device.</summary>
/// <remarks>
/// Every operation is enqueued on the backend's one stream in call order and may return before it ran; only <see cref="Download"/> waits.
/// So a whole step can be recorded as one graph: model code never reads an activation between its first and last operation.
/// Numerics rows are independent: the bits of a row depend on that row alone, never on how many rows the step has or how they are batched.
///          Threads split outputs and heads, never an accumulation.
/// Threads  one thread drives a backend: the rank's.
/// Errors   ArgumentException where shapes disagree, at the call.
/// </remarks>
public interface ITensorBackend : IDisposable
{
    /// <summary>Device, instruction set path and thread count, for people: "cpu avx512-vnni, 1 thread".</summary>
    string Description { get; }

    /// <summary>Long-lived device memory, zeroed. The caller disposes it.</summary>
    DeviceBuffer Allocate(long bytes);

    /// <summary>A scratch tensor with undefined content, valid until <see cref="Release"/> of an earlier mark. Allocates nothing after warm-up.</summary>
    Tensor Rent(int rows, int columns, ElementType type = ElementType.Float32);

    /// <summary>Host memory that the device copies from and to at its best speed (page-locked on a GPU), zeroed. The caller disposes it.</summary>
    HostBuffer AllocateStaging(long bytes) => new(bytes);

    /// <summary>True where <see cref="Recorded{T}"/> replays: then steps of one shape are worth padding to the same sizes.</summary>
    bool Records => false;

    /// <summary>Why some work of <see cref="Recorded{T}"/> is run and not replayed although the device records; null where nothing is amiss.</summary>
    string? RecordingFault => null;

    /// <summary>Runs work that only enqueues operations on tensors rented in it or before; a device may record it under the key and replay it from then on.</summary>
    /// <remarks>
    /// Where the recording fails the work is run instead, now and later, and <see cref="RecordingFault"/> says why.
    /// Work of the same key rents the same scratch and reads the same tensors; only their content may differ. What it returns from the first run is
    /// returned again by a replay. The scratch it rented stays rented, as after running it.
    /// </remarks>
    T Recorded<T>(RecordingKey key, Func<T> work) => work();

    /// <summary>Drops what was recorded: work of the same key enqueues something else from now on.</summary>
    void DropRecordings()
    {
    }

    /// <summary>The present top of the scratch stack.</summary>
    long Mark();

    /// <summary>Gives back every scratch tensor rented since <paramref name="mark"/>.</summary>
    void Release(long mark);

    /// <summary>Copies from the host; the span may be reused on return. The tensor is contiguous.</summary>
    void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged;

    /// <summary>Waits for all enqueued work and copies to the host. The tensor is contiguous.</summary>
    void Download<T>(Tensor source, Span<T> destination) where T : unmanaged;

    /// <summary>Repacks a matrix of the file into the device's layout; values keep their stored format.</summary>
    PackedWeight PackWeight(WeightRows rows, InputLeaves leaves);

    /// <summary>The same; what is packed already is taken from there where the backend can, and <paramref name="readBytes"/> says how many bytes of the file were read.</summary>
    PackedWeight PackWeight(WeightRows rows, InputLeaves leaves, IReadOnlyList<KeptRows> kept, out long readBytes)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(leaves);
        int block = rows.Format.BlockValues();
        readBytes = rows.Outputs * rows.Format.RowBytes((leaves.Columns + block - 1) / block * block);
        return PackWeight(rows, leaves);
    }

    /// <summary>y = x · Wᵀ for several matrices of one input, whose outputs lie side by side in y; each has a single piece.</summary>
    /// <remarks>Shapes   x [n, in], parts[i] [out_i, in], y [n, Σ out_i]; x and y may be strided.</remarks>
    void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y);

    /// <summary>The partial sums of a row-parallel product, unsummed between the maximal subtrees this rank owns.</summary>
    /// <remarks>Shapes   x [n, leaves.Columns], pieces [Pieces · n, out] contiguous: piece p of row r is row p · n + r.</remarks>
    void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces);

    /// <summary>y = scale · E[token] for the rows of the table this rank holds, and zeros (+0) for all others.</summary>
    /// <remarks>
    /// Shapes   tokenIds [n, 1] Int32, table [rows, hidden] holds the vocabulary's rows [firstRow, firstRow + rows), y [n, hidden].
    /// Numerics +0 is added to every value, so that −0 does not survive at any degree.
    /// </remarks>
    void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y);

    /// <summary>Root-mean-square normalisation of each group of weight.Columns values in a row: y = x / sqrt(mean(x²) + ε) · w.</summary>
    /// <remarks>Shapes   x, y [n, groups · dim], weight [1, dim]; y may be x; x and y may be strided. Source: Zhang and Sennrich 2019, eq. 4.</remarks>
    void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y);

    /// <summary>x ← x + scale · y, then normed = RMS norm of x: what closes one half of a block and opens the next.</summary>
    /// <remarks>Shapes   x, y, normed [n, columns], weight [1, columns]. Numerics the bits of <see cref="AddScaled"/> and <see cref="RmsNorm"/> one after the other.</remarks>
    void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed)
    {
        AddScaled(x, y, scale);
        RmsNorm(x, weight, epsilon, normed);
    }

    /// <summary>Layer normalisation of each row: y = (x − mean(x)) / sqrt(mean((x − mean(x))²) + ε) · w + b.</summary>
    /// <remarks>Shapes   x, y [n, columns], weight and bias [1, columns]; y may be x; x and y may be strided. No bias = nothing is added. Source: Ba et al. 2016, eq. 4.</remarks>
    void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y) => throw new NotSupportedException($"{Description} computes no layer norms.");

    /// <summary>x ← f(x), the activation of an MLP without a gate.</summary>
    /// <remarks>Shapes   x [n, columns], may be strided. Numerics each element by itself.</remarks>
    void Activate(Tensor x, PlainActivation activation) => throw new NotSupportedException($"{Description} computes no activations without a gate.");

    /// <summary>True where <see cref="LayerNorm"/> and <see cref="Activate"/> work.</summary>
    bool HasLayerNorm => false;

    /// <summary>sums[r, g] = Σ x² over each group of dim values: the first half of a norm whose row is spread over ranks.</summary>
    /// <remarks>Shapes   x [n, groups · dim], sums [n, groups]; both may be strided.</remarks>
    void SumSquares(Tensor x, int dim, Tensor sums);

    /// <summary>x ← x / sqrt(Σ_g sums[r, g] / totalColumns + ε) · w; the groups are added by the canonical balanced tree over all of them.</summary>
    /// <remarks>Shapes   x [n, c] in place, may be strided; sums [n, all groups of all ranks]; weight [1, c] (this rank's slice).</remarks>
    void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon);

    /// <summary>Rotary embedding in place over every head: pairs are (i, i + rotary/2), rotary = table.Columns ≤ headDim.</summary>
    /// <remarks>
    /// Shapes   x [n, heads · headDim], may be strided; positions [n, 1] Int32; table [positions, rotary]: cos of each pair, then sin of each pair.
    /// Source   Su et al. 2021, in the half-split form of the Hugging Face checkpoints.
    /// </remarks>
    void Rope(Tensor x, Tensor positions, Tensor table, int headDim);

    /// <summary>Stores keys and values of the step's tokens into their slots, rounding to the cache's type (nearest even; Q8: <see cref="Q8Block"/>).</summary>
    /// <remarks>Shapes   k, v [n, kvHeads · headDim], may be strided. Of a cache whose values are part of its keys, v is not read.</remarks>
    void StoreKv(Tensor k, Tensor v, Tensor slots, KvLayer cache);

    /// <summary>Rotates q and k in place and stores k and v: <see cref="Rope"/> of both, then <see cref="StoreKv"/>.</summary>
    void RopeStoreKv(Tensor q, Tensor k, Tensor v, Tensor positions, Tensor table, int headDim, Tensor slots, KvLayer cache)
    {
        Rope(q, positions, table, headDim);
        Rope(k, positions, table, headDim);
        StoreKv(k, v, slots, cache);
    }

    /// <summary>y = softmax(scale · q · Kᵀ, causal) · V over the paged cache, which already holds this step's tokens.</summary>
    /// <remarks>
    /// Shapes   q [n, localHeads · headDim], y [n, localHeads · cache.ValueDim], may be strided.
    /// Numerics float32 online softmax over chunks of a fixed number of positions counted from position 0, in ascending order; a row's bits
    ///          depend on its own sequence alone.
    /// Source   Milakov and Gimelshein 2018; paging: Kwon et al. 2023.
    /// </remarks>
    void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y);

    /// <summary>y[:, i] = act(x[:, i]) · x[:, m + i]: gate and up lie side by side.</summary>
    /// <remarks>Shapes   x [n, 2 · m], y [n, m].</remarks>
    void GatedActivation(Tensor x, Activation activation, Tensor y);

    /// <summary>The partial sums of down(act(gate(x)) · up(x)): <see cref="Linear"/>, <see cref="GatedActivation"/> and <see cref="LinearPieces"/> in one.</summary>
    /// <remarks>
    /// Shapes   x [n, in], gateUp with 2 · m outputs together, down [out, m], pieces as of LinearPieces.
    /// Numerics the bits of the three operations one after the other.
    /// </remarks>
    void GatedPieces(Tensor x, ReadOnlySpan<PackedWeight> gateUp, Activation activation, PackedWeight down, Tensor pieces) =>
        GatedPiecesInTurn(this, x, gateUp, activation, down, pieces);

    /// <summary><see cref="GatedPieces"/> by a backend's own three operations.</summary>
    static void GatedPiecesInTurn(ITensorBackend ops, Tensor x, ReadOnlySpan<PackedWeight> gateUp, Activation activation, PackedWeight down, Tensor pieces)
    {
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentNullException.ThrowIfNull(down);
        long mark = ops.Mark();
        int columns = down.Leaves.Columns;
        Tensor both = ops.Rent(x.Rows, 2 * columns), activated = ops.Rent(x.Rows, columns);
        ops.Linear(x, gateUp, both);
        ops.GatedActivation(both, activation, activated);
        ops.LinearPieces(activated, down, pieces);
        ops.Release(mark);
    }

    /// <summary>Chooses each row's experts from its router's logits.</summary>
    /// <remarks>
    /// 1. Scores: softmax over all logits, or the sigmoid of each. The choice is by score plus correction where there is one.
    /// 2. Groups: of each the largest choice counts, or with a correction the sum of its two largest; the best TopGroups stay.
    /// 3. The PerRow best of what is left, ties to the lower id, in ascending id. A weight is the score, divided by the chosen ones' sum where the shape says so,
    ///    times Scale. A NaN counts as −∞ in the choice; the weights are NaN then.
    /// 4. The shared expert is last: its id is Experts, its weight 1 or the sigmoid of the last logit.
    /// Shapes   logits [n, Logits], correction [1, Experts], ids [n, Chosen] Int32, weights [n, Chosen].
    /// Numerics float32; a row's choice depends on that row alone.
    /// Source   Shazeer et al. 2017; Jiang et al. 2024 (Mixtral); DeepSeek-AI 2024, §2.1.2.
    /// </remarks>
    void Route(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights) => throw new NotSupportedException($"{Description} computes no mixtures of experts.");

    /// <summary>The partial sums of Σ_e w_e · down_e(act(gate_e(x), up_e(x))) over each row's experts, unsummed between the maximal subtrees this rank owns.</summary>
    /// <remarks>
    /// Shapes   x [n, hidden], ids and weights as Route gives them, pieces [Pieces · n, hidden] contiguous: piece p of row r is row p · n + r.
    /// Numerics a leaf of a row is Σ over its experts in ascending id of fma(w, product of the leaf, sum so far), from 0; the product in float32 in the order of
    ///          LinearPieces, plus down's bias in the first leaf. The shared expert comes last. Then leaves are merged as the schedule says.
    ///          So nothing depends on rows, degree or split.
    /// Cost     the weights of each expert that a row has chosen are read once, however many rows chose it.
    /// </remarks>
    void ExpertPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, Tensor pieces) => throw new NotSupportedException($"{Description} computes no mixtures of experts.");

    /// <summary>True where <see cref="Route"/> and <see cref="ExpertPieces"/> work.</summary>
    bool HasExperts => false;

    /// <summary>True where <see cref="Attention"/> heeds <see cref="AttentionShape.Sinks"/>.</summary>
    bool HasSinks => false;

    /// <summary>True where <see cref="StoreKv"/> and <see cref="Attention"/> work on caches whose values are part of their keys.</summary>
    bool HasLatentCaches => false;

    /// <summary>True where <see cref="LoraDown"/> and <see cref="LoraUp"/> work.</summary>
    bool HasLora => false;

    /// <summary>t = x · Aᵀ for some rows, unsummed between the maximal subtrees this rank owns: the narrow half of a low-rank adapter.</summary>
    /// <remarks>
    /// Shapes   x [n, leaves.Columns], a [r, leaves.Columns], pieces [Pieces · total, columns ≥ r]: piece p of rows[i] is row p · total + first + i; its columns from r on become 0.
    /// Numerics float32; a leaf in one fixed order, leaves merged as the schedule says.
    /// </remarks>
    void LoraDown(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total) =>
        throw new NotSupportedException($"{Description} computes no adapters.");

    /// <summary>y[rows[i] − firstRow] ← y[rows[i] − firstRow] + (scale · t[i]) · B: the wide half.</summary>
    /// <remarks>
    /// Shapes   t [rows.Length, r], b [r, outputs] (each output's factors in a column), y [n, outputs]; t and y may be strided.
    /// Numerics float32; each output by itself, over r in ascending order. Rows that are not named keep their bits.
    /// </remarks>
    void LoraUp(Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y) => throw new NotSupportedException($"{Description} computes no adapters.");

    /// <summary>x ← x + scale · y (one fused multiply-add each; an ordinary sum where scale is 1).</summary>
    void AddScaled(Tensor x, Tensor y, float scale);

    /// <summary>Adds one vector to every row: x ← x + bias. bias [1, columns].</summary>
    void AddRow(Tensor x, Tensor bias);

    /// <summary>x ← scale · x.</summary>
    void Scale(Tensor x, float scale);

    /// <summary>x ← cap · tanh(x / cap).</summary>
    void Softcap(Tensor x, float cap);

    /// <summary>y[i] = x[rows[i]]. rows [m, 1] Int32, y [m, columns].</summary>
    void GatherRows(Tensor x, Tensor rows, Tensor y);

    /// <summary>y ← x, row by row; either may be strided.</summary>
    void Copy(Tensor x, Tensor y);

    /// <summary>The k largest of each row in descending order, ties to the lower index; ids count from firstId. A NaN counts as −∞.</summary>
    /// <remarks>Shapes   x [n, v], values [n, k] Float32, ids [n, k] Int32; k ≤ 64; where v &lt; k the rest is −∞ and −1.</remarks>
    void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids);

    /// <summary>Draws tokens on the device; null where the host does, from downloaded logits.</summary>
    IRowSampler? Sampler => null;
}

/// <summary>The gate's activation function in a gated MLP.</summary>
public enum Activation
{
    /// <summary>x · sigmoid(x): SwiGLU.</summary>
    Silu,

    /// <summary>x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))): GeGLU of the Gemma family.</summary>
    GeluTanh,
}

/// <summary>The activation function of an MLP without a gate.</summary>
public enum PlainActivation
{
    /// <summary>x/2 · (1 + erf(x/√2)): GPT-NeoX.</summary>
    Gelu,

    /// <summary>x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))): StarCoder 2.</summary>
    GeluTanh,
}

/// <summary>What attention of one layer needs to know beside its tensors.</summary>
/// <param name="HeadDim">Elements of a head.</param>
/// <param name="KvHeadOfHead">For each query head of this rank, the index of its KV head on this rank.</param>
/// <param name="Scale">Factor on the scores: 1/√headDim unless the family says otherwise.</param>
/// <param name="Softcap">scores ← cap · tanh(scores / cap); 0 = none. Gemma 2.</param>
/// <param name="Window">A token sees itself and Window − 1 tokens before it; 0 = all.</param>
/// <param name="Sinks">[1, localHeads]: a score that joins each head's softmax after the last position and has no value; null = none. gpt-oss.</param>
public sealed record AttentionShape(int HeadDim, IReadOnlyList<int> KvHeadOfHead, float Scale, float Softcap, int Window, Tensor? Sinks = null);

/// <summary>One layer's paged keys and values of this rank's KV heads.</summary>
/// <remarks>
/// Shapes   Keys, Values: [blocks · kvHeads · blockTokens, headDim], tile (block, head) from row (block · kvHeads + head) · blockTokens; of Q8 a row
///          has <see cref="ElementTypes.KvColumns"/> bytes, its share of the tile's codes and scales.
/// The elements of one (block, head) lie together, with their scales where they have some; how they are arranged inside is the backend's own (StoreKv
/// writes and Attention reads them), so whole blocks may be copied or moved, parts of them not.
/// A slot is block · blockTokens + position in block; a sequence's token at position p lies in block blockTable[p / blockTokens].
/// </remarks>
/// <param name="Keys">After RoPE.</param>
/// <param name="Values">As projected.</param>
/// <param name="Heads">KV heads on this rank.</param>
/// <param name="BlockTokens">Tokens a block holds.</param>
/// <param name="LatentValues">Above 0, a value is the first so many elements of its key, as of a latent row: Values is Keys, and nothing is stored twice.</param>
public sealed record KvLayer(Tensor Keys, Tensor Values, int Heads, int BlockTokens, int LatentValues = 0)
{
    /// <summary>Elements of a value.</summary>
    public int ValueDim => LatentValues > 0 ? LatentValues : HeadDim;

    /// <summary>Elements of a head.</summary>
    public int HeadDim => Keys.Type == ElementType.Q8 ? Keys.Columns / Q8Block.Bytes * Q8Block.Elements : Keys.Columns;
}

/// <summary>The integers of one step on the device: which token stands where.</summary>
/// <remarks>
/// Shapes   n tokens, s sequences. Rows of one sequence follow each other in ascending position.
/// </remarks>
/// <param name="TokenIds">[n, 1] Int32.</param>
/// <param name="Positions">[n, 1] Int32: 0-based position in its sequence.</param>
/// <param name="Slots">[n, 1] Int32: where its key and value are stored: block · blockTokens + position in block.</param>
/// <param name="SequenceOfRow">[n, 1] Int32: row of BlockTables.</param>
/// <param name="BlockTables">[s, most blocks of any] Int32: physical block of each logical block; unused entries are −1.</param>
public sealed record StepTensors(Tensor TokenIds, Tensor Positions, Tensor Slots, Tensor SequenceOfRow, Tensor BlockTables)
{
    /// <summary>[n, 1] Int32.</summary>
    public Tensor TokenIds { get; set; } = TokenIds;

    /// <summary>[n, 1] Int32.</summary>
    public Tensor Positions { get; set; } = Positions;

    /// <summary>[n, 1] Int32.</summary>
    public Tensor Slots { get; set; } = Slots;

    /// <summary>[n, 1] Int32.</summary>
    public Tensor SequenceOfRow { get; set; } = SequenceOfRow;

    /// <summary>[s, most blocks of any] Int32.</summary>
    public Tensor BlockTables { get; set; } = BlockTables;
}

/// <summary>Names work whose operations have the same sizes every time.</summary>
/// <param name="Rows">Rows of the step, padding included.</param>
/// <param name="TableBlocks">Columns of the block tables, padding included.</param>
/// <param name="Candidates">Candidates taken of each row; 0 where whole rows are.</param>
/// <param name="Likeliest">Likeliest tokens reported of each row.</param>
public readonly record struct RecordingKey(int Rows, int TableBlocks, int Candidates, int Likeliest = 0);
