using TpServe.Protos.V1;

namespace TpServe.Gateway.Workers;

/// <summary>How the ranks of one epoch will talk.</summary>
/// <param name="Transport">As LoadRequest.transport: cuda-ipc, shm, ring.</param>
/// <param name="Reason">Why, where the transport itself does not say; empty else.</param>
/// <param name="Paths">What each rank measured to each peer, by rank; empty lists where the transport was not proved beforehand.</param>
internal sealed record TransportChoice(string Transport, string Reason, IReadOnlyList<IReadOnlyList<PathInfo>> Paths)
{
    public const string CudaIpc = "cuda-ipc";
    public const string SharedMemory = "shm";
    public const string Ring = "ring";

    /// <summary>A transport that proves itself when the ranks join.</summary>
    public static TransportChoice Unproven(string transport, int degree, string reason = "") =>
        new(transport, reason, [.. Enumerable.Repeat<IReadOnlyList<PathInfo>>([], degree)]);
}
