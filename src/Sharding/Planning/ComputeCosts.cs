using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Where compute seconds go.</summary>
/// <param name="Products">Products of matrices.</param>
/// <param name="Attention">Reading keys and values.</param>
/// <param name="Elementwise">Norms, activations, rotary embedding.</param>
/// <param name="Overhead">What operations take beside their work.</param>
/// <param name="Gateway">What the gateway takes of the rank's processor.</param>
public readonly record struct ComputeParts(double Products, double Attention, double Elementwise, double Overhead, double Gateway = 0)
{
    /// <summary>All of it.</summary>
    public double Total => Products + Attention + Elementwise + Overhead + Gateway;

    /// <summary>Part by part.</summary>
    public static ComputeParts operator +(ComputeParts left, ComputeParts right) => Add(left, right);

    /// <summary>Each part so many times.</summary>
    public static ComputeParts operator *(double times, ComputeParts parts) => Multiply(times, parts);

    /// <summary>Part by part.</summary>
    public static ComputeParts Add(ComputeParts left, ComputeParts right) =>
        new(left.Products + right.Products, left.Attention + right.Attention, left.Elementwise + right.Elementwise, left.Overhead + right.Overhead, left.Gateway + right.Gateway);

    /// <summary>Each part so many times.</summary>
    public static ComputeParts Multiply(double times, ComputeParts parts) =>
        new(times * parts.Products, times * parts.Attention, times * parts.Elementwise, times * parts.Overhead, times * parts.Gateway);
}

/// <summary>One segment of a phase on one device: what it takes by what is owned of it.</summary>
/// <param name="Always">Whatever the rank owns: every rank norms the whole stream.</param>
/// <param name="IfAny">Once, where it owns anything.</param>
/// <param name="PerUnit">For each query head, MLP column or vocabulary row.</param>
/// <param name="PerKvHead">For each KV head.</param>
internal sealed record SegmentCosts(ComputeParts Always, ComputeParts IfAny, ComputeParts PerUnit, ComputeParts PerKvHead)
{
    public ComputeParts Of(int units, int kvHeads = 0) => units == 0 ? Always : Always + IfAny + (units * PerUnit) + (kvHeads * PerKvHead);
}

/// <summary>What a phase takes on one device, segment by segment between collectives, over all layers and steps of the phase.</summary>
/// <remarks>
/// The operations are those of the model room's DenseTransformer. Attention half: qkv, rotary embedding with the store of keys and values, attention, output
/// product; MLP half: gate and up, activation, down; each half ends with the sum's norm, on the whole stream. Head: product, the k best. What the gateway takes of a
/// step counts with the embedding, which every step begins with.
/// </remarks>
internal sealed record PhaseCosts(SegmentCosts Embedding, SegmentCosts Attention, SegmentCosts Mlp, SegmentCosts Head)
{
    // Operations that only a rank with a share runs, and those that every rank runs, in each layer's half.
    private const int AttentionOperations = 4, MlpOperations = 3, HeadOperations = 2, EveryRankOperations = 1;

    // Floats read and written, for each element of a row: the residual added and normed; queries rotated; gate times up.
    private const int StreamFloats = 4, RotaryFloats = 2, KvFloats = 4, ActivationFloats = 3;

    public static PhaseCosts Of(ModelCosts model, DeviceProfile device, IReadOnlyList<StepKind> steps)
    {
        ModelConfig config = model.Config;
        double ew = device.ElementwiseSecondsPerFloat, op = device.OperationSeconds;
        ComputeParts embedding = default, always = default, attentionAny = default, head = default, kv = default, mlpAny = default, column = default, headAlways = default, headAny = default, row = default;
        foreach (StepKind step in steps)
        {
            double layerRows = (double)step.Rows * config.Layers;
            embedding += new ComputeParts(0, 0, 2.0 * step.Rows * config.Hidden * ew, op, device.StepSeconds);
            always += new ComputeParts(0, 0, StreamFloats * layerRows * config.Hidden * ew, EveryRankOperations * config.Layers * op);
            attentionAny += new ComputeParts(0, 0, 0, AttentionOperations * config.Layers * op);
            mlpAny += new ComputeParts(0, 0, 0, MlpOperations * config.Layers * op);
            head += new ComputeParts(
                Products(model.QueryHead, step.Rows), step.Decodes ? 0 : step.Keys * config.HeadDim * device.PrefillAttentionSecondsPerElement, RotaryFloats * layerRows * config.HeadDim * ew, 0);
            kv += new ComputeParts(
                Products(model.KvHead, step.Rows), step.Decodes ? step.Keys * model.KvHeadBytes * device.DecodeAttentionSecondsPerByte : 0, KvFloats * layerRows * config.HeadDim * ew, 0);
            column += new ComputeParts(Products(model.Column, step.Rows), 0, ActivationFloats * layerRows * (config.Experts?.PerToken ?? 1) * ew, 0);
            if (step.Samples == 0)
                continue;
            headAlways += new ComputeParts(0, 0, 0, op);
            headAny += new ComputeParts(0, 0, 0, HeadOperations * op);
            row += new ComputeParts(Products(model.VocabRow, step.Samples), 0, 2.0 * step.Samples * ew, 0);
        }
        return new PhaseCosts(
            new SegmentCosts(embedding, default, default, default),
            new SegmentCosts(always, attentionAny, head, kv),
            new SegmentCosts(always, mlpAny, column, default),
            new SegmentCosts(headAlways, headAny, row, default));

        double Products(UnitBytes unit, int rows)
        {
            double seconds = 0;
            foreach (ProductBytes product in unit.Products)
            {
                (double bytes, int multiplied) = product.Read(rows);
                seconds += bytes * device.ProductOf(product.Format).At(multiplied);
            }
            return seconds;
        }
    }
}
