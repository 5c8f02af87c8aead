using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>One rank; fields as in RankInfo of the proto, half-open ranges as [start, end].</summary>
public sealed record RankReply
{
    public RankReply(RankFacts facts)
    {
        Rank = facts.Rank;
        Address = facts.Address;
        Pid = facts.Pid;
        Device = facts.Device;
        Isa = facts.Isa;
        Backend = facts.Backend;
        Transport = facts.Transport;
        TransportReason = facts.TransportReason;
        AllReduceMicroseconds = facts.AllReduceMicroseconds;
        Paths = [.. facts.Paths.Select(path => new PathReply(path.Peer, path.RoundTripMicroseconds, path.BytesPerSecond))];
        Heads = Pair(facts.Heads);
        KvHeads = Pair(facts.KvHeads);
        MlpLeaves = Pair(facts.MlpLeaves);
        VocabRows = Pair(facts.VocabRows);
        WeightBytes = facts.WeightBytes;
        KvBytes = facts.KvBytes;
        LoadSeconds = facts.LoadSeconds;
        ComputeMicroseconds = facts.ComputeMicroseconds;
        CollectiveMicroseconds = facts.CollectiveMicroseconds;
        StepMicroseconds = facts.StepMicroseconds;
    }

    public int Rank { get; }

    public string Address { get; }

    public int Pid { get; }

    public string Device { get; }

    public string Isa { get; }

    public string Backend { get; }

    public string Transport { get; }

    public string TransportReason { get; }

    public double AllReduceMicroseconds { get; }

    public IReadOnlyList<PathReply> Paths { get; }

    public IReadOnlyList<int> Heads { get; }

    public IReadOnlyList<int> KvHeads { get; }

    public IReadOnlyList<int> MlpLeaves { get; }

    public IReadOnlyList<int> VocabRows { get; }

    public long WeightBytes { get; }

    public long KvBytes { get; }

    public double LoadSeconds { get; }

    public int ComputeMicroseconds { get; }

    public int CollectiveMicroseconds { get; }

    public int StepMicroseconds { get; }

    private static int[] Pair(Range range) => [range.Start.Value, range.End.Value];
}
