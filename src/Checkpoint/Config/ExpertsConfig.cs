namespace TpServe.Checkpoint.Config;

/// <summary>The mixtures of experts of a model: how many, how wide, and how a token's are chosen.</summary>
public sealed record ExpertsConfig
{
    /// <summary>Experts of a mixture.</summary>
    public required int Count { get; init; }

    /// <summary>Experts that a token's row goes through.</summary>
    public required int PerToken { get; init; }

    /// <summary>Width of one expert.</summary>
    public required int Intermediate { get; init; }

    /// <summary>For each layer, whether its MLP is a mixture. The others have an MLP of <see cref="ModelConfig.Intermediate"/>.</summary>
    public required IReadOnlyList<bool> Layers { get; init; }

    /// <summary>What a router's logits become before experts are chosen.</summary>
    public RouterScoring Scoring { get; init; }

    /// <summary>True where the weights of the chosen experts are divided by their sum. With softmax that is the softmax over the chosen ones.</summary>
    public bool Renormalises { get; init; }

    /// <summary>Factor on the weights of the chosen experts.</summary>
    public float Scale { get; init; } = 1f;

    /// <summary>Groups of neighbouring experts, of which a token takes only some; 1 = there are none.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Groups that a token may take experts of.</summary>
    public int TopGroups { get; init; } = 1;

    /// <summary>True where a vector is added to the scores for the choice, though not to the weights (DeepSeek V3).</summary>
    public bool CorrectionBias { get; init; }

    /// <summary>True where the router's logits have a bias (gpt-oss).</summary>
    public bool RouterBias { get; init; }

    /// <summary>Biases on every expert's projections (gpt-oss).</summary>
    public bool ProjectionBias { get; init; }

    /// <summary>Width of the MLP that every token goes through beside its experts; 0 = there is none.</summary>
    public int SharedIntermediate { get; init; }

    /// <summary>True where that MLP's output is multiplied by the sigmoid of a product with the row (Qwen 2).</summary>
    public bool SharedGate { get; init; }

    /// <summary>gpt-oss: the α of gate · sigmoid(α · gate) · (up + 1); 0 = the model's own activation.</summary>
    public float SwiGluAlpha { get; init; }

    /// <summary>gpt-oss: gate is at most this, up at most this either way.</summary>
    public float SwiGluLimit { get; init; }

    /// <summary>Whether a layer's MLP is a mixture.</summary>
    public bool IsIn(int layer) => layer < Layers.Count && Layers[layer];
}

/// <summary>What a router's logits become before experts are chosen.</summary>
public enum RouterScoring
{
    /// <summary>Their softmax over all experts.</summary>
    Softmax,

    /// <summary>The sigmoid of each.</summary>
    Sigmoid,
}
