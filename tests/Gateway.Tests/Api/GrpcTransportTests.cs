using System.Net;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using Grpc.Net.Client.Web;
using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>How gRPC messages travel: gRPC-Web for browsers, compressed, under deadlines.</summary>
public sealed class GrpcTransportTests
{
    private static GenerateRequest Text(string text, int maxTokens = 8) => new() { Text = text, Stopping = new StoppingOptions { MaxTokens = maxTokens } };

    private static GrpcChannel WebChannel(ApiFixture api, GrpcWebMode mode, Recorder recorder) => GrpcChannel.ForAddress(
        api.Http.BaseAddress!, new GrpcChannelOptions { HttpHandler = new GrpcWebHandler(mode, recorder), HttpVersion = HttpVersion.Version11, HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact });

    [Test]
    public async Task GrpcWeb_OverTheHttpPort_AnswersStreamsAndFails([Values] GrpcWebMode mode)
    {
        await using ApiFixture api = await ApiFixture.StartAsync("Hello!");
        Recorder recorder = new();
        using GrpcChannel channel = WebChannel(api, mode, recorder);
        Inference.InferenceClient inference = new(channel);
        Assert.That((await inference.GenerateAsync(Text("a"))).Outputs.Single().Text, Is.EqualTo("Hello!"));
        using AsyncServerStreamingCall<GenerateEvent> stream = inference.GenerateStream(Text("a"));
        string text = "";
        await foreach (GenerateEvent happened in stream.ResponseStream.ReadAllAsync())
            text += happened.Delta?.Text;
        Assert.That(text, Is.EqualTo("Hello!"));
        Assert.That(recorder.Versions, Has.Count.EqualTo(2).And.All.EqualTo(HttpVersion.Version11));
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await inference.GenerateAsync(new GenerateRequest { Text = "a", Model = "other" }));
        Assert.That((refused!.StatusCode, refused.GetRpcStatus()!.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.NotFound, "MODEL_NOT_FOUND")));
        Control.ControlClient control = new(channel);
        Assert.That((await control.GetServerInfoAsync(new GetServerInfoRequest())).Model, Is.EqualTo("test-model"));
    }

    [Test]
    public async Task GrpcWeb_MalformedMessageAndTimeout_AreToldAsOverHttp2()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using GrpcChannel channel = WebChannel(api, GrpcWebMode.GrpcWeb, new Recorder());
        Marshaller<byte[]> raw = Marshallers.Create<byte[]>(bytes => bytes, bytes => bytes);
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await channel.CreateCallInvoker().AsyncUnaryCall(
            new Method<byte[], byte[]>(MethodType.Unary, "tpserve.v1.Inference", "Generate", raw, raw), null, default, [0x1A, 0x7F, 0x61]));
        Assert.That(refused!.StatusCode, Is.EqualTo(StatusCode.InvalidArgument), refused.Status.Detail);
        Inference.InferenceClient inference = new(channel);
        RpcException? large = await Assert.ThrowsAsync<RpcException>(async () => await inference.GenerateAsync(Text(new string('a', 5 << 20))));
        Assert.That(large!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
    }

    [Test]
    public async Task GrpcWeb_PageOfAnotherOrigin_MayCallAndReadTheStatus()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { CorsOrigins = ["https://page.example"] });
        using HttpRequestMessage preflight = new(HttpMethod.Options, "/tpserve.v1.Inference/Generate");
        preflight.Headers.Add("Origin", "https://page.example");
        preflight.Headers.Add("Access-Control-Request-Method", "POST");
        preflight.Headers.Add("Access-Control-Request-Headers", "content-type,x-grpc-web,x-user-agent,grpc-timeout");
        using HttpResponseMessage allowed = await api.Http.SendAsync(preflight);
        Assert.That(allowed.Headers.GetValues("Access-Control-Allow-Origin"), Is.EqualTo(new[] { "https://page.example" }));
        Assert.That(string.Join(',', allowed.Headers.GetValues("Access-Control-Allow-Headers")), Does.Contain("x-grpc-web"));

        using HttpRequestMessage call = new(HttpMethod.Post, "/tpserve.v1.Control/GetServerInfo") { Content = new ByteArrayContent([0, 0, 0, 0, 0]) };
        call.Content.Headers.ContentType = new("application/grpc-web+proto");
        call.Headers.Add("Origin", "https://page.example");
        using HttpResponseMessage answer = await api.Http.SendAsync(call);
        Assert.That(answer.Content.Headers.ContentType!.MediaType, Is.EqualTo("application/grpc-web"));
        string exposed = string.Join(',', answer.Headers.GetValues("Access-Control-Expose-Headers"));
        foreach (string header in new[] { "grpc-status", "grpc-message", "grpc-status-details-bin" })
            Assert.That(exposed, Does.Contain(header));
        byte[] body = await answer.Content.ReadAsByteArrayAsync();
        Assert.That(System.Text.Encoding.ASCII.GetString(body), Does.Contain("grpc-status: 0"));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task CompressedRequest_GetsACompressedAnswer(bool compresses)
    {
        await using ApiFixture api = await ApiFixture.StartAsync("Hello!");
        Recorder recorder = new(new SocketsHttpHandler());
        using GrpcChannel channel = GrpcChannel.ForAddress(api.Channel.Target.StartsWith("http", StringComparison.Ordinal) ? api.Channel.Target : $"http://{api.Channel.Target}", new GrpcChannelOptions { HttpHandler = recorder });
        Metadata headers = [];
        if (compresses)
            headers.Add("grpc-internal-encoding-request", "gzip"); // how this client is told to compress
        Inference.InferenceClient inference = new(channel);
        GenerateRequest request = Text(new string('a', 100), 8);
        request.Response = new ResponseOptions { TokenIds = true, PromptLogprobs = 5 };
        GenerateResponse answer = await inference.GenerateAsync(request, headers);
        Assert.That(answer.Outputs.Single().Text, Is.EqualTo("Hello!"));
        Assert.That(recorder.RequestFlags.Single(), Is.EqualTo(compresses ? 1 : 0), "the request's flag");
        Assert.That(recorder.AnswerFlags.Single(), Is.EqualTo(compresses ? 1 : 0), "the answer's flag");
        using AsyncServerStreamingCall<GenerateEvent> stream = inference.GenerateStream(Text("a"), headers);
        string text = "";
        await foreach (GenerateEvent happened in stream.ResponseStream.ReadAllAsync())
            text += happened.Delta?.Text;
        Assert.That(text, Is.EqualTo("Hello!"));
    }

    [Test]
    public async Task CompressedRequest_ThatInflatesBeyondTheLimit_IsRefused()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        Metadata headers = new() { { "grpc-internal-encoding-request", "gzip" } };
        RpcException? refused = await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.GenerateAsync(Text(new string('a', 64 << 20)), headers));
        Assert.That((refused!.StatusCode, refused.GetRpcStatus()?.GetDetail<ErrorInfo>().Reason), Is.EqualTo((StatusCode.ResourceExhausted, "MESSAGE_TOO_LARGE")), refused.Status.Detail);
    }

    [Test]
    public async Task Deadline_OfARunningAndOfAQueuedCall_EndsBothAndFreesTheirBlocks([Values] bool streams)
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: ApiFixture.Settings with { MaxSequences = 1 });
        Task<StatusCode> running = CallAsync(api, streams);
        await group.StepBeganAsync();
        Task<StatusCode> queued = CallAsync(api, streams);
        Assert.That(() => api.Engine.Load().WaitingSequences, Is.EqualTo(1).After(10_000, 10));
        Assert.That(api.Engine.Load().UsedBlocks, Is.Positive);
        Assert.That(await Task.WhenAll(running, queued), Is.All.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That(() => (api.Engine.Load().UsedBlocks, api.Engine.Load().RunningSequences, api.Engine.Load().WaitingSequences), Is.EqualTo((0, 0, 0)).After(10_000, 10));
    }

    private static async Task<StatusCode> CallAsync(ApiFixture api, bool streams)
    {
        DateTime deadline = DateTime.UtcNow.AddSeconds(2);
        try
        {
            if (!streams)
                await api.Inference.GenerateAsync(Text("a prompt"), deadline: deadline);
            else
                using (AsyncServerStreamingCall<GenerateEvent> call = api.Inference.GenerateStream(Text("a prompt"), deadline: deadline))
                    while (await call.ResponseStream.MoveNext())
                    {
                    }
            return StatusCode.OK;
        }
        catch (RpcException failed)
        {
            return failed.StatusCode;
        }
    }

    /// <summary>Sees the calls as they cross the wire; the first byte of a message says whether it is compressed.</summary>
    private sealed class Recorder(HttpMessageHandler? inner = null) : DelegatingHandler(inner ?? new SocketsHttpHandler())
    {
        public List<Version> Versions { get; } = [];

        public List<int> RequestFlags { get; } = [];

        public List<int> AnswerFlags { get; } = [];

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            bool unary = request.RequestUri!.AbsolutePath.EndsWith("/Generate", StringComparison.Ordinal) && request.Content!.Headers.ContentType!.MediaType == "application/grpc";
            if (unary)
            {
                using MemoryStream sent = new();
                await request.Content!.CopyToAsync(sent, cancellationToken);
                RequestFlags.Add(sent.ToArray()[0]);
                ByteArrayContent again = new(sent.ToArray());
                again.Headers.ContentType = request.Content.Headers.ContentType;
                request.Content = again;
            }
            HttpResponseMessage response = await base.SendAsync(request, cancellationToken);
            Versions.Add(response.Version);
            if (unary)
            {
                byte[] body = await response.Content.ReadAsByteArrayAsync(cancellationToken);
                AnswerFlags.Add(body.Length > 0 ? body[0] : -1);
            }
            return response;
        }
    }
}
