using System.Net;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>A gRPC server on a real socket whose answers a test scripts, call by call.</summary>
internal sealed class FakeServer : Inference.InferenceBase, IAsyncDisposable
{
    private WebApplication? _app;

    /// <summary>Answers Chat and Generate; the number of the call counts from 1.</summary>
    public Func<int, ChatRequest, GenerateResponse> Answers { get; set; } = (_, _) => Response();

    /// <summary>Writes a stream; the number of the call, begun or resumed, counts from 1.</summary>
    public Func<StreamCall, Task> Streams { get; set; } = _ => Task.CompletedTask;

    public Func<EmbedRequest, EmbedResponse> Embeds { get; set; } = _ => new EmbedResponse();

    /// <summary>What Chat was asked.</summary>
    public List<ChatRequest> Chats { get; } = [];

    public List<EmbedRequest> Embedded { get; } = [];

    /// <summary>Every streaming call: begun (after_seq absent) or resumed.</summary>
    public List<StreamCall> Calls { get; } = [];

    /// <summary>Headers of the last call.</summary>
    public Metadata Headers { get; private set; } = [];

    public string Address => _app!.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    public static async Task<FakeServer> StartAsync()
    {
        FakeServer server = new();
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddSingleton(server);
        builder.Services.AddGrpc();
        server._app = builder.Build();
        server._app.MapGrpcService<FakeServer>();
        await server._app.StartAsync();
        return server;
    }

    /// <summary>A client of it whose waits are as short as they can be.</summary>
    public TpServeClient Client(Action<TpServeClientOptions>? set = null) => new(Options(Address, set));

    public static TpServeClientOptions Options(string address, Action<TpServeClientOptions>? set = null)
    {
        TpServeClientOptions options = new()
        {
            Address = new Uri(address),
            FirstBackoff = TimeSpan.FromMilliseconds(1),
            MaxBackoff = TimeSpan.FromMilliseconds(2),
            Deadline = TimeSpan.FromSeconds(30),
        };
        set?.Invoke(options);
        return options;
    }

    public static GenerateResponse Response(params Output[] outputs) => new()
    {
        Started = new Started { RequestId = "req-1", Model = "fake" },
        Usage = new Usage { PromptTokens = 5, CompletionTokens = 7, CachedTokens = 3 },
        Outputs = { outputs.Length > 0 ? outputs : [new Output { Text = "Hello", Finished = new Finished { Reason = FinishReason.Stop } }] },
    };

    /// <summary>A failure with the details that the server gives.</summary>
    public static RpcException Fault(StatusCode status, string reason, TimeSpan? retryAfter = null, string? field = null, string? limit = null)
    {
        ErrorInfo info = new() { Reason = reason, Domain = "tpserve" };
        if (field is not null)
            info.Metadata.Add("field", field);
        if (limit is not null)
            info.Metadata.Add("limit", limit);
        Google.Rpc.Status details = new() { Code = (int)status, Message = $"It is {reason}.", Details = { Any.Pack(info) } };
        if (retryAfter is { } delay)
            details.Details.Add(Any.Pack(new RetryInfo { RetryDelay = Duration.FromTimeSpan(delay) }));
        return details.ToRpcException();
    }

    public override Task<GenerateResponse> Chat(ChatRequest request, ServerCallContext context)
    {
        Headers = context.RequestHeaders;
        Chats.Add(request);
        return Task.FromResult(Answers(Chats.Count, request));
    }

    public override Task<GenerateResponse> Generate(GenerateRequest request, ServerCallContext context) =>
        Chat(new ChatRequest { Model = request.Model, Messages = { new ChatMessage { Content = request.Text } } }, context);

    public override Task ChatStream(ChatRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context)
    {
        Headers = context.RequestHeaders;
        lock (Chats)
            Chats.Add(request);
        return WriteAsync(new StreamCall(Calls.Count + 1, request.RequestId, null, responseStream, context));
    }

    public override Task GenerateStream(GenerateRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context) =>
        WriteAsync(new StreamCall(Calls.Count + 1, request.RequestId, null, responseStream, context));

    public override Task ResumeStream(ResumeStreamRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context) =>
        WriteAsync(new StreamCall(Calls.Count + 1, request.RequestId, request.AfterSeq, responseStream, context));

    public override Task<EmbedResponse> Embed(EmbedRequest request, ServerCallContext context)
    {
        Embedded.Add(request);
        return Task.FromResult(Embeds(request));
    }

    public async ValueTask DisposeAsync()
    {
        if (_app is { } app)
        {
            _app = null; // the container disposes this as well
            await app.StopAsync();
            await app.DisposeAsync();
        }
    }

    private Task WriteAsync(StreamCall call)
    {
        lock (Calls)
            Calls.Add(call);
        return Streams(call);
    }
}

/// <summary>One streaming call as the server has it.</summary>
internal sealed record StreamCall(int Number, string RequestId, ulong? After, IServerStreamWriter<GenerateEvent> Events, ServerCallContext Context)
{
    /// <summary>Writes "a", "b", … as deltas with the given seq; 1 is Started.</summary>
    public async Task WriteAsync(ulong from, ulong to)
    {
        for (ulong seq = from; seq <= to; seq++)
            await Events.WriteAsync(seq == 1
                ? new GenerateEvent { Seq = 1, Started = new Started { RequestId = RequestId, Model = "fake" } }
                : new GenerateEvent { Seq = seq, Delta = new Delta { Text = Letter(seq) } });
    }

    public Task FinishAsync(ulong seq) => Events.WriteAsync(new GenerateEvent { Seq = seq, Finished = new Finished { Reason = FinishReason.Stop } });

    /// <summary>The stream breaks as it does when the connection is lost.</summary>
    public void Cut() => Context.GetHttpContext().Abort();

    public static string Letter(ulong seq) => ((char)('a' + (int)seq - 2)).ToString();
}
