using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The devices of the workers that the settings name, as they are now: workers are started or reached, timed, and let go.</summary>
/// <remarks>
/// 1. Workers as serve would have them, with the same threads and CPUs. 2. All are timed at once, for they compute at once. 3. The path of each pair, one pair after the other.
/// </remarks>
internal static class MeasuredDevices
{
    /// <summary>Measures.</summary>
    /// <param name="checkpoint">The model, whose shapes and formats are timed.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="source">Where the workers come from.</param>
    /// <param name="profiler">Finds out what the workers can do.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="WorkerStartException">A worker does not start or answer, or cannot measure.</exception>
    /// <exception cref="ShardingException">The settings do not fit the model or the host, or name a device that cannot be timed yet.</exception>
    public static async Task<PlannedDevices> MeasureAsync(ModelCheckpoint checkpoint, GatewayOptions options, IWorkerSource source, GroupProfiler profiler, CancellationToken cancellation)
    {
        IReadOnlyList<HelloReply> hosts = await DeviceSurvey.RunAsync(options, source as LocalWorkers, cancellation);
        DevicePlan devices = DevicePlanner.Create(options, hosts);
        if (devices.Ranks.FirstOrDefault(rank => rank.Kind != DeviceKind.Cpu) is { } other)
            throw new ShardingException($"--measure times workers on the CPU; {other.Name} is none. Use --device cpu, or --devices FILE.json with data sheets.");
        GroupPlan plan = GroupPlan.Create(
            checkpoint.Config, options, devices, hosts[0].FreeBytes, Environment.ProcessorCount, shard => ShardSizes.WeightBytes(checkpoint, shard),
            workers: options.Workers.Count == 0 ? null : hosts);
        List<HeldWorker> workers = [];
        try
        {
            for (int seat = 0; seat < plan.Degree; seat++)
                workers.Add(source.Open(seat));
            foreach (HeldWorker worker in workers)
                worker.Facts = await worker.Link.HelloAsync(surveyGpus: false, source.Patience, cancellation);
            HelloReply[] facts = [.. workers.Select(worker => worker.Facts!)];
            LoadPlanner.RequireOneRelease(facts);
            LoadPlanner.RequireDistinct(facts, [.. workers.Select(worker => worker.Name)]);
            foreach (HeldWorker external in workers.Where(worker => worker.Process is null))
                await external.Link.HoldAsync(source.Patience, cancellation);
            // External workers outlive gateways and refuse epochs they have seen: the clock keeps ours ahead of an earlier gateway's.
            long epoch = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
            TransportChoice transport = await TransportNegotiation.ChooseAsync(options.Transport, plan.Devices, facts, epoch, [.. workers.Select(worker => worker.Link)], cancellation);
            GroupProfile profile = await profiler.ProfileAsync(plan, workers, facts, transport, epoch + 1, cancellation);
            string[] places = [.. facts.Select((fact, rank) => workers[rank].Process is null ? workers[rank].Link.Address : "this host")];
            return new PlannedDevices(
                profile.Devices, profile.Links, places, [.. places.Select((place, rank) => places.Take(rank).Count(before => before == place))], IsDerived: false, profile.Notes);
        }
        finally
        {
            foreach (HeldWorker worker in workers)
                await worker.DisposeAsync();
        }
    }
}
