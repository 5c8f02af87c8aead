using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>A worker's link over gRPC: one HTTP/2 connection, on which calls, pings and the step stream run beside each other.</summary>
internal sealed class WorkerClient : IWorkerLink
{
    /// <summary>Metadata entry in which a worker says whose fault ended a load; one that fails without it lost its link.</summary>
    private const string FaultTrailer = "tpserve-fault";

    // A plan holds every new prompt of a step, a result the logprobs asked for: far below these, which end a call that has gone astray.
    private const int MostReceivedBytes = 256 << 20;
    private const int MostSentBytes = 256 << 20;

    private static readonly TimeSpan PingPeriod = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan HoldPause = TimeSpan.FromMilliseconds(200);
    private static readonly HoldRequest Holder = new()
    {
        GatewayId = Guid.NewGuid().ToString("N"),
        Gateway = string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}, process {Environment.ProcessId},"),
    };

    private readonly PeerTrust _trust;
    private readonly GrpcChannel _channel;
    private readonly Metadata _secret;
    private readonly WorkerControl.WorkerControlClient _control;
    private Task _hold = Task.CompletedTask; // runs while the worker is held

    public WorkerClient(string address, string secret, LinkSecurity links)
    {
        Address = address;
        _trust = new PeerTrust(links);
        _secret = new Metadata { { "tpserve-secret", secret } };
        _channel = Connect(address, _trust);
        _control = new WorkerControl.WorkerControlClient(_channel);
    }

    /// <inheritdoc/>
    public string Address { get; }

    /// <inheritdoc/>
    public async Task<HelloReply> HelloAsync(bool surveyGpus, TimeSpan timeout, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(timeout);
        while (true)
        {
            try
            {
                return await _control.HelloAsync(new HelloRequest { SurveyGpus = surveyGpus }, _secret, DateTime.UtcNow + timeout, deadline.Token);
            }
            catch (RpcException fault) when (_trust.Fault(fault.Status.DebugException) is { } untrusted)
            {
                throw new WorkerStartException($"worker {Address} {untrusted}.", fault);
            }
            catch (RpcException fault) when ((fault.StatusCode == StatusCode.Unavailable || _trust.WasClosedEarly) && !deadline.IsCancellationRequested)
            {
                // A worker on this host is awaited for a moment; one elsewhere perhaps for minutes, through a name server.
                TimeSpan pause = TimeSpan.FromMilliseconds(Address.StartsWith("unix:", StringComparison.Ordinal) ? 20 : 200);
                await Task.Delay(pause, deadline.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (RpcException fault)
            {
                cancellation.ThrowIfCancellationRequested();
                throw new WorkerStartException(
                    fault.StatusCode is StatusCode.Cancelled or StatusCode.DeadlineExceeded or StatusCode.Unavailable
                        ? $"worker {Address} did not answer within {timeout.TotalSeconds:F0} s."
                        : $"worker {Address} refused: {fault.Status.Detail}", fault);
            }
        }
    }

    /// <inheritdoc/>
    public bool IsHeld => !_hold.IsCompleted;

    /// <inheritdoc/>
    public async Task HoldAsync(TimeSpan timeout, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            AsyncServerStreamingCall<HoldReply> call = _control.Hold(Holder, _secret, cancellationToken: CancellationToken.None); // it outlives the asking
            using CancellationTokenRegistration given = cancellation.Register(call.Dispose);
            try
            {
                if (!await call.ResponseStream.MoveNext(cancellation))
                    throw new RpcException(new Status(StatusCode.Unavailable, "it ended the call"));
                _hold = KeepAsync(call);
                return;
            }
            catch (RpcException fault)
            {
                call.Dispose();
                cancellation.ThrowIfCancellationRequested();
                if (fault.StatusCode != StatusCode.AlreadyExists)
                    throw new WorkerStartException($"worker {Address} cannot be taken: {fault.Status.Detail}", fault) { LostLink = true };
                if (Stopwatch.GetElapsedTime(start) > timeout)
                    throw new WorkerStartException($"worker {Address} serves another gateway: {fault.Status.Detail}. End that one first, or give this one workers of its own.", fault);
            }
            await Task.Delay(HoldPause, cancellation);
        }
    }

    /// <summary>Ends when the call does.</summary>
    private static async Task KeepAsync(AsyncServerStreamingCall<HoldReply> call)
    {
        using (call)
            try
            {
                while (await call.ResponseStream.MoveNext(CancellationToken.None))
                {
                    // One answer is all there is.
                }
            }
            catch (RpcException)
            {
                // The link is gone; whoever starts the next epoch takes the worker again.
            }
    }

    /// <inheritdoc/>
    public async Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request, TimeSpan timeout, CancellationToken cancellation) =>
        await _control.OpenIpcAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);

    /// <inheritdoc/>
    public async Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request, TimeSpan timeout, CancellationToken cancellation) =>
        await _control.ProveIpcAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);

    /// <inheritdoc/>
    public async Task<MeasureReply> MeasureAsync(MeasureRequest request, TimeSpan timeout, CancellationToken cancellation)
    {
        try
        {
            return await _control.MeasureAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new WorkerStartException($"worker {Address} cannot measure its device: {fault.Status.Detail}", fault);
        }
    }

    /// <inheritdoc/>
    public async Task<MeasureLinkReply> MeasureLinkAsync(MeasureLinkRequest request, TimeSpan timeout, CancellationToken cancellation)
    {
        try
        {
            return await _control.MeasureLinkAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new WorkerStartException($"worker {Address} cannot measure its way to another: {fault.Status.Detail}", fault);
        }
    }

    /// <inheritdoc/>
    public async Task<LoadReport> LoadAsync(LoadRequest request, Action<LoadProgress> progress, CancellationToken cancellation)
    {
        try
        {
            using AsyncServerStreamingCall<LoadProgress> call = _control.Load(request, _secret, cancellationToken: cancellation);
            await foreach (LoadProgress step in call.ResponseStream.ReadAllAsync(cancellation))
            {
                if (step.Report is { } report)
                    return report;
                progress(step);
            }
            throw new WorkerStartException($"rank {request.Rank} ({Address}) ended its load without a report.");
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new WorkerStartException($"rank {request.Rank} ({Address}) cannot load: {fault.Status.Detail}", fault)
            {
                BlamesPeer = fault.Trailers.GetValue(FaultTrailer) == "peer",
                LostLink = fault.Trailers.GetValue(FaultTrailer) is null,
            };
        }
    }

    /// <inheritdoc/>
    public async Task LoadLoraAsync(LoadLoraRequest request, TimeSpan timeout, CancellationToken cancellation)
    {
        try
        {
            await _control.LoadLoraAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new WorkerStartException(fault.StatusCode == StatusCode.FailedPrecondition ? fault.Status.Detail : $"worker {Address} cannot load the adapter: {fault.Status.Detail}", fault);
        }
    }

    /// <inheritdoc/>
    public async Task UnloadLoraAsync(int id, TimeSpan timeout)
    {
        try
        {
            await _control.UnloadLoraAsync(new UnloadLoraRequest { Id = id }, _secret, DateTime.UtcNow + timeout);
        }
        catch (RpcException)
        {
            // What it holds goes with its next load.
        }
    }

    /// <inheritdoc/>
    public IStepStream OpenRun() => new StepStream(_control.Run(_secret));

    /// <inheritdoc/>
    public async Task<bool> PingAsync(TimeSpan timeout, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(timeout);
        try
        {
            await _control.PingAsync(new PingRequest(), _secret, cancellationToken: deadline.Token);
            return true;
        }
        catch (RpcException)
        {
            cancellation.ThrowIfCancellationRequested();
            return false;
        }
    }

    /// <inheritdoc/>
    public async Task RevokeAsync(long epoch, string reason, TimeSpan timeout)
    {
        try
        {
            await _control.RevokeAsync(new RevokeRequest { Epoch = epoch, Reason = reason }, _secret, DateTime.UtcNow + timeout);
        }
        catch (RpcException)
        {
            // The worker is gone or going: its own deadline ends its waits.
        }
    }

    public void Dispose() => _channel.Dispose(); // ends its calls too

    private static GrpcChannel Connect(string address, PeerTrust trust)
    {
        SocketsHttpHandler handler = new() { EnableMultipleHttp2Connections = false, ConnectTimeout = TimeSpan.FromSeconds(5), UseProxy = false };
        trust.Secure(handler);
        if (!address.StartsWith("unix:", StringComparison.Ordinal))
        {
            // A host that vanishes closes no connection: only an unanswered ping tells.
            handler.KeepAlivePingDelay = PingPeriod;
            handler.KeepAlivePingTimeout = PingPeriod;
        }
        if (!address.StartsWith("unix:", StringComparison.Ordinal))
            return GrpcChannel.ForAddress(address, Channel(handler));
        UnixDomainSocketEndPoint endpoint = new(address["unix:".Length..]);
        handler.ConnectCallback = async (_, cancellation) =>
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(endpoint, cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        };
        return GrpcChannel.ForAddress("http://localhost", Channel(handler));

        static GrpcChannelOptions Channel(SocketsHttpHandler handler) =>
            new() { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = MostReceivedBytes, MaxSendMessageSize = MostSentBytes };
    }
}
