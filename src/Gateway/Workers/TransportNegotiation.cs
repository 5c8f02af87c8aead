using Grpc.Core;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Chooses the transport of an epoch; CUDA IPC only after every rank has proved every path.</summary>
/// <remarks>
/// 1. every rank makes its segment and exports it; 2. every rank opens all of them and proves and times its paths, all ranks at once; 3. one rank that
/// cannot, for whatever reason, and the group takes the next transport with that reason, or does not start where cuda-ipc was asked for by name.
/// Ranks of several hosts finish inside each host what they can (hosted), where any two neighbours share a host whose /dev/shm takes their segments.
/// Both calls have a deadline, so a driver that hangs costs seconds, not the start.
/// </remarks>
internal static class TransportNegotiation
{
    /// <summary>How long a rank may take to make its segment: the first use of a GPU may compile and wake it.</summary>
    public static readonly TimeSpan OpenTimeout = TimeSpan.FromSeconds(30);

    /// <summary>How long a rank waits for a peer inside the proof.</summary>
    public static readonly TimeSpan ProofTimeout = TimeSpan.FromSeconds(10);

    /// <summary>How much longer the call of a proof may take than the waits inside it.</summary>
    private static readonly TimeSpan CallMargin = TimeSpan.FromSeconds(10);

    /// <summary>The transport of an epoch; <paramref name="wanted"/> unspecified = the fastest that proves itself.</summary>
    /// <exception cref="WorkerStartException">The transport asked for by name is not to be had.</exception>
    public static async Task<TransportChoice> ChooseAsync(
        Transport wanted, DevicePlan devices, IReadOnlyList<HelloReply> facts, long epoch, IReadOnlyList<IIpcPeer> peers, CancellationToken cancellation, Wire wire = Wire.F32)
    {
        bool oneHost = facts.All(fact => fact.HostId == facts[0].HostId);
        bool onCpu = devices.Ranks.Any(rank => rank.Kind == DeviceKind.Cpu);
        bool inPlace = wire == Wire.F32;
        bool ask = devices.Degree > 1 && inPlace && oneHost && !onCpu && (wanted == Transport.CudaIpc || (wanted == Transport.Unspecified && devices.OnGpus));
        string? refusal = onCpu ? $"the ranks compute on the CPU ({devices.Reason})" : !oneHost ? Apart(facts) : inPlace ? null : $"--wire {Words.Wires.Of(wire)} is not sent over it";
        if (ask)
        {
            (refusal, IReadOnlyList<IReadOnlyList<PathInfo>> paths) = await ProveAsync(devices, epoch, peers, cancellation);
            if (refusal is null)
                return new TransportChoice(Transport.CudaIpc, "every rank proved its path to every peer", HostsOf(facts), paths);
        }

        string? noShm = devices.Degree == 1 ? null : oneHost ? WhyNoSegments(facts) : "the workers report different hosts";
        (int[] sharing, string? unshared) = Sharing(facts);
        bool isShared = sharing.Distinct().Count() < sharing.Length;
        switch (wanted)
        {
            case Transport.CudaIpc when devices.Degree == 1:
                return TransportChoice.Unproven(Transport.Shm, [0]);
            case Transport.CudaIpc:
                throw new WorkerStartException($"transport cuda-ipc is not to be had: {refusal}. Use auto, shm, ring or hosted.");
            case Transport.Shm when !oneHost:
                throw new WorkerStartException("transport shm needs all workers on one host; they report different ones. Use auto, ring or hosted.");
            case Transport.Shm when noShm is not null:
                throw new WorkerStartException($"transport shm is not to be had: {noShm}. Use auto or ring.");
            case Transport.Hosted when devices.Degree > 1 && oneHost:
                throw new WorkerStartException("transport hosted is for workers on several hosts; they report one. Use auto, shm or ring.");
            case Transport.Hosted when devices.Degree > 1 && !isShared:
                throw new WorkerStartException($"transport hosted is not to be had: {unshared ?? "no host has two workers, so that nothing can be finished inside one"}. Use auto or ring.");
            case Transport.Hosted:
                return new TransportChoice(Transport.Hosted, WhyHosted(sharing, facts, unshared), sharing, Unproved(devices.Degree));
            case Transport.Unspecified:
                List<string> reasons = [];
                if (refusal is not null && !onCpu)
                    reasons.Add($"cuda-ipc is not to be had: {refusal}");
                if (noShm is not null && oneHost)
                    reasons.Add($"shm is not to be had: {noShm}");
                if (!oneHost && isShared)
                    return new TransportChoice(Transport.Hosted, string.Join("; ", [.. reasons, WhyHosted(sharing, facts, unshared)]), sharing, Unproved(devices.Degree));
                if (!oneHost && unshared is not null)
                    reasons.Add($"hosted is not to be had: {unshared}");
                return TransportChoice.Unproven(noShm is null ? Transport.Shm : Transport.Ring, HostsOf(facts), string.Join("; ", reasons));
            default:
                return TransportChoice.Unproven(wanted, HostsOf(facts));
        }
    }

    /// <summary>Numbers the hosts in the order in which their ranks come.</summary>
    private static int[] HostsOf(IReadOnlyList<HelloReply> facts)
    {
        List<string> known = [.. facts.Select(fact => fact.HostId).Distinct()];
        return [.. facts.Select(fact => known.IndexOf(fact.HostId))];
    }

    /// <summary>The hosts as far as neighbours can share memory there: others have numbers of their own. And why some that are on one host cannot.</summary>
    private static (int[] Numbers, string? Why) Sharing(IReadOnlyList<HelloReply> facts)
    {
        int[] hosts = HostsOf(facts), numbers = new int[hosts.Length];
        int next = 0, end;
        string? why = null;
        for (int first = 0; first < hosts.Length; first = end)
        {
            for (end = first + 1; end < hosts.Length && hosts[end] == hosts[first];)
                end++;
            string? noRoom = end - first == 1 ? null : WhyNoSegments([.. facts.Skip(first).Take(end - first)], first);
            for (int rank = first; rank < end; rank++)
                numbers[rank] = noRoom is null || rank == first ? next : ++next;
            next++;
            bool isScattered = hosts.AsSpan(end).Contains(hosts[first]);
            why ??= noRoom ?? (isScattered ? $"the workers of rank {first}'s host are not given one after the other" : null);
        }
        return (numbers, why);
    }

    private static string WhyHosted(int[] sharing, IReadOnlyList<HelloReply> facts, string? unshared)
    {
        int hosts = facts.Select(fact => fact.HostId).Distinct().Count();
        return FormattableString.Invariant($"{sharing.Length} ranks on {hosts} hosts: shared memory inside a host, one rank of each over sockets") + (unshared is null ? "" : $"; some share no memory: {unshared}");
    }

    private static IReadOnlyList<IReadOnlyList<PathInfo>> Unproved(int degree) => [.. Enumerable.Repeat<IReadOnlyList<PathInfo>>([], degree)];

    private static async Task<(string? Refusal, IReadOnlyList<IReadOnlyList<PathInfo>> Paths)> ProveAsync(
        DevicePlan devices, long epoch, IReadOnlyList<IIpcPeer> peers, CancellationToken cancellation)
    {
        // 1. Segments.
        OpenIpcReply[] segments = await Task.WhenAll(peers.Select((peer, rank) => AskAsync(
            "OpenIpc",
            () => peer.OpenIpcAsync(new OpenIpcRequest { Epoch = epoch, Rank = rank, Degree = peers.Count, Device = devices.Ranks[rank].Message }, OpenTimeout, cancellation),
            reason => new OpenIpcReply { Reason = reason },
            cancellation)));
        if (FirstReason(segments.Select(segment => segment.Reason)) is { } unopened)
            return (unopened, []);

        // 2. Proofs.
        ProveIpcReply[] proofs = await Task.WhenAll(peers.Select((peer, rank) => AskAsync(
            "ProveIpc",
            () => peer.ProveIpcAsync(
                new ProveIpcRequest { Epoch = epoch, Rank = rank, Segments = { segments }, TimeoutMs = (int)ProofTimeout.TotalMilliseconds }, ProofTimeout + CallMargin, cancellation),
            reason => new ProveIpcReply { Reason = reason },
            cancellation)));
        return (FirstReason(proofs.Select(proof => proof.Reason)), [.. proofs.Select((proof, rank) => proof.Pairs.Where(pair => pair.Peer != rank).ToArray())]);
    }

    /// <summary>Why /dev/shm cannot take a segment of every rank; null where it can.</summary>
    private static string? WhyNoSegments(IReadOnlyList<HelloReply> facts, int first = 0) =>
        FirstReason(facts.Select(fact => fact.ShmFault), first)
        ?? FirstReason(facts.Select(fact => fact.ShmSegments >= facts.Count ? "" : $"/dev/shm has room for {fact.ShmSegments} of {facts.Count} segments"), first);

    private static string Apart(IReadOnlyList<HelloReply> facts) => facts.All(fact => fact.Machine() == facts[0].Machine())
        ? "the workers are on one host, but do not share its IPC namespace and /dev/shm"
        : "the workers are on different hosts";

    /// <summary>A rank that fails the call has a reason too.</summary>
    private static async Task<T> AskAsync<T>(string call, Func<Task<T>> ask, Func<string, T> refused, CancellationToken cancellation)
    {
        try
        {
            return await ask();
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            return refused($"{call}: {fault.StatusCode}{(fault.Status.Detail.Length > 0 ? " (" + fault.Status.Detail + ")" : "")}");
        }
    }

    private static string? FirstReason(IEnumerable<string> reasons, int first = 0) =>
        reasons.Select((reason, place) => reason.Length > 0 ? $"rank {first + place}: {reason}" : null).FirstOrDefault(reason => reason is not null);
}

/// <summary>How the ranks of one epoch will talk.</summary>
/// <param name="Kind">As LoadRequest.transport.</param>
/// <param name="Reason">Why, where the transport itself does not say; empty else.</param>
/// <param name="Hosts">As LoadRequest.hosts.</param>
/// <param name="Paths">What each rank measured to each peer, by rank; empty lists where the transport was not proved beforehand.</param>
internal sealed record TransportChoice(Transport Kind, string Reason, IReadOnlyList<int> Hosts, IReadOnlyList<IReadOnlyList<PathInfo>> Paths)
{
    /// <summary>In words.</summary>
    public string Transport => Words.Transports.Of(Kind);

    /// <summary>A transport that proves itself when the ranks join.</summary>
    public static TransportChoice Unproven(Transport transport, IReadOnlyList<int> hosts, string reason = "") =>
        new(transport, reason, hosts, [.. Enumerable.Repeat<IReadOnlyList<PathInfo>>([], hosts.Count)]);

    /// <summary>What two ranks reach each other over.</summary>
    public Transport Between(int first, int second) => Kind != Protos.Worker.Transport.Hosted ? Kind : Hosts[first] == Hosts[second] ? Protos.Worker.Transport.Shm : Protos.Worker.Transport.Ring;
}

/// <summary>One rank, as far as agreeing on CUDA IPC goes.</summary>
internal interface IIpcPeer
{
    /// <summary>Has the rank make its segment.</summary>
    /// <exception cref="RpcException">The rank cannot say.</exception>
    Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request, TimeSpan timeout, CancellationToken cancellation);

    /// <summary>Has the rank prove and time its path to every peer.</summary>
    /// <exception cref="RpcException">The rank cannot say.</exception>
    Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request, TimeSpan timeout, CancellationToken cancellation);
}
