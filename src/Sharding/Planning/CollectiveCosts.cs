using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>What the collectives of a phase take in one group of devices: seconds and bytes over all layers and steps of the phase.</summary>
/// <remarks>
/// A sum is a constant and a part for each piece that a rank sends, so that a split's cost stays a sum over its ranks. A rank's pieces reach its peers over
/// its slowest link; a reader reads (degree − 1) / degree of all pieces, which is exact where ranks send alike. One-shot: everyone reads every piece and
/// adds it; two-shot: a slice of it, and the finished slices in a second round. A step takes the cheaper one at one piece a rank.
/// </remarks>
/// <param name="SumSeconds">Of the sums that close one half of every block, whatever is sent.</param>
/// <param name="PieceSeconds">By rank, for each piece it sends in these sums.</param>
/// <param name="SumBytes">Bytes read over all ranks, beside the pieces.</param>
/// <param name="PieceBytes">Bytes read over all ranks for each piece.</param>
/// <param name="Embedding">The sum of the embedding's rows, of one piece a rank.</param>
/// <param name="Head">The candidates' way to rank 0, and the chosen token's to everyone.</param>
internal sealed record CollectiveCosts(
    double SumSeconds, double[] PieceSeconds, double SumBytes, double PieceBytes, (double Seconds, double Bytes) Embedding, (double Seconds, double Bytes) Head)
{
    /// <summary>Bytes of a rank's candidates for one row: value and id of the 64 best.</summary>
    private const int CandidateBytes = 64 * 8;

    public static CollectiveCosts Of(ModelConfig config, IReadOnlyList<DeviceProfile> devices, LinkTable links, IReadOnlyList<int> chosen, IReadOnlyList<StepKind> steps)
    {
        int degree = chosen.Count;
        double[] pieceSeconds = new double[degree];
        if (degree == 1)
            return new CollectiveCosts(0, pieceSeconds, 0, 0, default, default);

        // 1. What holds for every message: the longest way of a round, and each rank's slowest link.
        double latency = 0, elementwise = chosen.Max(device => devices[device].ElementwiseSecondsPerFloat), share = (degree - 1.0) / degree;
        for (int rank = 0; rank < degree; rank++)
            for (int peer = rank + 1; peer < degree; peer++)
            {
                LinkProfile link = links[chosen[rank], chosen[peer]];
                latency = Math.Max(latency, link.LatencySeconds * (link.Transport == LinkTransport.Ring ? degree - 1 : 1));
            }

        // 2. Each kind of step.
        double sumSeconds = 0, sumBytes = 0, pieceBytes = 0, embeddingSeconds = 0, embeddingBytes = 0, headSeconds = 0, headBytes = 0;
        double[] oneShot = new double[degree], twoShot = new double[degree];
        foreach (StepKind step in steps)
        {
            double bytes = 4.0 * step.Rows * config.Hidden, slowest = 0;
            for (int rank = 0; rank < degree; rank++)
            {
                double transfer = Slowest(rank, bytes);
                slowest = Math.Max(slowest, transfer);
                oneShot[rank] = (share * transfer) + (bytes / 4 * elementwise);
                twoShot[rank] = oneShot[rank] / degree;
            }
            double once = latency + oneShot.Sum(), second = (2 * latency) + (share * slowest), twice = second + twoShot.Sum();
            bool isTwoShot = twice < once;
            double constant = isTwoShot ? second : latency, constantBytes = isTwoShot ? (degree - 1) * bytes : 0, bytesOfPiece = isTwoShot ? share * bytes : (degree - 1) * bytes;
            sumSeconds += config.Layers * constant;
            sumBytes += config.Layers * constantBytes;
            pieceBytes += config.Layers * bytesOfPiece;
            for (int rank = 0; rank < degree; rank++)
                pieceSeconds[rank] += config.Layers * (isTwoShot ? twoShot : oneShot)[rank];
            embeddingSeconds += Math.Min(once, twice);
            embeddingBytes += constantBytes + (degree * bytesOfPiece);
            if (step.Samples == 0)
                continue;
            double candidates = step.Samples * CandidateBytes, ids = 4.0 * step.Samples;
            headSeconds += (2 * latency) + Slowest(0, candidates) + Slowest(0, ids);
            headBytes += (degree - 1) * (candidates + ids);
        }
        return new CollectiveCosts(sumSeconds, pieceSeconds, sumBytes, pieceBytes, (embeddingSeconds, embeddingBytes), (headSeconds, headBytes));

        double Slowest(int rank, double bytes)
        {
            double slowest = 0;
            for (int peer = 0; peer < degree; peer++)
                if (peer != rank)
                    slowest = Math.Max(slowest, links[chosen[rank], chosen[peer]].TransferSeconds(bytes));
            return slowest;
        }
    }
}
