using System.Diagnostics;
using System.Globalization;
using TpServe.Testing;

namespace TpServe.Chaos.Servers;

/// <summary>A process of TpServe and what it prints.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private const int TailLines = 60;
    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(45); // more than the gateway takes to drain

    private readonly Process _process;
    private readonly Queue<string> _tail = new();
    private readonly StreamWriter? _log;

    /// <summary>Starts a program of the repository.</summary>
    /// <param name="room">Gateway or Worker.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">Variables that it has beside this process's.</param>
    /// <param name="prefix">A command that runs it, with arguments; empty = none.</param>
    /// <param name="logFile">Where what it prints is appended; null = nowhere.</param>
    public ServerProcess(
        string room, IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, IReadOnlyList<string> prefix, string? logFile)
    {
        string[] command = [.. prefix, "dotnet", Processes.Program(room), .. arguments];
        ProcessStartInfo start = new(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        if (logFile is not null)
            _log = new StreamWriter(logFile, append: true) { AutoFlush = true };
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        AppDomain.CurrentDomain.ProcessExit += KillAtExit;
    }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>The last lines it printed.</summary>
    public string Tail
    {
        get
        {
            lock (_tail)
                return string.Join(Environment.NewLine, _tail);
        }
    }

    /// <summary>Sends a signal by name.</summary>
    public void Signal(string name) => Processes.Signal(Id, name);

    /// <summary>Kills it, and sweeps after it: the runtime of a killed process leaves the files by which it could be asked how it does.</summary>
    /// <param name="temporary">Its temporary folder.</param>
    public void Kill(string temporary)
    {
        Signal("KILL");
        _process.WaitForExit();
        foreach (string left in Directory.GetFiles(temporary, string.Create(CultureInfo.InvariantCulture, $"*-{Id}-*")))
            File.Delete(left);
    }

    /// <summary>Asks it to stop: its exit code; null where it had to be killed.</summary>
    public async Task<int?> StopAsync()
    {
        Signal("TERM");
        using CancellationTokenSource deadline = new(s_stopTimeout);
        try
        {
            await _process.WaitForExitAsync(deadline.Token);
            return _process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            _process.Kill(entireProcessTree: true);
            return null;
        }
    }

    public async ValueTask DisposeAsync()
    {
        AppDomain.CurrentDomain.ProcessExit -= KillAtExit;
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }
        _process.Dispose();
        if (_log is not null)
            await _log.DisposeAsync();
    }

    private void KillAtExit(object? sender, EventArgs end)
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        lock (_tail)
        {
            _tail.Enqueue(line);
            if (_tail.Count > TailLines)
                _tail.Dequeue();
            _log?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {line}"));
        }
    }
}
