using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;

namespace TpServe.Benchmarks;

/// <summary>A server process of this build with its workers, as a user starts it.</summary>
internal sealed class ServedModel : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromMinutes(5), AnswerTimeout = TimeSpan.FromMinutes(10);
    private readonly Process _server;

    private ServedModel(Process server, HttpClient http)
    {
        _server = server;
        Http = http;
    }

    /// <summary>Talks to it.</summary>
    public HttpClient Http { get; }

    /// <summary>The gateway's program in this build.</summary>
    /// <exception cref="FileNotFoundException">It has not been built.</exception>
    public static string Program(string repository)
    {
        string program = Path.Combine(repository, "src", "Gateway", "bin", "Release", "net10.0", "TpServe.Gateway.dll");
        return File.Exists(program) ? program : throw new FileNotFoundException("The server is not built: `dotnet build src/Gateway -c Release`.", program);
    }

    /// <summary>Starts the gateway's program with these arguments and waits until it is ready.</summary>
    /// <exception cref="InvalidOperationException">It ended, or was not ready in time.</exception>
    public static Task<ServedModel> StartAsync(string program, params string[] arguments) => StartAsync(program, [], arguments);

    /// <summary>As above, with variables that its workers get too. It listens on ports that are free.</summary>
    /// <exception cref="InvalidOperationException">It ended, or was not ready in time.</exception>
    public static async Task<ServedModel> StartAsync(string program, IReadOnlyList<(string Name, string Value)> environment, params string[] arguments)
    {
        (string http, string grpc) = FreeAddresses();
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true };
        foreach (string argument in (string[])[program, .. arguments, "--http", http, "--grpc", grpc, "--log-level", "error"])
            start.ArgumentList.Add(argument);
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        Process server = Process.Start(start)!;
        server.OutputDataReceived += (_, _) => { };
        server.BeginOutputReadLine();
        ServedModel served = new(server, new HttpClient { BaseAddress = new Uri($"http://{http}"), Timeout = AnswerTimeout });
        try
        {
            await served.WaitReadyAsync();
            return served;
        }
        catch
        {
            await served.DisposeAsync();
            throw;
        }
    }

    /// <summary>Streams a greedy completion that goes on to its last token.</summary>
    /// <param name="prompt">Token ids.</param>
    /// <param name="tokens">To generate.</param>
    /// <param name="guesses">Most tokens guessed ahead.</param>
    /// <param name="came">Told the count after each event.</param>
    /// <param name="cancellation">Ends it early.</param>
    public async Task<TokenStream> StreamAsync(int[] prompt, int tokens, int guesses = 0, Action<int>? came = null, CancellationToken cancellation = default)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new { prompt, max_tokens = tokens, temperature = 0, ignore_eos = true, stream = true, return_token_ids = true, draft_tokens = guesses, cache_bypass = true }),
        };
        TokenStream stream = new(Now(), [], []);
        using HttpResponseMessage answer = await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        answer.EnsureSuccessStatusCode();
        using StreamReader lines = new(await answer.Content.ReadAsStreamAsync(cancellation));
        while (await lines.ReadLineAsync(cancellation) is { } line)
        {
            if (!line.StartsWith("data: {", StringComparison.Ordinal))
                continue;
            using JsonDocument chunk = JsonDocument.Parse(line.AsMemory(6));
            foreach (JsonElement choice in chunk.RootElement.GetProperty("choices").EnumerateArray())
                if (choice.TryGetProperty("token_ids", out JsonElement ids) && ids.ValueKind == JsonValueKind.Array && ids.GetArrayLength() > 0)
                {
                    stream.Tokens.AddRange(ids.EnumerateArray().Select(id => id.GetInt32()));
                    stream.Times.AddRange(Enumerable.Repeat(Now(), ids.GetArrayLength()));
                    came?.Invoke(stream.Tokens.Count);
                }
        }
        return stream;

        static double Now() => Stopwatch.GetElapsedTime(0).TotalSeconds;
    }

    /// <summary>Ends it as Ctrl-C does.</summary>
    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        if (!_server.HasExited)
        {
            using Process stop = Process.Start("kill", _server.Id.ToString(CultureInfo.InvariantCulture));
            await stop.WaitForExitAsync();
        }
        await _server.WaitForExitAsync();
        _server.Dispose();
    }

    private static (string Http, string Grpc) FreeAddresses()
    {
        using TcpListener first = new(IPAddress.Loopback, 0), second = new(IPAddress.Loopback, 0);
        first.Start();
        second.Start();
        return (first.LocalEndpoint.ToString()!, second.LocalEndpoint.ToString()!);
    }

    private async Task WaitReadyAsync()
    {
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start) < StartTimeout)
        {
            if (_server.HasExited)
                throw new InvalidOperationException($"The server ended with exit code {_server.ExitCode}.");
            try
            {
                using HttpResponseMessage answer = await Http.GetAsync(new Uri("/health/ready", UriKind.Relative));
                if (answer.IsSuccessStatusCode)
                    return;
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }
            await Task.Delay(50);
        }
        throw new InvalidOperationException($"The server was not ready within {StartTimeout.TotalMinutes:F0} minutes.");
    }
}

/// <summary>A completion as it came, in seconds of one clock.</summary>
/// <param name="Start">When it was asked for.</param>
/// <param name="Times">When each token came.</param>
/// <param name="Tokens">Their ids.</param>
internal sealed record TokenStream(double Start, List<double> Times, List<int> Tokens);
