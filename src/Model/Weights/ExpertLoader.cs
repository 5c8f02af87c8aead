using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;
using TpServe.Model.Families;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>Packs the experts of a block: this rank's columns of every expert, however the file stores them.</summary>
/// <remarks>A matrix may have any format that the device packs; gate, up and down of one block may differ.</remarks>
internal sealed class ExpertLoader(ModelCheckpoint checkpoint, FamilySpec family, ShardPlan plan, RankWeights weights)
{
    private readonly int _hidden = checkpoint.Config.Hidden;
    private readonly ExpertsConfig _experts = checkpoint.Config.Experts!;
    private readonly ExpertTensors _names = family.Experts!;

    /// <summary>How rows choose.</summary>
    public RouterShape Shape { get; } = ShapeOf(checkpoint.Config.Experts!);

    /// <summary>The router in float32, with the gate of the shared MLP as its last row where that has one.</summary>
    public PackedWeight Router(string block)
    {
        string router = $"{block}{_names.Router}.weight", gate = $"{block}{_names.SharedGate}.weight";
        return weights.Widened(Shape.Shared == SharedExpert.Gated ? [router, gate] : [router]);
    }

    /// <summary>The router's bias; null where it has none.</summary>
    public Tensor? RouterBias(string block)
    {
        if (!_experts.RouterBias)
            return null;
        float[] bias = new float[Shape.Logits];
        weights.Numbers($"{block}{_names.Router}.bias").CopyTo(bias, 0);
        return weights.Table(bias, bias.Length);
    }

    /// <summary>What is added for the choice; null = nothing.</summary>
    public Tensor? Correction(string block) => _experts.CorrectionBias ? weights.Table(weights.Numbers($"{block}{_names.Correction}"), _experts.Count) : null;

    /// <summary>The experts; null where this rank owns no leaf.</summary>
    public ExpertMlp? Mlp(string block, ExpertActivation activation) =>
        plan.MlpShare.Count == 0 ? null : new ExpertMlp(Routed(block), _experts.SharedIntermediate == 0 ? null : Shared(block), plan.MlpShare.Merges, activation);

    private static RouterShape ShapeOf(ExpertsConfig experts) => new(
        experts.Count, experts.PerToken, experts.Scoring == RouterScoring.Sigmoid, experts.Renormalises, experts.Scale, experts.Groups, experts.TopGroups,
        experts.SharedIntermediate == 0 ? SharedExpert.None : experts.SharedGate ? SharedExpert.Gated : SharedExpert.Whole);

    private ExpertStack Routed(string block)
    {
        int width = _experts.Intermediate;
        InputLeaves whole = InputLeaves.Whole(_hidden), leaves = Unmerged(plan.MlpShare.Boundaries);
        Rows up = new("up", WeightRole.ExpertUp, width, 0, 1), gate = up with { Matrix = "gate", Role = WeightRole.ExpertGate }, down = new("down", WeightRole.ExpertDown, _hidden, 0, 1);
        switch (ExpectedExperts.StorageOf(block, _names, checkpoint.Tensors))
        {
            case ExpertStorage.Single:
                return new ExpertStack(_experts.Count, Singles(_names.Gate, gate, whole), Singles(_names.Up, up, whole), Singles(_names.Down, down, leaves));
            case ExpertStorage.Stacked:
                return new ExpertStack(
                    _experts.Count, OfOne(Stacked(_names.Gate), gate, whole, isLast: true), OfOne(Stacked(_names.Up), up, whole, isLast: true),
                    OfOne(Stacked(_names.Down), down, leaves, isLast: true), StackedBias(_names.Gate, gate), StackedBias(_names.Up, up), DownBias(ExpectedExperts.StackedBias(block, _names, _names.Down)));
            default:
                int step = _names.TakesTurns ? 2 : 1;
                gate = gate with { RowsOfExpert = 2 * width, Step = step, IsFused = true };
                down = down with { IsFused = true };
                up = gate with { Matrix = "up", Role = WeightRole.ExpertUp, Origin = _names.TakesTurns ? 1 : width };
                string fused = block + _names.FusedGateUp, fusedDown = block + _names.FusedDown;
                float[] biases = _experts.ProjectionBias ? weights.Numbers($"{fused}_bias") : [];
                return new ExpertStack(
                    _experts.Count, OfOne(fused, gate, whole, isLast: false), OfOne(fused, up, whole, isLast: true), OfOne(fusedDown, down, leaves, isLast: true),
                    Bias(biases, gate), Bias(biases, up), DownBias($"{fusedDown}_bias"));
        }

        string Stacked(string matrix) => ExpectedExperts.Stacked(block, _names, matrix);

        Tensor? StackedBias(string matrix, Rows rows) => _experts.ProjectionBias ? Bias(weights.Numbers(ExpectedExperts.StackedBias(block, _names, matrix)), rows) : null;

        PackedWeight Singles(string matrix, Rows rows, InputLeaves inputs)
        {
            string[] tensors = [.. Enumerable.Range(0, _experts.Count).Select(expert => ExpectedExperts.Single(block, _names, expert, matrix))];
            return weights.Experts([.. tensors.Select(name => new ExpertRows(checkpoint, weights.Whole(name), PlaceOf(rows, 0)))], inputs, tensors);
        }
    }

    private ExpertStack? Shared(string block)
    {
        int width = _experts.SharedIntermediate;
        if (plan.SharedBoundaries.Count < 2)
            return null;
        InputLeaves whole = InputLeaves.Whole(_hidden), leaves = Unmerged(plan.SharedBoundaries);
        Rows gate = new("gate", WeightRole.SharedGate, width, 0, 1), up = gate with { Matrix = "up", Role = WeightRole.SharedUp }, down = new("down", WeightRole.SharedDown, _hidden, 0, 1);
        if (!ExpectedExperts.IsSharedFused(block, _names, checkpoint.Tensors))
            return new ExpertStack(1, One("gate_proj", gate, whole), One("up_proj", up, whole), One("down_proj", down, leaves));
        string fused = block + _names.SharedFused;
        gate = gate with { RowsOfExpert = 2 * width };
        return new ExpertStack(
            1, OfOne(fused, gate, whole, isLast: false, 1), OfOne(fused, gate with { Matrix = "up", Role = WeightRole.SharedUp, Origin = width }, whole, isLast: true, 1),
            OfOne(block + _names.SharedFusedDown, down, leaves, isLast: true, 1));

        PackedWeight One(string matrix, Rows rows, InputLeaves inputs) => OfOne($"{block}{_names.Shared}.{matrix}.weight", rows, inputs, isLast: true, 1);
    }

    /// <summary>Experts that lie in one tensor.</summary>
    private PackedWeight OfOne(string name, Rows rows, InputLeaves leaves, bool isLast, int? experts = null)
    {
        TensorInfo tensor = weights.Whole(name);
        bool isTransposed = rows.IsFused && ExpectedExperts.IsTransposed(_names, tensor.Type);
        TransposedExperts turned = new();
        ExpertRows[] parts = [.. Enumerable.Range(0, experts ?? _experts.Count).Select(expert => isTransposed
            ? new TransposedExpertRows(checkpoint, tensor, PlaceOf(rows, expert), turned)
            : new ExpertRows(checkpoint, tensor, PlaceOf(rows, expert)))];
        return weights.Experts(parts, leaves, isLast ? [name] : []);
    }

    private ExpertPlace PlaceOf(Rows rows, int expert)
    {
        WeightSlice slice = plan.Slice(rows.Role);
        return new ExpertPlace(rows.Matrix, expert, rows.RowsOfExpert, rows.Origin, rows.Step, slice.FirstRow, slice.Rows);
    }

    /// <summary>This rank's biases of gate or up, a row an expert.</summary>
    private Tensor? Bias(float[] all, Rows rows)
    {
        if (all.Length == 0)
            return null;
        WeightSlice slice = plan.Slice(rows.Role);
        int stride = ExpertStack.Stride(slice.Rows);
        float[] own = new float[_experts.Count * stride];
        for (int expert = 0; expert < _experts.Count; expert++)
            for (int i = 0; i < slice.Rows; i++)
                own[(expert * stride) + i] = all[PlaceOf(rows, expert).FileRow(i)];
        return weights.Table(own, stride);
    }

    /// <summary>The biases of down's outputs, on the rank that has the first leaf.</summary>
    private Tensor? DownBias(string name)
    {
        if (!_experts.ProjectionBias)
            return null;
        float[] all = weights.Numbers(name);
        int stride = ExpertStack.Stride(_hidden);
        float[] own = new float[_experts.Count * stride];
        for (int expert = 0; expert < _experts.Count; expert++)
            all.AsSpan(expert * _hidden, _hidden).CopyTo(own.AsSpan(expert * stride));
        return plan.MlpShare.First == 0 ? weights.Table(own, stride) : null;
    }

    private static InputLeaves Unmerged(IReadOnlyList<int> boundaries) => new(boundaries, new int[boundaries.Count - 1]);

    /// <summary>Where a projection's rows lie among those of an expert.</summary>
    private sealed record Rows(string Matrix, WeightRole Role, int RowsOfExpert, int Origin, int Step, bool IsFused = false);
}
