using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>Bytes of weights that a rank reads for one token: what it computes in proportion to, and what moves when its share changes.</summary>
/// <remarks>Replicated tensors are left out, for they are on every rank, and an embedding that is not the head too, of which a token reads one row.</remarks>
public sealed class ShardWork
{
    private static readonly WeightRole[] s_roles = [.. Enum.GetValues<WeightRole>().Where(role => role != WeightRole.Replicated)];

    private readonly Dictionary<WeightRole, double> _bytesOfElement = [];

    /// <summary>The work of a model's parts.</summary>
    /// <param name="config">The model.</param>
    /// <param name="tensors">Its tensors.</param>
    public ShardWork(ModelConfig config, IEnumerable<TensorInfo> tensors)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(tensors);
        foreach (TensorInfo tensor in tensors)
        {
            WeightRole[] roles = ShardSizes.RolesOf(tensor.Name);
            if (tensor.Shape.Count is not (2 or 3) || roles is [] or [WeightRole.Embedding] && !config.TieEmbeddings)
                continue;
            // Of experts a token goes through some.
            double read = roles is [WeightRole.ExpertGate or WeightRole.ExpertUp or WeightRole.ExpertDown, ..] ? (double)config.Experts!.PerToken / config.Experts.Count : 1;
            double perElement = read * tensor.HeldBytes / roles.Sum(role => ShardSizes.WholeElements(config, role));
            foreach (WeightRole role in roles)
                _bytesOfElement[role] = _bytesOfElement.GetValueOrDefault(role) + perElement;
        }
    }

    /// <summary>Bytes that a rank reads.</summary>
    public double Of(ShardPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        double bytes = 0;
        foreach (WeightRole role in s_roles)
            if (_bytesOfElement.TryGetValue(role, out double perElement))
                bytes += perElement * plan.Slice(role).Elements;
        return bytes;
    }
}
