using System.Diagnostics;
using System.Globalization;

namespace TpServe.Benchmarks;

/// <summary>A server process of this build with its workers, as a user starts it.</summary>
internal sealed class ServedModel : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromMinutes(5);
    private readonly Process _server;

    private ServedModel(Process server, HttpClient http)
    {
        _server = server;
        Http = http;
    }

    /// <summary>Talks to it.</summary>
    public HttpClient Http { get; }

    /// <summary>Starts the gateway's program with these arguments and waits until it is ready.</summary>
    /// <exception cref="InvalidOperationException">It ended, or was not ready in time.</exception>
    public static async Task<ServedModel> StartAsync(string program, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true };
        foreach (string argument in (string[])[program, .. arguments, "--http", "127.0.0.1:18080", "--grpc", "127.0.0.1:18081", "--log-level", "error"])
            start.ArgumentList.Add(argument);
        Process server = Process.Start(start)!;
        server.OutputDataReceived += (_, _) => { };
        server.BeginOutputReadLine();
        ServedModel served = new(server, new HttpClient { BaseAddress = new Uri("http://127.0.0.1:18080"), Timeout = TimeSpan.FromMinutes(5) });
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
