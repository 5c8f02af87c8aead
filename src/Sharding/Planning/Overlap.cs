namespace TpServe.Sharding.Planning;

/// <summary>Whether a prompt's MLP is computed in blocks of rows, each block's sum beside the next block: pays where a sum waits for a network and the processors do not.</summary>
/// <remarks>
/// In blocks, compute and transfer of one half of a layer take as long as the longer of the two and one block of the other; each block costs a sum's latency.
/// What of a transfer is the processors' own work (copies, additions) cannot hide behind theirs: it counts as what the same bytes take over a link of
/// <see cref="ProcessorBytesPerSecond"/>. Attention's output projection is computed in blocks too; what that saves is not counted.
/// </remarks>
public static class Overlap
{
    /// <summary>Rows of a block: enough that a product of so many is bound by arithmetic, so that cutting costs next to nothing.</summary>
    public const int BlockRows = 128;

    /// <summary>Below this share of a prompt's time the choice is not worth its risk: it is the noise of measuring.</summary>
    public const double WorthShare = 0.05;

    private const double ProcessorBytesPerSecond = 1e9;

    /// <summary>Seconds of a prompt that blocks are predicted to save; 0 or less where they do not pay.</summary>
    /// <param name="prefill">The prompt's prediction, whole.</param>
    /// <param name="link">The group's slowest path between two ranks.</param>
    /// <param name="rows">Rows of its steps.</param>
    /// <param name="sums">Sums that close an MLP or an attention in all its steps.</param>
    public static double SavedSeconds(PhasePrediction prefill, LinkProfile link, int rows, int sums)
    {
        ArgumentNullException.ThrowIfNull(prefill);
        ArgumentNullException.ThrowIfNull(link);
        int blocks = rows / BlockRows;
        if (blocks < 2 || link.Transport != LinkTransport.Ring)
            return 0;
        SegmentPrediction mlp = prefill.Segments.Single(segment => segment.Name == "mlp");
        double waiting = mlp.CollectiveSeconds * Math.Max(0, 1 - link.LargeBytesPerSecond / ProcessorBytesPerSecond);
        double hidden = Math.Min(mlp.Compute[mlp.BoundBy].Total, waiting) * (1 - 1.0 / blocks);
        return hidden - sums * (blocks - 1) * link.LatencySeconds;
    }
}
