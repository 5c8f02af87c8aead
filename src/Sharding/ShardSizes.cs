using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>How many bytes of a checkpoint each rank will hold, from names and shapes alone.</summary>
public static class ShardSizes
{
    /// <summary>Bytes of keys and values that one token takes on a rank, over all layers.</summary>
    /// <param name="config">The model.</param>
    /// <param name="plan">What the rank owns.</param>
    /// <param name="headBytes">Of the keys, and of the values, of one head.</param>
    public static long KvBytesPerToken(ModelConfig config, ShardPlan plan, int headBytes)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(plan);
        return 2L * config.Layers * plan.LocalKvHeads * headBytes;
    }

    /// <summary>Bytes of this rank's slices as a CPU holds them, replicated tensors included; a tied head counts once.</summary>
    public static long WeightBytes(ModelCheckpoint checkpoint, ShardPlan plan) => WeightBytes(checkpoint, plan, tensor => tensor.HeldBytes);

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
    internal static WeightRole[] RolesOf(string name) => Part(name) switch
    {
        "embed_tokens" => [WeightRole.Embedding],
        "lm_head" => [WeightRole.Head],
        "q_proj" => [WeightRole.Query],
        "k_proj" => [WeightRole.Key],
        "v_proj" => [WeightRole.Value],
        "o_proj" => [WeightRole.AttentionOutput],
        "gate_proj" => [WeightRole.Gate],
        "up_proj" => [WeightRole.Up],
        "down_proj" => [WeightRole.Down],
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

    /// <summary>Elements of the whole matrix of a role, in one layer.</summary>
    internal static long WholeElements(ModelConfig config, WeightRole role) => role switch
    {
        WeightRole.Embedding or WeightRole.Head => (long)config.Vocab * config.Hidden,
        WeightRole.Query or WeightRole.AttentionOutput => (long)config.Heads * config.HeadDim * config.Hidden,
        WeightRole.Key or WeightRole.Value => (long)config.KvHeads * config.HeadDim * config.Hidden,
        _ => (long)config.Intermediate * config.Hidden,
    };
}
