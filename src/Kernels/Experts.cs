namespace TpServe.Kernels;

/// <summary>How a row's experts are chosen from its router's logits.</summary>
/// <param name="Experts">How many there are.</param>
/// <param name="PerRow">How many a row goes through.</param>
/// <param name="IsSigmoid">A score is the sigmoid of a logit; else the softmax over all.</param>
/// <param name="Renormalises">The scores of the chosen ones are divided by their sum.</param>
/// <param name="Scale">Factor on them.</param>
/// <param name="Groups">Groups of neighbouring experts; 1 = none.</param>
/// <param name="TopGroups">Groups that a row may take experts of.</param>
/// <param name="Shared">What every row goes through beside.</param>
public sealed record RouterShape(int Experts, int PerRow, bool IsSigmoid, bool Renormalises, float Scale, int Groups, int TopGroups, SharedExpert Shared)
{
    /// <summary>Experts that a row goes through, the shared one included, which is the last.</summary>
    public int Chosen => PerRow + (Shared == SharedExpert.None ? 0 : 1);

    /// <summary>Logits of a row.</summary>
    public int Logits => Experts + (Shared == SharedExpert.Gated ? 1 : 0);

    /// <summary>What the sum of renormalised sigmoids is at least: as DeepSeek V3's reference has it.</summary>
    internal const float LeastSum = 1e-20f;
}

/// <summary>An MLP that every row goes through beside its experts.</summary>
public enum SharedExpert
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>Its output counts whole.</summary>
    Whole,

    /// <summary>Its output counts times the sigmoid of the last logit.</summary>
    Gated,
}

/// <summary>The activation of an expert: gate's and up's outputs to down's input.</summary>
/// <param name="Function">act(gate) · up, where <paramref name="Alpha"/> is 0.</param>
/// <param name="Alpha">Else gate · sigmoid(α · gate) · (up + 1), gate at most <paramref name="Limit"/>, up within ± it: gpt-oss.</param>
/// <param name="Limit">With <paramref name="Alpha"/>.</param>
public readonly record struct ExpertActivation(Activation Function, float Alpha = 0f, float Limit = 0f);

/// <summary>Experts of one width as three matrices, one expert's outputs below the other's.</summary>
/// <remarks>
/// Shapes   gate, up [count · stride(columns), hidden], down [count · stride(hidden), columns of this rank], stride(n) = n rounded up to <see cref="Alignment"/>: the
///          outputs between are zeros. Down's leaves merge nothing, so that a leaf's sum over experts comes before the sum of leaves. Biases
///          [count, stride] or null; down's is added to the product of the first leaf, so that only the rank that has that leaf holds it.
/// </remarks>
/// <param name="Count">How many experts.</param>
/// <param name="Gate">Gate projections.</param>
/// <param name="Up">Up projections.</param>
/// <param name="Down">Down projections.</param>
/// <param name="GateBias">Of gate's outputs.</param>
/// <param name="UpBias">Of up's outputs.</param>
/// <param name="DownBias">Of down's outputs; null on ranks without the first leaf.</param>
public sealed record ExpertStack(int Count, PackedWeight Gate, PackedWeight Up, PackedWeight Down, Tensor? GateBias = null, Tensor? UpBias = null, Tensor? DownBias = null)
{
    /// <summary>Where an expert's outputs begin: at multiples of it, so that no panel of a backend belongs to two experts.</summary>
    public const int Alignment = 32;

    /// <summary>Columns of this rank: gate's and up's outputs, down's inputs.</summary>
    public int Columns => Down.Leaves.Columns;

    /// <summary>Rows from expert to expert.</summary>
    public static int Stride(int outputs) => (outputs + Alignment - 1) / Alignment * Alignment;
}

/// <summary>The experts of one layer on one rank.</summary>
/// <param name="Routed">Those that rows choose among.</param>
/// <param name="Shared">The one that all go through, as a stack of one, of as many leaves or fewer; null where there is none, or none of its columns are here.</param>
/// <param name="Merges">After each leaf of the routed ones, the merges of the canonical tree, as of <see cref="InputLeaves"/>.</param>
/// <param name="Activation">Between gate and up, and down.</param>
public sealed record ExpertMlp(ExpertStack Routed, ExpertStack? Shared, IReadOnlyList<int> Merges, ExpertActivation Activation)
{
    /// <summary>Partial sums left after the last leaf.</summary>
    public int Pieces { get; } = Merges.Count - Merges.Sum();
}

/// <summary>The checks of a mixture's operands, which are the same on every device.</summary>
internal static class ExpertShapes
{
    /// <summary>Operands of <see cref="ITensorBackend.Route"/>.</summary>
    public static void OfRoute(Tensor logits, Tensor? correction, RouterShape shape, Tensor ids, Tensor weights)
    {
        Require.That(shape.PerRow >= 1 && shape.PerRow <= shape.Experts, $"A row cannot go through {shape.PerRow} of {shape.Experts} experts.");
        Require.That(shape.Groups >= 1 && shape.Experts % shape.Groups == 0, $"{shape.Experts} experts are not {shape.Groups} groups.");
        Require.That(
            shape.TopGroups >= 1 && shape.TopGroups <= shape.Groups && shape.PerRow <= shape.TopGroups * (shape.Experts / shape.Groups),
            $"{shape.PerRow} experts cannot be of {shape.TopGroups} of {shape.Groups} groups.");
        Require.Shape(logits, logits.Rows, shape.Logits);
        Require.Shape(ids, logits.Rows, shape.Chosen, ElementType.Int32);
        Require.Shape(weights, logits.Rows, shape.Chosen);
        if (correction is { } vector)
            Require.Shape(vector, 1, shape.Experts);
    }

    /// <summary>Operands of <see cref="ITensorBackend.ExpertPieces"/>; returns the outputs.</summary>
    public static int OfPieces(Tensor x, Tensor ids, Tensor weights, ExpertMlp mlp, int outputs, Tensor pieces)
    {
        Require.Shape(ids, x.Rows, ids.Columns, ElementType.Int32);
        Require.Shape(weights, x.Rows, ids.Columns);
        Require.Shape(pieces, mlp.Pieces * x.Rows, outputs);
        Require.Contiguous(pieces);
        Require.That(mlp.Merges.Count == mlp.Routed.Down.Leaves.Count, $"{mlp.Merges.Count} merges do not follow {mlp.Routed.Down.Leaves.Count} leaves.");
        OfStack(x, mlp.Routed, outputs);
        if (mlp.Shared is { } shared)
        {
            OfStack(x, shared, outputs);
            Require.That(shared.Count == 1 && shared.Down.Leaves.Count <= mlp.Merges.Count, $"A shared stack of {shared.Count} experts and {shared.Down.Leaves.Count} leaves does not fit {mlp.Merges.Count} leaves.");
        }
        return outputs;
    }

    private static void OfStack(Tensor x, ExpertStack stack, int outputs)
    {
        int rows = stack.Count * ExpertStack.Stride(stack.Columns), downRows = stack.Count * ExpertStack.Stride(outputs);
        Require.That(stack.Gate.Outputs == rows && stack.Up.Outputs == rows, $"Gates of {stack.Gate.Outputs} and ups of {stack.Up.Outputs} outputs are not {stack.Count} experts of {stack.Columns} columns.");
        Require.That(stack.Down.Outputs == downRows, $"Downs of {stack.Down.Outputs} outputs are not {stack.Count} experts of {outputs}.");
        Require.Shape(x, x.Rows, stack.Gate.Leaves.Columns);
        Require.That(stack.Gate.Leaves.Pieces == 1 && stack.Up.Leaves.Pieces == 1, $"Gate and up of an expert have a single piece.");
        Require.That(stack.Down.Leaves.Pieces == stack.Down.Leaves.Count, $"The leaves of an expert's down projection merge nothing.");
    }
}
