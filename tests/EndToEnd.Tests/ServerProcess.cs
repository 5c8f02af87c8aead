using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>A real gateway process with its workers, as a user starts it, on ports of its own.</summary>
/// <remarks>Every wait is bounded. Disposal ends the server and fails where a worker process or a shared-memory segment outlives it.</remarks>
internal sealed class ServerProcess : IAsyncDisposable
{
    public static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);
    public static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(20);

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _errors = new();

    private ServerProcess(Process process, int httpPort, int grpcPort)
    {
        _process = process;
        HttpPort = httpPort;
        GrpcPort = grpcPort;
        Http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{httpPort}"), Timeout = TimeSpan.FromMinutes(3) };
        process.OutputDataReceived += (_, line) => Keep(_output, line.Data);
        process.ErrorDataReceived += (_, line) => Keep(_errors, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public int HttpPort { get; }

    public int GrpcPort { get; }

    public HttpClient Http { get; }

    public int Id => _process.Id;

    public string Output => Read(_output);

    public string Errors => Read(_errors);

    /// <summary>Starts the gateway with the given flags and waits until it is ready.</summary>
    public static Task<ServerProcess> StartAsync(params string[] flags) => StartAsync([], flags);

    /// <summary>As above, with these variables in its environment.</summary>
    public static async Task<ServerProcess> StartAsync(Dictionary<string, string> environment, string[] flags)
    {
        ServerProcess server = Launch(environment, flags);
        try
        {
            await server.WaitReadyAsync();
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts the gateway and waits for nothing.</summary>
    public static ServerProcess Launch(params string[] flags) => Launch([], flags);

    private static ServerProcess Launch(Dictionary<string, string> environment, string[] flags)
    {
        int http = Processes.FreePort(), grpc = Processes.FreePort();
        List<string> arguments = ["--grpc", $"127.0.0.1:{grpc}", .. flags];
        if (!flags.Contains("--http"))
            arguments.AddRange(["--http", $"127.0.0.1:{http}"]);
        // A test's figures are of one split, whatever else this machine does; those that are about the choice say so.
        if (!flags.Contains("--partition"))
            arguments.AddRange(["--partition", "even"]);
        if (!flags.Contains("--profile-cache"))
            arguments.AddRange(["--profile-cache", "off"]);
        return Launch(arguments, http, grpc, environment);
    }

    /// <summary>Starts another of the gateway's commands and waits for nothing; ports that it looks at are free.</summary>
    public static ServerProcess LaunchCommand(string command, params string[] flags)
    {
        int http = Processes.FreePort(), grpc = Processes.FreePort();
        return Launch([command, "--http", $"127.0.0.1:{http}", "--grpc", $"127.0.0.1:{grpc}", .. flags], http, grpc, []);
    }

    private static ServerProcess Launch(List<string> arguments, int http, int grpc, Dictionary<string, string> environment)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Processes.Program("Gateway"));
        arguments.ForEach(start.ArgumentList.Add);
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        return new ServerProcess(Process.Start(start)!, http, grpc);
    }

    /// <summary>What /topology tells.</summary>
    public async Task<JsonElement> TopologyAsync()
    {
        using JsonDocument topology = JsonDocument.Parse(await Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        return topology.RootElement.Clone();
    }

    /// <summary>Polls /health/ready until it says yes.</summary>
    /// <exception cref="InvalidOperationException">The process ended, or was not ready in time.</exception>
    public async Task WaitReadyAsync()
    {
        using CancellationTokenSource deadline = new(StartTimeout);
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
        do
        {
            if (_process.HasExited)
                throw new InvalidOperationException($"The server ended with code {_process.ExitCode}: {Errors} {Output}");
            try
            {
                using HttpResponseMessage answer = await Http.GetAsync(new Uri("/health/ready", UriKind.Relative), deadline.Token);
                if (answer.StatusCode == HttpStatusCode.OK)
                    return;
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }
            catch (OperationCanceledException)
            {
                break;
            }
        }
        while (!deadline.IsCancellationRequested && await pause.WaitForNextTickAsync(CancellationToken.None));
        throw new InvalidOperationException($"The server was not ready within {StartTimeout.TotalSeconds:F0} s: {Errors} {Output}");
    }

    /// <summary>Waits for the process to end; its exit code.</summary>
    public async Task<int> WaitForExitAsync(TimeSpan timeout)
    {
        using CancellationTokenSource deadline = new(timeout);
        await _process.WaitForExitAsync(deadline.Token);
        return _process.ExitCode;
    }

    /// <summary>Process ids of its workers.</summary>
    public async Task<int[]> WorkerIdsAsync()
    {
        using JsonDocument topology = JsonDocument.Parse(await Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
        return [.. topology.RootElement.GetProperty("ranks").EnumerateArray().Select(rank => rank.GetProperty("pid").GetInt32())];
    }

    /// <summary>POSTs JSON and returns the parsed answer; fails on a status other than 200.</summary>
    public async Task<JsonElement> PostAsync(string path, object body)
    {
        using HttpResponseMessage answer = await Http.PostAsJsonAsync(new Uri(path, UriKind.Relative), body);
        string text = await answer.Content.ReadAsStringAsync();
        if (answer.StatusCode != HttpStatusCode.OK)
            throw new HttpRequestException($"{path}: {(int)answer.StatusCode} {text}", null, answer.StatusCode);
        using JsonDocument document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    }

    public void Kill() => _process.Kill();

    /// <summary>Sends SIGTERM.</summary>
    public void Terminate() => Signal(_process.Id, "TERM");

    /// <inheritdoc cref="Processes.Signal"/>
    public static void Signal(int pid, string name) => Processes.Signal(pid, name);

    /// <inheritdoc cref="Processes.IsRunning"/>
    public static bool IsRunning(int pid) => Processes.IsRunning(pid);

    /// <summary>Segments of this gateway that still have a name.</summary>
    public string[] Segments() =>
        Directory.Exists("/dev/shm") ? Directory.GetFiles("/dev/shm", $"tpserve-{Id.ToString(CultureInfo.InvariantCulture)}-*") : [];

    public async ValueTask DisposeAsync()
    {
        int[] workers = Children();
        if (!_process.HasExited)
        {
            Terminate();
            try
            {
                await WaitForExitAsync(StopTimeout);
            }
            catch (OperationCanceledException)
            {
                _process.Kill(entireProcessTree: true);
                throw new InvalidOperationException($"The server did not stop within {StopTimeout.TotalSeconds:F0} s. {Output}");
            }
        }
        try
        {
            await UntilAsync(() => !workers.Any(IsRunning), TimeSpan.FromSeconds(20), "a worker outlived its gateway");
            if (Segments() is { Length: > 0 } left)
                throw new InvalidOperationException($"shared memory was left behind: {string.Join(", ", left)}");
        }
        finally
        {
            Http.Dispose();
            _process.Dispose();
        }
    }

    /// <summary>Waits until something holds; fails at the deadline.</summary>
    public static async Task UntilAsync(Func<bool> holds, TimeSpan timeout, string otherwise)
    {
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        long start = Stopwatch.GetTimestamp();
        while (!holds())
        {
            if (Stopwatch.GetElapsedTime(start) > timeout)
                throw new InvalidOperationException($"after {timeout.TotalSeconds:F0} s: {otherwise}");
            await pause.WaitForNextTickAsync();
        }
    }

    /// <summary>Ids of the gateway's child processes.</summary>
    public int[] Children() => Processes.Children(Id);

    private static void Keep(StringBuilder text, string? line)
    {
        if (line is not null)
            lock (text)
                text.AppendLine(line);
    }

    private static string Read(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }
}
