using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using TpServe.Client.Calls;
using TpServe.Protos.V1;

namespace TpServe.Client;

/// <summary>A TpServe server, over gRPC: every call of tpserve.v1 that applications make, in the proto's own messages.</summary>
/// <remarks>
/// Threads  any; one instance serves a whole application, over as many HTTP/2 connections as its streams need.
/// Errors   <see cref="TpServeException"/> where a call fails, <see cref="OperationCanceledException"/> where its caller cancels it.
/// Calls are begun again only where the server is unavailable or asks to come later (RetryInfo), never after a stream's first event; from there on a
/// lost connection is resumed. A timeout, or else the options' Deadline, bounds all attempts together, and reaches the server's scheduler.
/// </remarks>
public sealed class TpServeClient : IDisposable
{
    private readonly GrpcChannel? _channel;
    private readonly CallRunner _calls;
    private readonly Inference.InferenceClient _inference;
    private readonly Control.ControlClient _control;

    /// <summary>Connects, at the first call, to where the options say.</summary>
    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">The options are wrong.</exception>
    public TpServeClient(TpServeClientOptions options, ILoggerFactory? loggerFactory = null, TimeProvider? time = null)
        : this(Connect(options, loggerFactory), options, time)
    {
    }

    /// <summary>Connects, at the first call, to a gRPC address such as http://127.0.0.1:8081, with all defaults.</summary>
    public TpServeClient(string address)
        : this(new TpServeClientOptions { Address = new Uri(address) })
    {
    }

    /// <summary>Calls through a channel, or an invoker with interceptors, that the caller has made and keeps.</summary>
    public TpServeClient(CallInvoker invoker, TpServeClientOptions options, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(invoker);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Options = options;
        Time = time ?? TimeProvider.System;
        _calls = new CallRunner(options, Time, new Random());
        _inference = new Inference.InferenceClient(invoker);
        _control = new Control.ControlClient(invoker);
    }

    private TpServeClient(GrpcChannel channel, TpServeClientOptions options, TimeProvider? time)
        : this(channel.CreateCallInvoker(), options, time) => _channel = channel;

    /// <summary>How it was set up.</summary>
    public TpServeClientOptions Options { get; }

    internal TimeProvider Time { get; }

    /// <summary>Continues a prompt; answers once, when every output has finished.</summary>
    public Task<GenerateResponse> GenerateAsync(GenerateRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        GenerateRequest named = Named(request);
        return _calls.UnaryAsync(call => _inference.GenerateAsync(named, call), timeout, cancellationToken);
    }

    /// <summary>Continues a prompt; one Started, then Delta events, one Finished for each output. Each event comes once, also where the connection is lost between.</summary>
    public IAsyncEnumerable<GenerateEvent> GenerateStreamAsync(GenerateRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        GenerateRequest named = Named(request);
        return Stream(named.HasRequestId ? named.RequestId : null, (id, call) => _inference.GenerateStream(new GenerateRequest(named) { RequestId = id }, call))
            .ReadAsync(timeout, after: null, cancellationToken);
    }

    /// <summary>Answers a conversation, laid out by the model's chat template; answers once.</summary>
    public Task<GenerateResponse> ChatAsync(ChatRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ChatRequest named = Named(request);
        return _calls.UnaryAsync(call => _inference.ChatAsync(named, call), timeout, cancellationToken);
    }

    /// <summary>Answers a conversation as the events of <see cref="GenerateStreamAsync"/>.</summary>
    public IAsyncEnumerable<GenerateEvent> ChatStreamAsync(ChatRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ChatRequest named = Named(request);
        return Stream(named.HasRequestId ? named.RequestId : null, (id, call) => _inference.ChatStream(new ChatRequest(named) { RequestId = id }, call))
            .ReadAsync(timeout, after: null, cancellationToken);
    }

    /// <summary>Goes on with a stream that another client, or an earlier run of this one, began: the events after <paramref name="afterSeq"/>.</summary>
    public IAsyncEnumerable<GenerateEvent> ResumeStreamAsync(string requestId, ulong afterSeq, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        Stream(requestId, (id, call) => _inference.ResumeStream(new ResumeStreamRequest { RequestId = id, AfterSeq = afterSeq }, call)).ReadAsync(timeout, afterSeq, cancellationToken);

    /// <summary>Text, or a conversation laid out by the chat template, to token ids.</summary>
    public Task<TokenizeResponse> TokenizeAsync(TokenizeRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        TokenizeRequest named = Named(request, asked => asked.HasModel, (asked, model) => asked.Model = model);
        return _calls.UnaryAsync(call => _inference.TokenizeAsync(named, call), timeout, cancellationToken);
    }

    /// <summary>Token ids to text.</summary>
    public Task<DetokenizeResponse> DetokenizeAsync(DetokenizeRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        DetokenizeRequest named = Named(request, asked => asked.HasModel, (asked, model) => asked.Model = model);
        return _calls.UnaryAsync(call => _inference.DetokenizeAsync(named, call), timeout, cancellationToken);
    }

    /// <summary>Texts to vectors.</summary>
    public Task<EmbedResponse> EmbedAsync(EmbedRequest request, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        EmbedRequest named = Named(request, asked => asked.HasModel, (asked, model) => asked.Model = model);
        return _calls.UnaryAsync(call => _inference.EmbedAsync(named, call), timeout, cancellationToken);
    }

    /// <summary>The served models.</summary>
    public Task<ListModelsResponse> ListModelsAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        _calls.UnaryAsync(call => _control.ListModelsAsync(new ListModelsRequest(), call), timeout, cancellationToken);

    /// <summary>Version, limits and defaults of the server.</summary>
    public Task<GetServerInfoResponse> GetServerInfoAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        _calls.UnaryAsync(call => _control.GetServerInfoAsync(new GetServerInfoRequest(), call), timeout, cancellationToken);

    /// <summary>Ends a request by its name: its outputs finish with ABORTED.</summary>
    public Task<AbortResponse> AbortAsync(string requestId, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        _calls.UnaryAsync(call => _control.AbortAsync(new AbortRequest { RequestId = requestId }, call), timeout, cancellationToken);

    /// <summary>Closes the connections; streams still open end.</summary>
    public void Dispose() => _channel?.Dispose();

    private static GrpcChannel Connect(TpServeClientOptions options, ILoggerFactory? loggerFactory)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        SocketsHttpHandler handler = new()
        {
            EnableMultipleHttp2Connections = true, // a connection carries about a hundred streams
            KeepAlivePingDelay = options.KeepAlivePeriod,
            KeepAlivePingTimeout = options.KeepAliveTimeout,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests, // proxies close connections that ping for nothing
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            ConnectTimeout = options.ConnectTimeout,
        };
        return GrpcChannel.ForAddress(options.Address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = options.MaxMessageBytes,
            MaxSendMessageSize = options.MaxMessageBytes,
            LoggerFactory = loggerFactory,
        });
    }

    private ResumableStream Stream(string? name, Func<string, CallOptions, AsyncServerStreamingCall<GenerateEvent>> begin) => new(_calls, _inference, name, begin);

    /// <summary>A copy of the caller's request, with the model of the options where it names none.</summary>
    private T Named<T>(T request, Predicate<T> isNamed, Action<T, string> name)
        where T : class, IDeepCloneable<T>
    {
        ArgumentNullException.ThrowIfNull(request);
        T named = request.Clone();
        if (!isNamed(named) && Options.Model is { } model)
            name(named, model);
        return named;
    }

    private GenerateRequest Named(GenerateRequest request) => Named(request, asked => asked.HasModel, (asked, model) => asked.Model = model);

    private ChatRequest Named(ChatRequest request) => Named(request, asked => asked.HasModel, (asked, model) => asked.Model = model);
}
