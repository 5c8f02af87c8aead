using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>What OpenIpc made for an epoch: the GPU's backend and this rank's segment on it, until Load takes them over.</summary>
/// <remarks>Threads   the rank's thread; <see cref="Revoke"/> from any.</remarks>
internal sealed class OpenedDevice : IDisposable
{
    private readonly CudaIpcEndpoint _endpoint;
    private readonly string _device;
    private CudaBackend? _backend;

    private OpenedDevice(CudaBackend backend, CudaIpcEndpoint endpoint, string device)
    {
        _backend = backend;
        _endpoint = endpoint;
        _device = device;
    }

    /// <summary>The epoch it was opened for.</summary>
    public long Epoch => _endpoint.Epoch;

    /// <summary>This rank's segment.</summary>
    public IpcSegment Segment => _endpoint.Segment;

    /// <summary>Opens the GPU and allocates the segment.</summary>
    /// <exception cref="Collectives.TransportFailedException">The device is no GPU, or the driver refuses the segment.</exception>
    public static OpenedDevice Open(OpenIpcRequest request)
    {
        if (!request.Device.StartsWith("cuda:", StringComparison.Ordinal))
            throw new Collectives.TransportFailedException($"the rank computes on {request.Device}, which shares no memory with other processes");
        CudaBackend backend = (CudaBackend)DeviceBackends.Open(new LoadRequest { Device = request.Device });
        try
        {
            return new OpenedDevice(backend, CudaIpcEndpoint.Open(backend, request.Rank, request.Degree, request.Epoch), request.Device);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>Proves and times the paths to the peers.</summary>
    public IReadOnlyList<PeerPath> Prove(ProveIpcRequest request) => _endpoint.Prove(
        [.. request.Segments.Select(segment => new IpcSegment(segment.Handle.Memory, segment.SegmentBytes, segment.DeviceUuid))],
        TimeSpan.FromMilliseconds(request.TimeoutMs));

    /// <summary>Ends the epoch.</summary>
    public void Revoke(string reason) => _endpoint.Revoke(reason);

    /// <summary>Hands the backend over where it is the one the load needs; the segment too where the load goes over it, or it is freed. What is left is disposed.</summary>
    /// <returns>Null where the load needs another device.</returns>
    public (ITensorBackend Backend, CudaIpcEndpoint? Endpoint)? Take(LoadRequest request)
    {
        if (_backend is not { } backend || request.Epoch != Epoch || request.Device != _device)
        {
            Dispose();
            return null;
        }
        bool joins = request.Transport == "cuda-ipc" && request.Degree > 1;
        if (!joins)
            _endpoint.Dispose();
        _backend = null;
        CudaActivations activations = DeviceBackends.Activations(request);
        return (activations == backend.Activations ? backend : backend.With(activations), joins ? _endpoint : null);
    }

    public void Dispose()
    {
        if (_backend is null)
            return; // handed over
        _endpoint.Dispose();
        _backend.Dispose();
        _backend = null;
    }
}
