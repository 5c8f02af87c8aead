using System.Diagnostics;
using System.Text;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Network.Tests;

/// <summary>One of the two programs, started by hand on a host of a test; it ends with the test.</summary>
internal sealed class RunningProgram : IAsyncDisposable
{
    private static readonly TimeSpan s_end = TimeSpan.FromSeconds(20);
    private readonly Process _process;
    private readonly StringBuilder _output = new();

    private RunningProgram(Process process)
    {
        _process = process;
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    /// <summary>What it has printed so far, errors too.</summary>
    public string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    /// <summary>Whether it has ended.</summary>
    public bool HasExited => _process.HasExited;

    /// <summary>Starts a program of the repository.</summary>
    /// <param name="host">On which host; null = this one.</param>
    /// <param name="room">Gateway or Worker.</param>
    /// <param name="arguments">Its arguments.</param>
    public static RunningProgram Start(VirtualHost? host, string room, params string[] arguments)
    {
        string[] line = [.. host?.Prefix ?? [], "dotnet", Processes.Program(room), .. arguments];
        return new RunningProgram(Process.Start(new ProcessStartInfo(line[0], line[1..]) { RedirectStandardOutput = true, RedirectStandardError = true })!);
    }

    /// <summary>Ends them all, whatever becomes of one, and empties the list; then says what failed. Where the test has failed, what they said is printed.</summary>
    public static async Task EndAllAsync(List<RunningProgram> programs)
    {
        if (TestContext.CurrentContext.Result.FailCount > 0)
            foreach (RunningProgram program in programs)
                await TestContext.Out.WriteLineAsync(program.Output);
        List<Exception> faults = [];
        foreach (RunningProgram program in programs)
            try
            {
                await program.DisposeAsync();
            }
            catch (Exception fault) // the others must end all the same
            {
                faults.Add(fault);
            }
        programs.Clear();
        if (faults.Count > 0)
            throw new AggregateException(faults);
    }

    /// <summary>Waits for its end; the exit code.</summary>
    public async Task<int> EndAsync(TimeSpan patience)
    {
        try
        {
            await _process.WaitForExitAsync().WaitAsync(patience);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"it runs after {patience.TotalSeconds:F0} s: {Output}");
        }
        return _process.ExitCode;
    }

    /// <summary>Ends it at once.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await EndAsync(s_end);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            await KillAsync();
        _process.Dispose();
    }

    private void Keep(string? line)
    {
        if (line is not null)
            lock (_output)
                _output.AppendLine(line);
    }
}
