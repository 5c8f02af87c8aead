using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace TpServe.Gateway.Workers;

/// <summary>A worker process on this host, started by and living for this gateway.</summary>
/// <remarks>
/// The worker reads its secret from standard input and ends when that pipe closes: so it cannot outlive the gateway, however the gateway dies.
/// Threads  safe; <see cref="Exited"/> completes once.
/// </remarks>
internal sealed class WorkerProcess : IWorkerProcess
{
    private const int TailLines = 20;
    private static readonly TimeSpan GracePeriod = TimeSpan.FromSeconds(1);

    private readonly Process _process;
    private readonly string _socket;
    private readonly Queue<string> _tail = new();
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _id;

    private WorkerProcess(Process process, string socket)
    {
        _process = process;
        _socket = socket;
        process.EnableRaisingEvents = true;
        process.Exited += (_, _) => _exited.TrySetResult(process.ExitCode);
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
    }

    /// <inheritdoc/>
    public int Id => _id;

    /// <inheritdoc/>
    public Task<int> Exited => _exited.Task;

    /// <inheritdoc/>
    public string Tail
    {
        get
        {
            lock (_tail)
                return string.Join(" | ", _tail);
        }
    }

    /// <summary>Starts a worker that will listen on a Unix socket.</summary>
    /// <exception cref="WorkerStartException">The worker's program is missing or does not start.</exception>
    public static WorkerProcess Start(string socket, string secret, string logLevel)
    {
        ProcessStartInfo start = WorkerProgram.Find();
        start.ArgumentList.Add($"--Worker:Listen=unix:{socket}");
        start.ArgumentList.Add("--Worker:Supervised=true");
        start.ArgumentList.Add($"--Worker:LogLevel={logLevel}");
        start.RedirectStandardInput = true;
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.UseShellExecute = false;

        Process process = new() { StartInfo = start };
        WorkerProcess worker = new(process, socket);
        WorkerProgram.Start(process);
        worker._id = process.Id;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            process.StandardInput.WriteLine(secret);
            process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // It died before it read; Exited tells, with what it printed.
        }
        return worker;
    }

    /// <summary>Ends it: closes its input, gives it a moment, then kills it.</summary>
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
        if (await Task.WhenAny(Exited, Task.Delay(GracePeriod)) != Exited)
        {
            Kill();
            await ((Task)Exited).WaitAsync(GracePeriod).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        _process.Dispose();
        Sweep();
    }

    /// <inheritdoc/>
    public void Kill()
    {
        try
        {
            _process.Kill();
        }
        catch (Exception fault) when (fault is InvalidOperationException or Win32Exception)
        {
            // It has ended already, or is ending.
        }
    }

    /// <summary>Deletes its socket, and those by which the runtime of a process can be asked how it does: a process that was killed leaves them.</summary>
    private void Sweep()
    {
        try
        {
            File.Delete(_socket);
            foreach (string kind in new[] { "dotnet-diagnostic", "clr-debug-pipe" })
                foreach (string left in Directory.EnumerateFiles(Path.GetTempPath(), string.Create(CultureInfo.InvariantCulture, $"{kind}-{_id}-*")))
                    File.Delete(left);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // Nobody needs them: whoever clears the folder will.
        }
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
