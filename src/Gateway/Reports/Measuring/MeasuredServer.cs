using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using TpServe.Gateway.Commands;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>A group could not be measured; says why. The report goes on with the others.</summary>
internal sealed class MeasurementException(string message) : Exception(message);

/// <summary>A server of the report's own: the program that runs here, with its workers, on loopback ports that were free.</summary>
/// <remarks>
/// It reads its standard input and ends when that closes, as its workers end with it: whatever ends this process ends them all.
/// Errors   MeasurementException where it does not start, or is not ready in time; what it printed last is in it.
/// </remarks>
internal sealed class MeasuredServer : IAsyncDisposable
{
    private const int Tries = 3, TailLines = 12;
    private static readonly string[] s_open = ["--keys", "", "--server-cert", "", "--server-key", "", "--client-ca", ""]; // it is nobody else's, whatever the environment says of servers
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(50), s_end = TimeSpan.FromSeconds(8), s_killed = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly Queue<string> _tail = new();

    private MeasuredServer(Process process, string http, string grpc)
    {
        _process = process;
        Http = new Uri($"http://{http}");
        Grpc = new Uri($"http://{grpc}");
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
    }

    /// <summary>Its process.</summary>
    public int Id => _process.Id;

    /// <summary>Where it speaks gRPC.</summary>
    public Uri Grpc { get; }

    /// <summary>From its start until it was ready.</summary>
    public TimeSpan ReadyAfter { get; private set; }

    private Uri Http { get; }

    private string Tail
    {
        get
        {
            lock (_tail)
                return string.Join(" | ", _tail);
        }
    }

    /// <summary>Starts one with these flags of serve and waits until it is ready.</summary>
    public static async Task<MeasuredServer> StartAsync(IReadOnlyList<string> flags, TimeSpan timeout, CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            MeasuredServer server = Launch(flags);
            try
            {
                await server.WaitReadyAsync(timeout, cancellation);
                return server;
            }
            catch (MeasurementException) when (attempt < Tries && server.Tail.Contains("cannot be listened on", StringComparison.Ordinal))
            {
                await server.DisposeAsync(); // somebody else took a port between the look and the start
            }
            catch
            {
                await server.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>Ends it: closes its input, gives it time, then kills it and what it started.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The pipe is broken because the process has ended.
        }
        using CancellationTokenSource patience = new(s_end);
        try
        {
            await _process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit(s_killed);
        }
        _process.Dispose();
    }

    private static MeasuredServer Launch(IReadOnlyList<string> flags)
    {
        (string http, string grpc) = FreeAddresses();
        string program = Environment.ProcessPath ?? "dotnet";
        ProcessStartInfo start = new(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
            start.ArgumentList.Add(typeof(MeasuredServer).Assembly.Location);
        foreach (string argument in (string[])[ReportCommand.ServerName, .. flags, "--http", http, "--grpc", grpc, "--log-level", "error", "--resume-window", "0", .. s_open])
            start.ArgumentList.Add(argument);
        Process process = Process.Start(start) ?? throw new MeasurementException($"{program} does not start.");
        MeasuredServer server = new(process, http, grpc);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return server;
    }

    private async Task WaitReadyAsync(TimeSpan timeout, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        using HttpClient http = new(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = Http, Timeout = TimeSpan.FromSeconds(5) };
        using PeriodicTimer pause = new(s_poll);
        while (Stopwatch.GetElapsedTime(start) < timeout)
        {
            if (_process.HasExited)
            {
                _process.WaitForExit(s_killed); // its last lines come with this
                throw new MeasurementException($"the server ended at its start: {Tail}");
            }
            try
            {
                using HttpResponseMessage answer = await http.GetAsync(new Uri("/health/ready", UriKind.Relative), cancellation);
                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    ReadyAfter = Stopwatch.GetElapsedTime(start);
                    return;
                }
            }
            catch (Exception fault) when (fault is HttpRequestException or TaskCanceledException && !cancellation.IsCancellationRequested)
            {
                // It does not listen yet.
            }
            await pause.WaitForNextTickAsync(cancellation);
        }
        throw new MeasurementException(string.Create(CultureInfo.InvariantCulture, $"the server was not ready within {timeout.TotalSeconds:0} s: {Tail}"));
    }

    private static (string Http, string Grpc) FreeAddresses()
    {
        using TcpListener first = new(IPAddress.Loopback, 0), second = new(IPAddress.Loopback, 0);
        first.Start();
        second.Start();
        return (first.LocalEndpoint.ToString()!, second.LocalEndpoint.ToString()!);
    }

    private void Keep(string? line)
    {
        if (string.IsNullOrWhiteSpace(line))
            return;
        lock (_tail)
        {
            _tail.Enqueue(line.Trim());
            if (_tail.Count > TailLines)
                _tail.Dequeue();
        }
    }
}
