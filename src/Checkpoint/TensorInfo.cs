namespace TpServe.Checkpoint;

/// <summary>One tensor of a checkpoint: what it is and where its bytes lie.</summary>
/// <param name="Name">The name in the Hugging Face checkpoint ("model.layers.0.self_attn.q_proj.weight"), also for GGUF files.</param>
/// <param name="Type">Storage type.</param>
/// <param name="Shape">Outermost first: a matrix is [out, in].</param>
/// <param name="RowOrder">How the rows of a query or key projection are ordered.</param>
public sealed record TensorInfo(string Name, TensorType Type, IReadOnlyList<int> Shape, RowOrder RowOrder)
{
    /// <summary>The name in the file, for messages.</summary>
    public string FileName { get; init; } = Name;

    /// <summary>The tensors of the file that hold a quantised matrix of a hub folder; null where it is one tensor.</summary>
    public QuantisedStorage? Storage { get; init; }

    /// <summary>Bytes the tensor takes in the file. The readers have checked that this does not overflow and lies in the file.</summary>
    public long ByteCount => Storage is { } storage ? storage.Parts.Sum(part => part.ByteCount) : BytesOf(Type);

    /// <summary>Bytes it takes in the memory of a CPU's rank.</summary>
    public long HeldBytes => (long)(Elements * Type.HeldBits() / 8);

    private long Elements => Shape.Aggregate(1L, (product, extent) => product * extent);

    private long BytesOf(TensorType type) => Elements / type.BlockElements() * type.BlockBytes();
}

/// <summary>Order of the rows of a query or key projection within each head.</summary>
public enum RowOrder
{
    /// <summary>As in Hugging Face checkpoints: a rotary pair is (i, i + headDim/2).</summary>
    Plain,

    /// <summary>As GGUF files of the llama architecture store them: row 2·i + h of a head is row i + h · headDim/2 of the plain order.</summary>
    InterleavedPairs,

    /// <summary>As GPT-NeoX fuses them: a head's query, key and value rows together, head after head; in plain order all queries come first, then keys, then values.</summary>
    HeadTriples,
}
