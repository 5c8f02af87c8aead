using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>Finds out what workers can do: from the cache where one product takes as long as it did then, else by timing them.</summary>
/// <remarks>
/// 1. A kept profile is checked with one product, all ranks at once; once more where a rank differs. 2. Where there is none, or a rank differs again, everything is timed.
/// 3. Ranks of like processors whose times differ are checked some times more: a split is for a server's life, so what was a moment's disturbance is taken out.
/// </remarks>
/// <param name="checkpoint">The model.</param>
/// <param name="options">Checked settings.</param>
/// <param name="cacheFolder">Where profiles are kept; null = nowhere.</param>
/// <param name="isFresh">Whether a kept profile is not looked at.</param>
/// <param name="log">Told what happened.</param>
internal sealed partial class GroupProfiler(ModelCheckpoint checkpoint, GatewayOptions options, string? cacheFolder, bool isFresh, ILogger log)
{
    // A kept profile is stale where a product takes longer or shorter than then by more than this share.
    private const double StaleBeyond = 0.2;

    private const int CheckRows = 32, StaleChecks = 2, TwinChecks = 3;
    private static readonly int[] s_again = [1, CheckRows];

    /// <summary>The profile of workers that have loaded nothing.</summary>
    /// <param name="plan">What each rank would compute on, and with how many threads.</param>
    /// <param name="workers">By rank.</param>
    /// <param name="facts">What each says of its host.</param>
    /// <param name="transport">What the group goes over.</param>
    /// <param name="firstEpoch">The first of <see cref="GroupMeasurer.Epochs"/> that the workers have not seen.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker cannot measure, or does not answer in time.</exception>
    public async Task<GroupProfile> ProfileAsync(
        GroupPlan plan, IReadOnlyList<HeldWorker> workers, HelloReply[] facts, TransportChoice transport, long firstEpoch, CancellationToken cancellation)
    {
        GroupMeasurer measurer = new(checkpoint, options, plan, workers, facts, transport, TimeProvider.System);
        ProfileCache? cache = cacheFolder is null ? null : new ProfileCache(cacheFolder, facts[0].Version, log);
        RankPlace[] places = [.. facts.Select((fact, rank) => new RankPlace(fact, MemoryOf(facts, rank), measurer.Threads[rank], workers[rank].Process is not null))];

        // 1. A kept one.
        if (!isFresh && cache?.Read(measurer.Key) is { } kept && TryProfile(kept, string.Create(CultureInfo.InvariantCulture, $"kept since {kept.At.UtcDateTime:yyyy-MM-dd HH:mm} UTC"), "the kept profile") is { } known)
        {
            ProductTimes[] now = [];
            int worst = 0;
            for (int check = 0; check < StaleChecks; check++)
            {
                now = await measurer.CheckAsync([CheckRows], cancellation);
                worst = Enumerable.Range(0, now.Length).MaxBy(rank => Change(now[rank], kept.Devices[rank]));
                if (Change(now[worst], kept.Devices[worst]) <= StaleBeyond)
                    return known;
            }
            LogStale(known.Origin, worst, now[worst].Points[0].SecondsPerByte / At(kept.Devices[worst], CheckRows));
        }

        // 2. Everything.
        GroupMeasurement measured = await measurer.MeasureAsync(firstEpoch, cancellation);
        string origin = string.Create(CultureInfo.InvariantCulture, $"measured in {measured.Seconds:F1} s");
        GroupProfile profile = TryProfile(measured, origin, "the measurement") ?? throw new WorkerStartException("the workers' times make no profile.");

        // 3. Once more where likes differ.
        if (profile.HasUnlikeTwins(checkpoint, options))
        {
            List<ProductTimes[]> checks = [];
            for (int check = 0; check < TwinChecks; check++)
                checks.Add(await measurer.CheckAsync(s_again, cancellation));
            measured = profile.Settled(checkpoint, options, measured, checks);
            profile = TryProfile(measured, origin, "the measurement")!;
        }
        cache?.Write(measurer.Key, measured);
        return profile;

        GroupProfile? TryProfile(GroupMeasurement of, string from, string what)
        {
            try
            {
                return GroupProfile.Of(of, places, transport.Between, from);
            }
            catch (ShardingException fault)
            {
                LogImpossible(what, fault.Message);
                return null;
            }
        }
    }

    /// <summary>What a rank may take: its part of what is free on its host, or its limit.</summary>
    private long MemoryOf(HelloReply[] facts, int rank)
    {
        long free = facts[rank].FreeBytes / facts.Count(fact => fact.HostId == facts[rank].HostId), limit = options.RankMemory.At(rank);
        return limit > 0 ? Math.Min(free, limit) : free;
    }

    private static double Change(ProductTimes now, MeasureReply then) => Math.Abs((now.Points[0].SecondsPerByte / At(then, CheckRows)) - 1);

    private static double At(MeasureReply reply, int rows) => reply.Products[0].Points.FirstOrDefault(point => point.Rows == rows)?.SecondsPerByte ?? 0;

    [LoggerMessage(1075, LogLevel.Information, "The profile {Origin} is stale: a product takes rank {Rank} {Share:F2} times what it did; the workers are timed anew")]
    private partial void LogStale(string origin, int rank, double share);

    [LoggerMessage(1076, LogLevel.Warning, "No profile can be made of {What}: {Reason}")]
    private partial void LogImpossible(string what, string reason);
}
