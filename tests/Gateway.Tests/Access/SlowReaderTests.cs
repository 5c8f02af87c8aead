using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Access;

/// <summary>Who asks for a stream and reads nothing of it is ended, over both interfaces, while others go on step by step; nothing is held for it afterwards.</summary>
[CancelAfter(60_000)]
public sealed class SlowReaderTests
{
    private const int Tokens = 6000;

    // The time stated in docs/SECURITY.md, shortened.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(0.5);

    private FakeWorkerGroup _group = null!;
    private ApiFixture _api = null!;
    private CancellationTokenSource _over = null!;
    private Task _steps = Task.CompletedTask;

    [SetUp]
    public async Task StartAsync()
    {
        _group = new FakeWorkerGroup(kvBlocks: 16384) { Manual = true, NextToken = (_, tokens) => 'a' + (tokens.Count % 20) };
        _api = await ApiFixture.StartAsync(
            group: _group, settings: ApiFixture.Settings with { MaxModelLen = 8192, ReaderPatience = s_patience });
        _over = new CancellationTokenSource();
        _steps = StepAsync(_over.Token);
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _over.CancelAsync();
        await _steps;
        _over.Dispose();
        await _api.DisposeAsync();
    }

    [Test]
    public async Task EventStream_ThatNobodyReads_IsEnded(CancellationToken cancellation)
    {
        using Socket deaf = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await deaf.ConnectAsync(IPAddress.Loopback, _api.Http.BaseAddress!.Port, cancellation);
        string body = JsonSerializer.Serialize(new { prompt = "a", max_tokens = Tokens, n = 8, stream = true, ignore_eos = true, logprobs = 20 });
        await deaf.SendAsync(Encoding.ASCII.GetBytes($"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n{body}"), cancellation);
        await EndsAsync(8, cancellation);
    }

    [Test]
    public async Task Call_ThatNobodyReads_IsEnded(CancellationToken cancellation)
    {
        using AsyncServerStreamingCall<GenerateEvent> deaf = _api.Inference.GenerateStream(
            new GenerateRequest
            {
                Text = "a",
                Sampling = new SamplingOptions { N = 8 },
                Stopping = new StoppingOptions { MaxTokens = Tokens, IgnoreEos = true },
                Response = new ResponseOptions { Logprobs = true, TopLogprobs = 20 },
            },
            cancellationToken: cancellation);
        await EndsAsync(8, cancellation);
    }

    /// <summary>Reads another's stream until the deaf one's sequences are gone, which is before their tokens have come to an end.</summary>
    private async Task EndsAsync(int sequences, CancellationToken cancellation)
    {
        Assert.That(() => _api.Engine.Load().RunningSequences, Is.EqualTo(sequences).After(10_000, 5));
        using HttpResponseMessage answer = await _api.SendAsync(
            "/v1/completions", """{"prompt":"b","max_tokens":8000,"stream":true,"ignore_eos":true}""", cancellation);
        using StreamReader lines = new(await answer.Content.ReadAsStreamAsync(cancellation));
        int read = 0;
        while (_api.Engine.Load().RunningSequences > 1)
        {
            string? line = await lines.ReadLineAsync(cancellation);
            Assert.That(line, Is.Not.Null.And.Not.StartsWith("data: [DONE]"), "the other has come to its end, and the one that nobody reads runs on");
            read += line!.StartsWith("data: {", StringComparison.Ordinal) ? 1 : 0;
        }
        Assert.That((read, _api.Engine.Load().RunningSequences), Is.GreaterThan((0, 0)), "the other goes on");
        Assert.That(_api.Engine.Load().GeneratedTokens - read, Is.LessThan((long)Tokens * sequences), "it was ended, and did not come to its end");
    }

    // As fast as a small model: the scripted one would be done before anybody is found to read nothing.
    private async Task StepAsync(CancellationToken over)
    {
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(1));
        try
        {
            while (await pause.WaitForNextTickAsync(over))
                _group.Allow();
        }
        catch (OperationCanceledException)
        {
            // The test has ended.
        }
    }
}
