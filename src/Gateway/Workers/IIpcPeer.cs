using Grpc.Core;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

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
