using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Families;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>The tensors that a mixture of experts must have, as the file stores them.</summary>
internal static class ExpectedExperts
{
    /// <summary>How a file stores experts, by the tensors it has in a block.</summary>
    public static ExpertStorage StorageOf(string block, ExpertTensors names, IReadOnlyDictionary<string, TensorInfo>? found)
    {
        if (found?.ContainsKey(Stacked(block, names, names.Gate)) == true)
            return ExpertStorage.Stacked;
        return names.FusedGateUp is null ? ExpertStorage.Single : ExpertStorage.Fused;
    }

    /// <summary>One expert's matrix.</summary>
    public static string Single(string block, ExpertTensors names, int expert, string matrix) =>
        string.Create(CultureInfo.InvariantCulture, $"{block}{names.Experts}.{expert}.{matrix}.weight");

    /// <summary>All experts' matrices of one projection.</summary>
    public static string Stacked(string block, ExpertTensors names, string matrix) => $"{block}{names.Experts}.{matrix}.weight";

    /// <summary>All experts' biases of one projection.</summary>
    public static string StackedBias(string block, ExpertTensors names, string matrix) => $"{block}{names.Experts}.{matrix}.bias";

    /// <summary>True where the file has the shared MLP's gate and up in one matrix.</summary>
    public static bool IsSharedFused(string block, ExpertTensors names, IReadOnlyDictionary<string, TensorInfo>? found) =>
        names.SharedFused is not null && found?.ContainsKey($"{block}{names.Shared}.gate_proj.weight") != true;

    /// <summary>True where a fused tensor holds its matrices transposed.</summary>
    public static bool IsTransposed(ExpertTensors names, TensorType? type) => names.IsTransposed && (type is null || type.Value.BlockElements() == 1);

    /// <summary>All of them in loading order.</summary>
    public static IEnumerable<ExpectedTensor> Of(string block, int hidden, ExpertsConfig experts, FamilySpec family, IReadOnlyDictionary<string, TensorInfo>? found)
    {
        ExpertTensors names = family.Experts ?? throw new ModelLoadException($"architecture '{family.Architectures[0]}' has no mixtures of experts, but the file says so.");
        yield return new($"{block}{names.Router}.weight", [experts.Count, hidden], [WeightRole.Replicated]);
        if (experts.RouterBias)
            yield return new($"{block}{names.Router}.bias", [experts.Count], [WeightRole.Replicated]);
        if (experts.CorrectionBias)
            yield return new($"{block}{names.Correction}", [experts.Count], [WeightRole.Replicated]);
        foreach (ExpectedTensor tensor in StorageOf(block, names, found) switch
        {
            ExpertStorage.Single => Singles(block, hidden, experts, names),
            ExpertStorage.Stacked => Stacks(block, hidden, experts, names),
            _ => Fused(block, hidden, experts, names, found),
        })
            yield return tensor;
        if (experts.SharedIntermediate == 0)
            yield break;
        if (IsSharedFused(block, names, found))
        {
            yield return new($"{block}{names.SharedFused}", [2 * experts.SharedIntermediate, hidden], [WeightRole.SharedGate, WeightRole.SharedUp]);
            yield return new($"{block}{names.SharedFusedDown}", [hidden, experts.SharedIntermediate], [WeightRole.SharedDown]);
        }
        else
        {
            yield return new($"{block}{names.Shared}.gate_proj.weight", [experts.SharedIntermediate, hidden], [WeightRole.SharedGate]);
            yield return new($"{block}{names.Shared}.up_proj.weight", [experts.SharedIntermediate, hidden], [WeightRole.SharedUp]);
            yield return new($"{block}{names.Shared}.down_proj.weight", [hidden, experts.SharedIntermediate], [WeightRole.SharedDown]);
        }
        if (experts.SharedGate)
            yield return new($"{block}{names.SharedGate}.weight", [1, hidden], [WeightRole.Replicated]);
    }

    private static IEnumerable<ExpectedTensor> Singles(string block, int hidden, ExpertsConfig experts, ExpertTensors names)
    {
        for (int expert = 0; expert < experts.Count; expert++)
        {
            yield return new(Single(block, names, expert, names.Gate), [experts.Intermediate, hidden], [WeightRole.ExpertGate]);
            yield return new(Single(block, names, expert, names.Up), [experts.Intermediate, hidden], [WeightRole.ExpertUp]);
            yield return new(Single(block, names, expert, names.Down), [hidden, experts.Intermediate], [WeightRole.ExpertDown]);
        }
    }

    private static IEnumerable<ExpectedTensor> Stacks(string block, int hidden, ExpertsConfig experts, ExpertTensors names)
    {
        yield return new(Stacked(block, names, names.Gate), [experts.Count, experts.Intermediate, hidden], [WeightRole.ExpertGate]);
        yield return new(Stacked(block, names, names.Up), [experts.Count, experts.Intermediate, hidden], [WeightRole.ExpertUp]);
        yield return new(Stacked(block, names, names.Down), [experts.Count, hidden, experts.Intermediate], [WeightRole.ExpertDown]);
        if (!experts.ProjectionBias)
            yield break;
        yield return new(StackedBias(block, names, names.Gate), [experts.Count, experts.Intermediate], [WeightRole.Replicated]);
        yield return new(StackedBias(block, names, names.Up), [experts.Count, experts.Intermediate], [WeightRole.Replicated]);
        yield return new(StackedBias(block, names, names.Down), [experts.Count, hidden], [WeightRole.Replicated]);
    }

    private static IEnumerable<ExpectedTensor> Fused(string block, int hidden, ExpertsConfig experts, ExpertTensors names, IReadOnlyDictionary<string, TensorInfo>? found)
    {
        string gateUp = block + names.FusedGateUp, down = block + names.FusedDown;
        yield return new(gateUp, Shape(gateUp, 2 * experts.Intermediate, hidden), [WeightRole.ExpertGate, WeightRole.ExpertUp]);
        yield return new(down, Shape(down, hidden, experts.Intermediate), [WeightRole.ExpertDown]);
        if (!experts.ProjectionBias)
            yield break;
        yield return new($"{gateUp}_bias", [experts.Count, 2 * experts.Intermediate], [WeightRole.Replicated]);
        yield return new($"{down}_bias", [experts.Count, hidden], [WeightRole.Replicated]);

        int[] Shape(string name, int outputs, int inputs) =>
            IsTransposed(names, found?.GetValueOrDefault(name)?.Type) ? [experts.Count, inputs, outputs] : [experts.Count, outputs, inputs];
    }
}

/// <summary>How a file stores the experts of a block.</summary>
internal enum ExpertStorage
{
    /// <summary>A tensor for each expert and projection.</summary>
    Single,

    /// <summary>A tensor for each projection.</summary>
    Stacked,

    /// <summary>A tensor for gate and up, one for down.</summary>
    Fused,
}
