namespace TpServe.Sharding;

/// <summary>What a weight matrix does in the model; decides along which axis it is split.</summary>
public enum WeightRole
{
    /// <summary>Vocabulary rows, split by vocabulary.</summary>
    Embedding,

    /// <summary>Query projection, column-parallel by query heads.</summary>
    Query,

    /// <summary>Key projection, column-parallel by the KV heads the query heads need.</summary>
    Key,

    /// <summary>Value projection, split as the keys.</summary>
    Value,

    /// <summary>Attention output projection, row-parallel by query heads.</summary>
    AttentionOutput,

    /// <summary>Gate projection, column-parallel by MLP leaves.</summary>
    Gate,

    /// <summary>Up projection, column-parallel by MLP leaves.</summary>
    Up,

    /// <summary>Down projection, row-parallel by MLP leaves.</summary>
    Down,

    /// <summary>Language-model head, column-parallel by vocabulary.</summary>
    Head,

    /// <summary>Whole on every rank: norms over the residual stream, biases added after a sum.</summary>
    Replicated,
}
