namespace TpServe.Gateway.Workers;

/// <summary>The worker group as GetTopology shows it. Epoch 0 = it never was ready; Ranks are in rank order.</summary>
public sealed record TopologyFacts(long Epoch, IReadOnlyList<RankFacts> Ranks)
{
    /// <summary>Why the ranks compute where they do.</summary>
    public string DeviceReason { get; init; } = "";
}
