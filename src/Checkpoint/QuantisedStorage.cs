namespace TpServe.Checkpoint;

/// <summary>How a hub folder keeps a matrix that it has quantised: several tensors, which are read together as rows of one <see cref="TensorType"/>.</summary>
/// <remarks>
/// Shapes   of a matrix [out, in]; groups of Group inputs share a scale, and G = in / Group. Eight codes of 4 bits (or 4 of 8, 16 of 2) are a word, the first one
///          lowest. A value is scale · (code − zero), exactly.
/// Source   the tensors that AutoAWQ (version gemm), GPTQModel, compressed-tensors, and transformers' integrations of FP8 and gpt-oss write.
/// </remarks>
/// <param name="Form">What lies where.</param>
/// <param name="Codes">The codes.</param>
/// <param name="Scales">The scales.</param>
public sealed record QuantisedStorage(StorageForm Form, TensorInfo Codes, TensorInfo Scales)
{
    /// <summary>The zeros; null = the middle of the codes.</summary>
    public TensorInfo? Zeros { get; init; }

    /// <summary>The group of each input, where they are not in order.</summary>
    public TensorInfo? Order { get; init; }

    /// <summary>Bits of a code.</summary>
    public int Bits { get; init; } = 8;

    /// <summary>Inputs of a group.</summary>
    public required int Group { get; init; }

    /// <summary>Outputs that share a scale.</summary>
    public int GroupOutputs { get; init; } = 1;

    /// <summary>What is added to stored zeros.</summary>
    public int ZeroOffset { get; init; }

    /// <summary>All of them.</summary>
    public IEnumerable<TensorInfo> Parts => new[] { Codes, Scales, Zeros, Order }.OfType<TensorInfo>();
}

/// <summary>What lies where in the tensors of a quantised matrix.</summary>
public enum StorageForm
{
    /// <summary>Codes [in, out / 8] in words of outputs 0, 2, 4, 6, 1, 3, 5, 7 of eight; zeros [G, out / 8] alike; scales [G, out].</summary>
    Awq,

    /// <summary>Codes [in / 8, out] in words of inputs; zeros [G, out / 8] in words of outputs; scales [G, out].</summary>
    Gptq,

    /// <summary>Codes [out, in / 8] in words of inputs; zeros [out / 8, G] in words of outputs; scales [out, G].</summary>
    Packed,

    /// <summary>Signed bytes [out, in]; scales of any number of outputs and inputs.</summary>
    Integers,

    /// <summary>E4M3 [out, in]; scales of any number of outputs and inputs.</summary>
    Floats8,

    /// <summary>Pairs of E2M1 of neighbouring inputs [.., out, in / 32, 16], the first one low; exponents [.., out, in / 32].</summary>
    Mxfp4,
}
