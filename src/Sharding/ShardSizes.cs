using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>How many bytes of a checkpoint each rank will hold, from names and shapes alone.</summary>
public static class ShardSizes
{
    /// <summary>Bytes of keys and values that one token takes on a rank, over all layers.</summary>
    /// <param name="config">The model.</param>
    /// <param name="plan">What the rank owns.</param>
    /// <param name="headBytes">Of the keys, and of the values, of one head; of the latent row where that is both.</param>
    public static long KvBytesPerToken(ModelConfig config, ShardPlan plan, int headBytes)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(plan);
        return (long)config.KvRows * config.Layers * plan.LocalKvHeads * headBytes;
    }

    /// <summary>Bytes of this rank's slices as a CPU holds them, replicated tensors included; a tied head counts once.</summary>
    public static long WeightBytes(ModelCheckpoint checkpoint, ShardPlan plan) => WeightBytes(checkpoint, plan, tensor => HeldBytes(checkpoint.Config, tensor));

    /// <summary>Bytes of a tensor as a CPU holds it: the keys of latent attention lie turned, so that blocks along their rows become float32, and bfloat16 is float32 in all that makes its rows and queries.</summary>
    public static long HeldBytes(ModelConfig config, TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tensor);
        string part = Part(tensor.Name);
        if (config.Latent is not { } latent || tensor.Shape.Count < 2 || part is not ("q_proj" or "q_a_proj" or "q_b_proj" or "kv_a_proj_with_mqa" or "kv_b_proj" or "k_b_proj" or "v_b_proj"))
            return tensor.HeldBytes;
        if (tensor.Type is TensorType.BF16)
            return 2 * tensor.HeldBytes;
        if (part is not "kv_b_proj" || tensor.Type.IsPlainFloat())
            return tensor.HeldBytes;
        long elements = tensor.Shape.Aggregate(1L, (product, extent) => product * extent);
        return ((elements * sizeof(float) * latent.PlainDim) + (tensor.HeldBytes * latent.ValueDim)) / latent.KeyValueDim;
    }

    /// <summary>The same where a device stores a tensor in so many bytes.</summary>
    public static long WeightBytes(ModelCheckpoint checkpoint, ShardPlan plan, Func<TensorInfo, long> tensorBytes)
    {
        ArgumentNullException.ThrowIfNull(tensorBytes);
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentNullException.ThrowIfNull(plan);
        long total = 0;
        foreach (TensorInfo tensor in checkpoint.Tensors.Values)
        {
            WeightRole[] roles = RolesOf(tensor.Name);
            double share = roles.Length == 0 ? 1 : ShareOf(checkpoint.Config, plan, roles);
            total += (long)(tensorBytes(tensor) * share);
        }
        return total;
    }

    /// <summary>What a tensor holds, by its name; empty = every rank holds it whole.</summary>
    internal static WeightRole[] RolesOf(string name)
    {
        if (name.Contains(".shared_", StringComparison.Ordinal))
            return SharedRolesOf(Part(name));
        bool isOfExperts = name.Contains(".experts.", StringComparison.Ordinal) || name.Contains(".block_sparse_moe.", StringComparison.Ordinal);
        return isOfExperts ? ExpertRolesOf(name) : RolesOfPart(Part(name));
    }

    private static WeightRole[] ExpertRolesOf(string name) => name.Split('.').LastOrDefault(part => part is not ("weight" or "bias")) switch
    {
        "gate_proj" or "w1" => [WeightRole.ExpertGate],
        "up_proj" or "w3" => [WeightRole.ExpertUp],
        "down_proj" or "w2" or "output_linear" => [WeightRole.ExpertDown],
        "gate_up_proj" or "input_linear" => [WeightRole.ExpertGate, WeightRole.ExpertUp],
        _ => [], // routers and biases
    };

    private static WeightRole[] SharedRolesOf(string part) => part switch
    {
        "gate_proj" => [WeightRole.SharedGate],
        "up_proj" => [WeightRole.SharedUp],
        "down_proj" or "output_linear" => [WeightRole.SharedDown],
        "input_linear" => [WeightRole.SharedGate, WeightRole.SharedUp],
        _ => [], // the gate on its output
    };

    private static WeightRole[] RolesOfPart(string part) => part switch
    {
        "embed_tokens" => [WeightRole.Embedding],
        "lm_head" => [WeightRole.Head],
        "q_proj" or "q_b_proj" => [WeightRole.Query],
        "kv_b_proj" or "k_b_proj" or "v_b_proj" => [WeightRole.LatentHeads],
        "k_proj" => [WeightRole.Key],
        "v_proj" => [WeightRole.Value],
        "o_proj" => [WeightRole.AttentionOutput],
        "gate_proj" => [WeightRole.Gate],
        "up_proj" or "c_fc" => [WeightRole.Up],
        "down_proj" or "c_proj" => [WeightRole.Down],
        "qkv_proj" => [WeightRole.Query, WeightRole.Key, WeightRole.Value],
        "gate_up_proj" => [WeightRole.Gate, WeightRole.Up],
        _ => [], // replicated
    };

    /// <summary>The module's own name: "q_proj" of "model.layers.0.self_attn.q_proj.weight".</summary>
    private static string Part(string name)
    {
        string[] parts = name.Split('.');
        return parts.Length >= 2 ? parts[^2] : name;
    }

    /// <summary>A fused tensor holds its roles in proportion to their rows.</summary>
    private static double ShareOf(ModelConfig config, ShardPlan plan, WeightRole[] roles) =>
        (double)roles.Sum(role => plan.Slice(role).Elements) / roles.Sum(role => WholeElements(config, role));

    /// <summary>Elements of the whole matrix of a role, in one layer; of experts, of one expert.</summary>
    internal static long WholeElements(ModelConfig config, WeightRole role) => role switch
    {
        WeightRole.Embedding or WeightRole.Head => (long)config.Vocab * config.Hidden,
        WeightRole.Query => (long)config.Heads * config.QueryDim * (config.Latent is { QueryRank: > 0 and int rank } ? rank : config.Hidden),
        WeightRole.LatentHeads => (long)config.Heads * config.Latent!.KeyValueDim * config.Latent.KvRank,
        WeightRole.AttentionOutput => (long)config.Heads * config.ValueDim * config.Hidden,
        WeightRole.Key or WeightRole.Value => (long)config.KvHeads * config.HeadDim * config.Hidden,
        WeightRole.ExpertGate or WeightRole.ExpertUp or WeightRole.ExpertDown => (long)config.MlpColumns * config.Hidden,
        WeightRole.SharedGate or WeightRole.SharedUp or WeightRole.SharedDown => (long)(config.Experts?.SharedIntermediate ?? 0) * config.Hidden,
        _ => (long)config.Intermediate * config.Hidden,
    };
}
