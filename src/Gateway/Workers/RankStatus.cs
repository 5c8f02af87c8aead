using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>What is known of one rank of a ready group.</summary>
internal sealed class RankStatus(WorkerClient client, HelloReply facts, LoadRequest request, LoadReport report, IReadOnlyList<PairCost> paths)
{
    public WorkerClient Client { get; } = client;

    public HelloReply Facts { get; } = facts;

    public LoadRequest Request { get; } = request;

    public LoadReport Report { get; } = report;

    /// <summary>What its paths cost when they were proved; empty where they were not.</summary>
    public IReadOnlyList<PairCost> Paths { get; } = paths;

    /// <summary>Microseconds of the last step. Written by the step loop alone; readers may see a step's numbers mixed with the next one's.</summary>
    public (int Compute, int Collective, int Step) LastStep { get; set; }
}
