namespace TpServe.Sharding.Planning;

/// <summary>How collectives travel; decides how many waits in a row a round of one takes.</summary>
public enum LinkTransport
{
    /// <summary>Memory that both processes map.</summary>
    SharedMemory,

    /// <summary>Device memory that the peers have opened.</summary>
    CudaIpc,

    /// <summary>Messages handed on from rank to rank: degree − 1 waits a round.</summary>
    Ring,
}

/// <summary>What the path between two devices can do; the same both ways.</summary>
/// <param name="Transport">What it goes over.</param>
/// <param name="LatencySeconds">From one rank's publishing to the other's reading, for next to no bytes.</param>
/// <param name="SmallBytesPerSecond">For the first <see cref="SmallBytes"/> of a message.</param>
/// <param name="LargeBytesPerSecond">For what is beyond.</param>
public sealed record LinkProfile(LinkTransport Transport, double LatencySeconds, double SmallBytesPerSecond, double LargeBytesPerSecond)
{
    /// <summary>Where a message begins to be large.</summary>
    public const int SmallBytes = 64 << 10;

    /// <summary>Seconds that the bytes of a message take, without the latency.</summary>
    public double TransferSeconds(double bytes) =>
        (Math.Min(bytes, SmallBytes) / SmallBytesPerSecond) + (Math.Max(0, bytes - SmallBytes) / LargeBytesPerSecond);

    internal void Check(string first, string second)
    {
        if (!double.IsFinite(LatencySeconds) || LatencySeconds < 0)
            throw new ShardingException(FormattableString.Invariant($"link {first} – {second}: latency {LatencySeconds} s is not a finite number ≥ 0."));
        if (!double.IsFinite(SmallBytesPerSecond) || SmallBytesPerSecond <= 0)
            throw new ShardingException(FormattableString.Invariant($"link {first} – {second}: {SmallBytesPerSecond} bytes/s of small messages is not a finite number above 0."));
        if (!double.IsFinite(LargeBytesPerSecond) || LargeBytesPerSecond <= 0)
            throw new ShardingException(FormattableString.Invariant($"link {first} – {second}: {LargeBytesPerSecond} bytes/s of large messages is not a finite number above 0."));
    }
}

/// <summary>The links of every pair of devices.</summary>
public sealed class LinkTable
{
    private readonly LinkProfile[] _links;

    private LinkTable(int devices, LinkProfile[] links) => (Devices, _links) = (devices, links);

    /// <summary>Number of devices.</summary>
    public int Devices { get; }

    /// <summary>The link of two devices; the order does not matter.</summary>
    public LinkProfile this[int first, int second] => _links[(first * Devices) + second];

    /// <summary>Every pair has the same link.</summary>
    public static LinkTable Uniform(int devices, LinkProfile link) => Of(devices, (_, _) => link);

    /// <summary>Asks for the link of each pair, the lower device first.</summary>
    public static LinkTable Of(int devices, Func<int, int, LinkProfile> link)
    {
        ArgumentNullException.ThrowIfNull(link);
        LinkProfile[] links = new LinkProfile[devices * devices];
        for (int first = 0; first < devices; first++)
            for (int second = first + 1; second < devices; second++)
                links[(first * devices) + second] = links[(second * devices) + first] = link(first, second);
        return new LinkTable(devices, links);
    }

    /// <summary>Every number finite and in its range.</summary>
    /// <exception cref="ShardingException">A link has a number that it cannot have, or there are links for another number of devices.</exception>
    public void Check(IReadOnlyList<DeviceProfile> devices)
    {
        ArgumentNullException.ThrowIfNull(devices);
        if (devices.Count != Devices)
            throw new ShardingException($"links of {Devices} devices for {devices.Count} devices.");
        for (int first = 0; first < Devices; first++)
            for (int second = first + 1; second < Devices; second++)
                this[first, second].Check(devices[first].Name, devices[second].Name);
    }
}
