using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using TpServe.Protos.V1;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>Two hundred streams at once, half over server-sent events and half over gRPC: each has the tokens that it has alone, in order, once.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class LoadTests
{
    private const int Streams = 200, Seqs = 256;

    // The gateway's own: 200 streams with their connections, and what its collector has not yet taken back.
    private const long MostBytesMore = 256 << 20;

    private static readonly string[] s_subjects = ["the sea", "a tensor", "Paris", "old maps", "rain", "seven hills", "a clock", "the night train", "salt", "a small dog"];

    private ServerProcess _server = null!;
    private GrpcChannel _channel = null!;

    private static string Prompt(int stream) => string.Create(CultureInfo.InvariantCulture, $"Story {stream % 40}, of {s_subjects[stream % s_subjects.Length]}:");

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _server = await ServerProcess.StartAsync("--tp", "2", "--max-running", Seqs.ToString(CultureInfo.InvariantCulture), "--max-model-len", "2048", "--kv-cache", "100000");
        _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{_server.GrpcPort.ToString(CultureInfo.InvariantCulture)}", new GrpcChannelOptions { HttpHandler = new SocketsHttpHandler { EnableMultipleHttp2Connections = true } });
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
    }

    [Test, CancelAfter(60_000)]
    public Task Streams_200AtOnce_AreWhatEachIsAlone(CancellationToken cancellation) => CompareAsync(5, 20, cancellation);

    [Test, Explicit("two minutes; the test above has fewer tokens"), CancelAfter(300_000)]
    public Task Streams_200AtOnceOf64Tokens_AreWhatEachIsAlone(CancellationToken cancellation) => CompareAsync(64, Streams, cancellation);

    private async Task CompareAsync(int tokens, int alone, CancellationToken cancellation)
    {
        // 1. Alone, one after the other.
        string[] expected = new string[alone];
        for (int stream = 0; stream < alone; stream++)
            expected[stream] = await EventsAsync(stream, tokens, cancellation);

        // 2. All at once.
        long before = Processes.ResidentBytes(_server.Id), most = 0;
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task watching = WatchAsync();
        long began = Stopwatch.GetTimestamp();
        string[] together = await Task.WhenAll(Enumerable.Range(0, Streams).Select(stream => stream % 2 == 0 ? EventsAsync(stream, tokens, cancellation) : MessagesAsync(stream, tokens, cancellation)));
        TimeSpan time = Stopwatch.GetElapsedTime(began);
        await over.CancelAsync();
        await watching;
        TestContext.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{Streams} streams of {tokens} tokens: {Streams * tokens / time.TotalSeconds:F0} tokens/s; gateway {before >> 20} MiB before, at most {most >> 20} MiB"));

        // 3. None is lost, reordered or doubled (the readers fail where a number is missing or comes twice), and each has its own tokens.
        for (int stream = 0; stream < alone; stream++)
            Assert.That(together[stream], Is.EqualTo(expected[stream]), $"stream {stream}");
        Assert.That(together.Distinct().Count(), Is.GreaterThan(Streams / 2), "the streams differ from each other, so a mix-up would show");
        Assert.That(most - before, Is.LessThan(MostBytesMore));
        await ServerProcess.UntilAsync(() => Load().GetProperty("used_blocks").GetInt32() == 0, TimeSpan.FromSeconds(10), "blocks are held by nobody's streams");

        async Task WatchAsync()
        {
            using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
            try
            {
                while (await pause.WaitForNextTickAsync(over.Token))
                    most = Math.Max(most, Processes.ResidentBytes(_server.Id));
            }
            catch (OperationCanceledException)
            {
                most = Math.Max(most, Processes.ResidentBytes(_server.Id));
            }
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Clients_ThatLeaveOrReadNothing_HoldNoBlocksAndSlowNobody(CancellationToken cancellation)
    {
        const int Leaving = 20;
        string alone = await EventsAsync(1000, 40, cancellation);

        // 1. Some ask for much and read nothing, some leave in the middle.
        List<Socket> deaf = [];
        for (int i = 0; i < 5; i++)
            deaf.Add(await AskAndReadNothingAsync(i, cancellation));
        using CancellationTokenSource leave = new();
        Task[] leaving = [.. Enumerable.Range(0, Leaving).Select(stream => EventsAsync(2000 + stream, 1500, leave.Token))];
        await ServerProcess.UntilAsync(() => Load().GetProperty("running_sequences").GetInt32() >= Leaving, TimeSpan.FromSeconds(30), "they do not run");
        await leave.CancelAsync();
        foreach (Task one in leaving)
            Assert.That(async () => await one, Throws.InstanceOf<OperationCanceledException>());

        // 2. What held blocks for those who left is gone within a few steps: the news of it has to come, too.
        await ServerProcess.UntilAsync(() => Load().GetProperty("running_sequences").GetInt32() <= deaf.Count, TimeSpan.FromSeconds(5), "those who left are computed for");

        // 3. Beside those who read nothing, another has what it has alone.
        Assert.That(await EventsAsync(1000, 40, cancellation), Is.EqualTo(alone));
        deaf.ForEach(socket => socket.Dispose());
        await ServerProcess.UntilAsync(() => Load() is var load && load.GetProperty("running_sequences").GetInt32() == 0 && load.GetProperty("used_blocks").GetInt32() == 0, TimeSpan.FromSeconds(20), "something is held for those who are gone");
    }

    private JsonElement Load()
    {
        using HttpResponseMessage answer = _server.Http.Send(new HttpRequestMessage(HttpMethod.Get, "/load"));
        using JsonDocument load = JsonDocument.Parse(answer.Content.ReadAsStream());
        return load.RootElement.Clone();
    }

    private async Task<Socket> AskAndReadNothingAsync(int stream, CancellationToken cancellation)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await socket.ConnectAsync("127.0.0.1", _server.HttpPort, cancellation);
        string body = JsonSerializer.Serialize(new { prompt = Prompt(3000 + stream), max_tokens = 1500, ignore_eos = true, stream = true, logprobs = 5 });
        await socket.SendAsync(Encoding.ASCII.GetBytes($"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body.Length.ToString(CultureInfo.InvariantCulture)}\r\n\r\n{body}"), cancellation);
        return socket;
    }

    /// <summary>A stream over HTTP: its token ids and logprobs; fails where an event's number is not the next one.</summary>
    private async Task<string> EventsAsync(int stream, int tokens, CancellationToken cancellation)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri("/v1/completions", UriKind.Relative))
        {
            Content = JsonContent.Create(new { prompt = Prompt(stream), max_tokens = tokens, temperature = 0.8, seed = 1 + stream, ignore_eos = true, stream = true, return_token_ids = true, logprobs = 0 }),
        };
        using HttpResponseMessage answer = await _server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        answer.EnsureSuccessStatusCode();
        using StreamReader lines = new(await answer.Content.ReadAsStreamAsync(cancellation));
        StringBuilder seen = new();
        int events = 0, count = 0;
        bool done = false;
        while (await lines.ReadLineAsync(cancellation) is { } line)
        {
            if (line.StartsWith("id: ", StringComparison.Ordinal))
                Assert.That(line[(line.LastIndexOf(':') + 1)..], Is.EqualTo((++events).ToString(CultureInfo.InvariantCulture)), $"stream {stream}");
            if (line == "data: [DONE]")
                done = true;
            if (!line.StartsWith("data: {", StringComparison.Ordinal))
                continue;
            using JsonDocument chunk = JsonDocument.Parse(line.AsMemory(6));
            foreach (JsonElement choice in chunk.RootElement.GetProperty("choices").EnumerateArray())
                if (choice.TryGetProperty("token_ids", out JsonElement ids) && ids.ValueKind == JsonValueKind.Array && ids.GetArrayLength() > 0)
                {
                    count += ids.GetArrayLength();
                    foreach ((JsonElement id, JsonElement logprob) in ids.EnumerateArray().Zip(choice.GetProperty("logprobs").GetProperty("token_logprobs").EnumerateArray()))
                        Append(seen, id.GetInt32(), logprob.GetSingle());
                }
        }
        Assert.That((done, count), Is.EqualTo((true, tokens)), $"stream {stream}");
        return seen.ToString();
    }

    /// <summary>The same over gRPC.</summary>
    private async Task<string> MessagesAsync(int stream, int tokens, CancellationToken cancellation)
    {
        using AsyncServerStreamingCall<GenerateEvent> call = new Inference.InferenceClient(_channel).GenerateStream(
            new GenerateRequest
            {
                Text = Prompt(stream),
                Sampling = new SamplingOptions { Temperature = 0.8f, Seed = (ulong)(1 + stream) },
                Stopping = new StoppingOptions { MaxTokens = tokens, IgnoreEos = true },
                Response = new ResponseOptions { Logprobs = true },
            },
            cancellationToken: cancellation);
        StringBuilder seen = new();
        ulong events = 0;
        int count = 0, ends = 0;
        while (await call.ResponseStream.MoveNext(cancellation))
        {
            GenerateEvent happened = call.ResponseStream.Current;
            Assert.That(happened.Seq, Is.EqualTo(++events), $"stream {stream}");
            if (happened.EventCase == GenerateEvent.EventOneofCase.Finished)
                ends++;
            if (happened.EventCase != GenerateEvent.EventOneofCase.Delta)
                continue;
            count += happened.Delta.Tokens.Count;
            foreach (TokenInfo token in happened.Delta.Tokens)
                Append(seen, token.Id, token.Logprob);
        }
        Assert.That((ends, count), Is.EqualTo((1, tokens)), $"stream {stream}");
        return seen.ToString();
    }

    private static void Append(StringBuilder seen, int id, float logprob) => seen.Append(CultureInfo.InvariantCulture, $"{id}:{BitConverter.SingleToInt32Bits(logprob):x} ");
}
