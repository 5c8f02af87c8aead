using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Api;

namespace TpServe.Gateway.Tests.Access;

/// <summary>The limits on connections, from outside, byte by byte: what is just within is served, what is just beyond is refused, and the next one is served.</summary>
[CancelAfter(60_000)]
public sealed class ConnectionLimitTests
{
    private const string Get = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n";

    // Kestrel looks at its timeouts once a second.
    private static readonly ConnectionLimits s_limits = new()
    {
        Connections = 8,
        Headers = 10,
        HeaderBytes = 4096,
        RequestLineBytes = 1024,
        HeaderTime = TimeSpan.FromSeconds(1),
        IdleTime = TimeSpan.FromSeconds(1),
        Grace = TimeSpan.FromSeconds(1.1),
        AnswerBytesPerSecond = 1 << 20,
        StreamsOfConnection = 4,
    };

    private ApiFixture _api = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _api = await ApiFixture.StartAsync(adjust: Limited(s_limits));

    [OneTimeTearDown]
    public async Task StopAsync() => await _api.DisposeAsync();

    [TearDown]
    public async Task StillServesAsync()
    {
        _api.Http.DefaultRequestHeaders.ConnectionClose = true;
        Assert.That((await _api.GetAsync("/health/live")).GetProperty("status").GetString(), Is.EqualTo("live"));
    }

    [TestCase(8, "200")] // Host, Connection and 8 more
    [TestCase(9, "431")]
    public async Task Headers_ByTheirNumber(int more, string status, CancellationToken cancellation) =>
        Assert.That(await AskAsync(Get + string.Concat(Enumerable.Range(0, more).Select(i => string.Create(CultureInfo.InvariantCulture, $"x-{i}: a\r\n"))) + "Connection: close\r\n\r\n", cancellation), Is.EqualTo(status));

    [TestCase(3900, "200")]
    [TestCase(4200, "431")]
    public async Task Headers_ByTheirBytes(int bytes, string status, CancellationToken cancellation) =>
        Assert.That(await AskAsync(Get + $"x: {new string('a', bytes)}\r\nConnection: close\r\n\r\n", cancellation), Is.EqualTo(status));

    [TestCase(990, "200")]
    [TestCase(1024, "414")]
    public async Task RequestLine_ByItsBytes(int bytes, string status, CancellationToken cancellation) =>
        Assert.That(await AskAsync($"GET /health/live?{new string('a', bytes - 20)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", cancellation), Is.EqualTo(status));

    [TestCase(0, "400")] // it is read, and no JSON
    [TestCase(1, "413")]
    public async Task Body_ByItsBytes(int beyond, string status, CancellationToken cancellation)
    {
        using Socket socket = await ConnectAsync(_api.Http.BaseAddress!, cancellation);
        int length = ApiFixture.Settings.Limits.BodyBytes + beyond;
        await SendAsync(socket, $"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n", cancellation);
        if (beyond == 0)
            await socket.SendAsync(new byte[length], cancellation);
        Assert.That(await StatusAsync(socket, cancellation), Is.EqualTo(status));
    }

    [Test]
    public async Task Headers_ThatDoNotCome_EndTheConnection(CancellationToken cancellation) => Assert.That(await AskAsync(Get, cancellation), Is.EqualTo("408"));

    [Test]
    public async Task Body_ThatDripsIn_EndsTheConnection(CancellationToken cancellation) => Assert.That(
        await AskAsync("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", cancellation), Is.EqualTo("408"));

    [Test]
    public async Task Connection_ThatLiesIdle_IsClosed(CancellationToken cancellation)
    {
        using Socket socket = await ConnectAsync(_api.Http.BaseAddress!, cancellation);
        await SendAsync(socket, Get + "\r\n", cancellation);
        Assert.That(await StatusAsync(socket, cancellation), Is.EqualTo("200"));
        Assert.That(await EndsAsync(socket, cancellation), Is.True);
    }

    [Test]
    public async Task Answers_ThatNobodyReads_EndTheConnection(CancellationToken cancellation)
    {
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveBufferSize = 4096 };
        await socket.ConnectAsync(IPAddress.Loopback, _api.Http.BaseAddress!.Port, cancellation);
        byte[] request = Encoding.Latin1.GetBytes("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"); // some 100 KB each
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        bool ended = false;
        while (!ended && await pause.WaitForNextTickAsync(cancellation))
            try
            {
                ended = await socket.SendAsync(request, cancellation) == 0;
            }
            catch (SocketException)
            {
                ended = true;
            }
        Assert.That(ended, Is.True);
    }

    [TestCase("\u0001\u0002 nonsense\r\n\r\n")]
    [TestCase("GET / HTTP/9.9\r\n\r\n")]
    [TestCase("GET /health/live HTTP/1.1\r\n\r\n")]
    [TestCase("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")]
    [TestCase("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")]
    [TestCase("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")]
    [TestCase("GET /health/live HTTP/1.1\r\nHost: localhost\r\nx : a\r\n\r\n")]
    public async Task Request_Malformed_IsRefused(string request, CancellationToken cancellation) => Assert.That(await AskAsync(request, cancellation), Is.EqualTo("400").Or.EqualTo("505"));

    [Test]
    public async Task Connections_BeyondTheirNumber_AreClosedUntilOneEnds(CancellationToken cancellation)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(adjust: Limited(s_limits with { Connections = 3, HeaderTime = TimeSpan.FromSeconds(30), IdleTime = TimeSpan.FromSeconds(30) }));
        List<Socket> held = [];
        for (int i = 0; i < 3; i++)
        {
            held.Add(await ConnectAsync(api.Http.BaseAddress!, cancellation));
            await SendAsync(held[i], Get + "\r\n", cancellation);
            Assert.That(await StatusAsync(held[i], cancellation), Is.EqualTo("200"));
        }
        using (Socket beyond = await ConnectAsync(api.Http.BaseAddress!, cancellation))
            Assert.That(await EndsAsync(beyond, cancellation), Is.True);
        held.ForEach(socket => socket.Dispose());
        Assert.That(async () => { using HttpResponseMessage next = await api.Http.GetAsync("/health/live", cancellation); return next.StatusCode; }, Is.EqualTo(HttpStatusCode.OK).After(10_000, 50));
    }

    [Test]
    public async Task Http2_StreamsResetAsFastAsTheyBegin_EndTheirConnectionAndNoOther(CancellationToken cancellation)
    {
        using Socket socket = await ConnectAsync(_api.GrpcAddress, cancellation);
        await SendAsync(socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cancellation);
        await socket.SendAsync(Frame(4, 0, 0, []), cancellation); // SETTINGS
        // POST http /tpserve.v1.Inference/Generate, content-type application/grpc: HPACK, literals of static names.
        byte[] headers = [0x83, 0x86, .. Literal(0x04, "/tpserve.v1.Inference/Generate"), .. Literal(0x01, "localhost"), .. LiteralNew("content-type", "application/grpc"), .. LiteralNew("te", "trailers")];
        bool ended = false;
        try
        {
            for (int stream = 1; stream < 20_000 && !ended; stream += 2)
                ended = await socket.SendAsync((byte[])[.. Frame(1, 4, stream, headers), .. Frame(3, 0, stream, [0, 0, 0, 8])], cancellation) == 0; // HEADERS, RST_STREAM
        }
        catch (SocketException)
        {
            ended = true;
        }
        Assert.That(ended || await EndsAsync(socket, cancellation), Is.True, "Kestrel says ENHANCE_YOUR_CALM");
        Assert.That(_api.Group.Plans, Is.Empty);
    }

    [Test]
    public async Task Http2_MalformedFrames_EndTheirConnection(CancellationToken cancellation)
    {
        foreach (byte[] frame in new[] { Frame(9, 0, 0, new byte[10]), Frame(1, 4, 2, [0x83]), Frame(0, 0, 1, [1]), Frame(4, 0, 1, []), (byte[])[0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1] })
        {
            using Socket socket = await ConnectAsync(_api.GrpcAddress, cancellation);
            await SendAsync(socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cancellation);
            await socket.SendAsync((byte[])[.. Frame(4, 0, 0, []), .. frame], cancellation);
            Assert.That(await EndsAsync(socket, cancellation), Is.True);
        }
    }

    private static Action<WebApplicationBuilder> Limited(ConnectionLimits limits) => builder => builder.WebHost.ConfigureKestrel(limits.Apply);

    private async Task<string> AskAsync(string request, CancellationToken cancellation)
    {
        using Socket socket = await ConnectAsync(_api.Http.BaseAddress!, cancellation);
        await SendAsync(socket, request, cancellation);
        return await StatusAsync(socket, cancellation);
    }

    private static async Task<Socket> ConnectAsync(Uri address, CancellationToken cancellation)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, address.Port, cancellation);
        return socket;
    }

    private static async Task SendAsync(Socket socket, string text, CancellationToken cancellation) => await socket.SendAsync(Encoding.Latin1.GetBytes(text), cancellation);

    /// <summary>The status in the answer's first line; empty where the connection ends without one.</summary>
    private static async Task<string> StatusAsync(Socket socket, CancellationToken cancellation)
    {
        byte[] answer = new byte[4096];
        int read = 0, now;
        try
        {
            while (!Encoding.Latin1.GetString(answer, 0, read).Contains("\r\n\r\n", StringComparison.Ordinal) && (now = await socket.ReceiveAsync(answer.AsMemory(read), cancellation)) > 0)
                read += now;
        }
        catch (SocketException)
        {
            // What came before the reset counts.
        }
        string text = Encoding.Latin1.GetString(answer, 0, read);
        return text.Length > 12 ? text[9..12] : "";
    }

    /// <summary>Reads until the other end closes.</summary>
    private static async Task<bool> EndsAsync(Socket socket, CancellationToken cancellation)
    {
        byte[] rest = new byte[4096];
        try
        {
            while (await socket.ReceiveAsync(rest, cancellation) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // Reset is closed.
        }
        return true;
    }

    private static byte[] Frame(byte type, byte flags, int stream, byte[] payload)
    {
        byte[] frame = new byte[9 + payload.Length];
        (frame[1], frame[2], frame[3], frame[4]) = ((byte)(payload.Length >> 8), (byte)payload.Length, type, flags);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), stream);
        payload.CopyTo(frame, 9);
        return frame;
    }

    private static byte[] Literal(byte index, string value) => [index, (byte)value.Length, .. Encoding.ASCII.GetBytes(value)];

    private static byte[] LiteralNew(string name, string value) => [0, (byte)name.Length, .. Encoding.ASCII.GetBytes(name), (byte)value.Length, .. Encoding.ASCII.GetBytes(value)];
}
