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
    private readonly ComputeDevice _device;
    private CudaBackend? _backend; // null while another owns it, and once it is handed over
    private bool _over;

    private OpenedDevice(CudaBackend? backend, CudaIpcEndpoint endpoint, ComputeDevice device)
    {
        _backend = backend;
        _endpoint = endpoint;
        _device = device;
    }

    /// <summary>The segment lies on the device of what is loaded, which owns it.</summary>
    public bool IsBorrowed => _backend is null;

    /// <summary>The epoch it was opened for.</summary>
    public long Epoch => _endpoint.Epoch;

    /// <summary>This rank's segment.</summary>
    public IpcSegment Segment => _endpoint.Segment;

    /// <summary>Opens the GPU, unless it is open already, and allocates the segment.</summary>
    /// <param name="request">Epoch, rank and device.</param>
    /// <param name="loaded">The device, where what is loaded computes on it; stays its owner's.</param>
    /// <exception cref="Collectives.TransportFailedException">The device is no GPU, or the driver refuses the segment.</exception>
    public static OpenedDevice Open(OpenIpcRequest request, CudaBackend? loaded)
    {
        DeviceKind kind = DeviceBackends.Kind(request.Device);
        if (kind != DeviceKind.Cuda)
            throw new Collectives.TransportFailedException($"the rank computes on {(kind == DeviceKind.CudaEmulated ? "cuda-emulated" : "cpu")}, which shares no memory with other processes");
        if (loaded is not null)
            return new OpenedDevice(null, CudaIpcEndpoint.Open(loaded, request.Rank, request.Degree, request.Epoch), request.Device);
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

    /// <summary>Takes a borrowed device over from its owner.</summary>
    public void Adopt(CudaBackend backend) => _backend = backend;

    /// <summary>The segment, where a load over what is loaded already needs it; freed else. The device stays its owner's.</summary>
    public CudaIpcEndpoint? TakeEndpoint(LoadRequest request)
    {
        if (request.Epoch != Epoch || !Joins(request))
        {
            Dispose();
            return null;
        }
        _over = true;
        return _endpoint;
    }

    /// <summary>Hands the backend over where it is the one the load needs; the segment too where the load goes over it, or it is freed. What is left is disposed.</summary>
    /// <returns>Null where the load needs another device.</returns>
    public (ITensorBackend Backend, CudaIpcEndpoint? Endpoint)? Take(LoadRequest request)
    {
        if (_backend is not { } backend || request.Epoch != Epoch || !_device.Equals(request.Device))
        {
            Dispose();
            return null;
        }
        _over = true;
        bool joins = Joins(request);
        if (!joins)
            _endpoint.Dispose();
        CudaActivations activations = DeviceBackends.Activations(request);
        return (activations == backend.Activations ? backend : backend.With(activations), joins ? _endpoint : null);
    }

    public void Dispose()
    {
        if (_over)
            return; // handed over
        _over = true;
        _endpoint.Dispose();
        _backend?.Dispose();
    }

    private static bool Joins(LoadRequest request) => request.Transport == Transport.CudaIpc && request.Degree > 1;
}
