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
        Transport wanted, DevicePlan devices, IReadOnlyList<HelloReply> facts, long epoch, IReadOnlyList<IIpcPeer> peers, CancellationToken cancellation)
    {
        bool oneHost = facts.All(fact => fact.HostId == facts[0].HostId);
        bool onCpu = devices.Ranks.Any(rank => rank.Kind == DeviceKind.Cpu);
        bool ask = devices.Degree > 1 && oneHost && !onCpu && (wanted == Transport.CudaIpc || (wanted == Transport.Unspecified && devices.OnGpus));
        string? refusal = onCpu ? $"the ranks compute on the CPU ({devices.Reason})" : oneHost ? null : Apart(facts);
        if (ask)
        {
            (refusal, IReadOnlyList<IReadOnlyList<PathInfo>> paths) = await ProveAsync(devices, epoch, peers, cancellation);
            if (refusal is null)
                return new TransportChoice(Transport.CudaIpc, "every rank proved its path to every peer", paths);
        }

        string? noShm = devices.Degree == 1 ? null : oneHost ? WhyNoSegments(facts) : "the workers report different hosts";
        switch (wanted)
        {
            case Transport.CudaIpc when devices.Degree == 1:
                return TransportChoice.Unproven(Transport.Shm, 1);
            case Transport.CudaIpc:
                throw new WorkerStartException($"transport cuda-ipc is not to be had: {refusal}. Use auto, shm or ring.");
            case Transport.Shm when !oneHost:
                throw new WorkerStartException("transport shm needs all workers on one host; they report different ones. Use auto or ring.");
            case Transport.Shm when noShm is not null:
                throw new WorkerStartException($"transport shm is not to be had: {noShm}. Use auto or ring.");
            case Transport.Unspecified:
                List<string> reasons = [];
                if (refusal is not null && !onCpu)
                    reasons.Add($"cuda-ipc is not to be had: {refusal}");
                if (noShm is not null && oneHost)
                    reasons.Add($"shm is not to be had: {noShm}");
                return TransportChoice.Unproven(noShm is null ? Transport.Shm : Transport.Ring, devices.Degree, string.Join("; ", reasons));
            default:
                return TransportChoice.Unproven(wanted, devices.Degree);
        }
    }

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
    private static string? WhyNoSegments(IReadOnlyList<HelloReply> facts) =>
        FirstReason(facts.Select(fact => fact.ShmFault))
        ?? FirstReason(facts.Select(fact => fact.ShmSegments >= facts.Count ? "" : $"/dev/shm has room for {fact.ShmSegments} of {facts.Count} segments"));

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

    private static string? FirstReason(IEnumerable<string> reasons) =>
        reasons.Select((reason, rank) => reason.Length > 0 ? $"rank {rank}: {reason}" : null).FirstOrDefault(reason => reason is not null);
}

/// <summary>How the ranks of one epoch will talk.</summary>
/// <param name="Kind">As LoadRequest.transport.</param>
/// <param name="Reason">Why, where the transport itself does not say; empty else.</param>
/// <param name="Paths">What each rank measured to each peer, by rank; empty lists where the transport was not proved beforehand.</param>
internal sealed record TransportChoice(Transport Kind, string Reason, IReadOnlyList<IReadOnlyList<PathInfo>> Paths)
{
    /// <summary>In words.</summary>
    public string Transport => Words.Transports.Of(Kind);

    /// <summary>A transport that proves itself when the ranks join.</summary>
    public static TransportChoice Unproven(Transport transport, int degree, string reason = "") =>
        new(transport, reason, [.. Enumerable.Repeat<IReadOnlyList<PathInfo>>([], degree)]);
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
