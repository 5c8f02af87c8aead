using System.Diagnostics;
using System.Globalization;

namespace TpServe.Gateway.Workers;

/// <summary>A worker process on this host, started by and living for this gateway.</summary>
/// <remarks>
/// The worker reads its secret from standard input and ends when that pipe closes: so it cannot outlive the gateway, however the gateway dies.
/// Threads  safe; <see cref="Exited"/> completes once.
/// </remarks>
internal sealed class WorkerProcess : IAsyncDisposable
{
    private const int TailLines = 20;
    private static readonly TimeSpan GracePeriod = TimeSpan.FromSeconds(1);

    private readonly Process _process;
    private readonly Queue<string> _tail = new();
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private WorkerProcess(Process process, string address)
    {
        _process = process;
        Address = address;
        process.EnableRaisingEvents = true;
        process.Exited += (_, _) => _exited.TrySetResult(process.ExitCode);
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
    }

    /// <summary>Where it serves: unix:PATH.</summary>
    public string Address { get; }

    /// <summary>Process id.</summary>
    public int Id => _process.Id;

    /// <summary>Completes with the exit code.</summary>
    public Task<int> Exited => _exited.Task;

    /// <summary>The last lines it printed, for the message when it died.</summary>
    public string Tail
    {
        get
        {
            lock (_tail)
                return string.Join(" | ", _tail);
        }
    }

    /// <summary>Starts a worker that will listen on a Unix socket in <paramref name="folder"/>.</summary>
    /// <exception cref="WorkerStartException">The worker's program is missing or does not start.</exception>
    public static WorkerProcess Start(string folder, int rank, long epoch, string secret, string logLevel)
    {
        string socket = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"w{epoch}-{rank}"));
        ProcessStartInfo start = WorkerProgram.Find();
        start.ArgumentList.Add($"--Worker:Listen=unix:{socket}");
        start.ArgumentList.Add("--Worker:Supervised=true");
        start.ArgumentList.Add($"--Worker:LogLevel={logLevel}");
        start.RedirectStandardInput = true;
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.UseShellExecute = false;

        Process process = new() { StartInfo = start };
        WorkerProcess worker = new(process, "unix:" + socket);
        WorkerProgram.Start(process);
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
        File.Delete(Address["unix:".Length..]);
    }

    /// <summary>Kills it at once.</summary>
    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // It has ended already.
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
