using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using System.Threading.Channels;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>The gateway's end of one worker: its channel, its calls, its step stream.</summary>
/// <remarks>Threads   the group's step loop alone uses the step stream; other calls may come from anywhere.</remarks>
internal sealed class WorkerClient : IIpcPeer, IDisposable
{
    private static readonly TimeSpan PingPeriod = TimeSpan.FromSeconds(10);

    private readonly GrpcChannel _channel;
    private readonly Metadata _secret;
    private readonly WorkerControl.WorkerControlClient _control;
    private AsyncDuplexStreamingCall<StepPlan, StepResult>? _run;
    private ChannelReader<StepResult>? _results;

    public WorkerClient(string address, string secret)
    {
        Address = address;
        _secret = new Metadata { { "tpserve-secret", secret } };
        _channel = Connect(address);
        _control = new WorkerControl.WorkerControlClient(_channel);
    }

    /// <summary>unix:PATH or http://host:port.</summary>
    public string Address { get; }

    /// <summary>Completes with the reason when the step stream ends: the worker went, or cannot be reached any more.</summary>
    public Task<string> RunEnded { get; private set; } = new TaskCompletionSource<string>().Task;

    /// <summary>Asks until the worker answers: its socket appears only once it listens.</summary>
    /// <param name="surveyGpus">Have it look for GPUs, which may take seconds.</param>
    /// <param name="timeout">How long to ask.</param>
    /// <param name="cancellation">Ends the asking.</param>
    /// <exception cref="WorkerStartException">No answer in time, or a refusal.</exception>
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
            catch (RpcException fault) when (fault.StatusCode == StatusCode.Unavailable && !deadline.IsCancellationRequested)
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
    public async Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request, TimeSpan timeout, CancellationToken cancellation) =>
        await _control.OpenIpcAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);

    /// <inheritdoc/>
    public async Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request, TimeSpan timeout, CancellationToken cancellation) =>
        await _control.ProveIpcAsync(request, _secret, DateTime.UtcNow + timeout, cancellation);

    /// <summary>Loads the shard, passing on progress.</summary>
    /// <exception cref="WorkerStartException">The worker's reason.</exception>
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
            throw new WorkerStartException($"rank {request.Rank} ({Address}) cannot load: {fault.Status.Detail}", fault);
        }
    }

    /// <summary>Opens the step stream.</summary>
    public void OpenRun(CancellationToken lifetime)
    {
        _run?.Dispose();
        _run = _control.Run(_secret, cancellationToken: lifetime);
        // Read at all times, not only within a step: the end of an idle worker must be seen too.
        Channel<StepResult> results = Channel.CreateUnbounded<StepResult>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true, AllowSynchronousContinuations = true });
        _results = results.Reader;
        RunEnded = ReadResultsAsync(_run.ResponseStream, results.Writer);
    }

    /// <summary>Sends one plan and waits for its result.</summary>
    /// <exception cref="RpcException">The worker's reason.</exception>
    public async Task<StepResult> RunStepAsync(StepPlan plan, CancellationToken cancellation)
    {
        AsyncDuplexStreamingCall<StepPlan, StepResult> run = _run ?? throw new InvalidOperationException("The step stream is not open.");
        await run.RequestStream.WriteAsync(plan, cancellation);
        try
        {
            return await _results!.ReadAsync(cancellation);
        }
        catch (ChannelClosedException closed) when (closed.InnerException is RpcException fault)
        {
            ExceptionDispatchInfo.Throw(fault);
            throw;
        }
    }

    /// <summary>Wakes everything that waits inside the worker for a lost peer; a worker that cannot be reached is left alone.</summary>
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

    public void Dispose()
    {
        _run?.Dispose(); // ends the reading too
        _channel.Dispose();
    }

    private static async Task<string> ReadResultsAsync(IAsyncStreamReader<StepResult> stream, ChannelWriter<StepResult> results)
    {
        RpcException end = new(new Status(StatusCode.Unavailable, "the worker closed its step stream"));
        try
        {
            while (await stream.MoveNext(CancellationToken.None))
                results.TryWrite(stream.Current);
        }
        catch (RpcException fault)
        {
            end = fault;
        }
        finally
        {
            results.TryComplete(end); // whatever happened: nobody waits for a result that cannot come
        }
        return end.Status.Detail;
    }

    private static GrpcChannel Connect(string address)
    {
        SocketsHttpHandler handler = new() { EnableMultipleHttp2Connections = false, ConnectTimeout = TimeSpan.FromSeconds(5) };
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
            new() { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = 256 << 20, MaxSendMessageSize = 64 << 20 };
    }
}
