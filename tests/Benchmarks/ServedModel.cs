using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;

namespace TpServe.Benchmarks;

/// <summary>A server process of this build with its workers, as a user starts it.</summary>
internal sealed class ServedModel : IAsyncDisposable, IDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromMinutes(5), AnswerTimeout = TimeSpan.FromMinutes(10);
    private readonly Process _server;

    private readonly ConcurrentDictionary<string, TaskCompletionSource<double>> _said = new();

    private ServedModel(Process server, double started, HttpClient http, Action<string> told)
    {
        _server = server;
        Started = started;
        Http = http;
        server.OutputDataReceived += (_, line) =>
        {
            if (line.Data is not { Length: > 0 } text)
                return;
            told(text);
            Said(text.Split(' ')[0]).TrySetResult(Now());
        };
        server.BeginOutputReadLine();
    }

    /// <summary>Its process.</summary>
    public int Id => _server.Id;

    /// <summary>When its process was started, by <see cref="Now"/>.</summary>
    public double Started { get; }

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
        ServedModel served = Launch(program, environment, arguments, _ => { });
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

    /// <summary>Starts the gateway's program, a library or an executable, and waits for nothing.</summary>
    /// <param name="program">The program.</param>
    /// <param name="arguments">Its flags.</param>
    /// <param name="told">Given every line it prints, on any thread.</param>
    public static ServedModel Launch(string program, IReadOnlyList<string> arguments, Action<string> told) => Launch(program, [], arguments, told);

    /// <summary>Seconds of the clock that all times here are of.</summary>
    public static double Now() => Stopwatch.GetElapsedTime(0).TotalSeconds;

    /// <summary>When it printed a line that begins with this word.</summary>
    /// <exception cref="InvalidOperationException">It ended first.</exception>
    public async Task<double> SaidAsync(string word)
    {
        Task<double> said = Said(word).Task;
        if (await Task.WhenAny(said, _server.WaitForExitAsync()).WaitAsync(StartTimeout) != said)
            throw new InvalidOperationException($"The server ended with exit code {_server.ExitCode}.");
        return await said;
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
    }

    /// <summary>Ends it as Ctrl-C does, and waits for its end.</summary>
    public async Task StopAsync()
    {
        if (!_server.HasExited)
        {
            using Process stop = Process.Start("kill", _server.Id.ToString(CultureInfo.InvariantCulture));
            await stop.WaitForExitAsync();
        }
        await _server.WaitForExitAsync();
    }

    /// <inheritdoc cref="StopAsync"/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Dispose();
    }

    /// <summary>Lets go of a server that has ended.</summary>
    public void Dispose()
    {
        Http.Dispose();
        _server.Dispose();
    }

    private static ServedModel Launch(string program, IReadOnlyList<(string Name, string Value)> environment, IReadOnlyList<string> arguments, Action<string> told)
    {
        (string http, string grpc) = FreeAddresses();
        bool isLibrary = program.EndsWith(".dll", StringComparison.Ordinal);
        ProcessStartInfo start = new(isLibrary ? "dotnet" : program) { RedirectStandardOutput = true };
        if (isLibrary)
            start.ArgumentList.Add(program);
        foreach (string argument in (string[])[.. arguments, "--http", http, "--grpc", grpc, .. arguments.Contains("--log-level") ? (string[])[] : ["--log-level", "error"]])
            start.ArgumentList.Add(argument);
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        double started = Now();
        return new ServedModel(Process.Start(start)!, started, new HttpClient { BaseAddress = new Uri($"http://{http}"), Timeout = AnswerTimeout }, told);
    }

    private TaskCompletionSource<double> Said(string word) => _said.GetOrAdd(word, _ => new TaskCompletionSource<double>(TaskCreationOptions.RunContinuationsAsynchronously));

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
