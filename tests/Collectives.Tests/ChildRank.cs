using System.Diagnostics;
using System.Globalization;

namespace TpServe.Collectives.Tests;

/// <summary>A rank in a process of its own (<see cref="Program"/>); killed when disposed.</summary>
internal sealed class ChildRank : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly Process _process;

    public ChildRank(string transport, string place, int rank, int degree, TimeSpan timeout, long epoch)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])["exec", typeof(ChildRank).Assembly.Location, transport, place, Text(rank), Text(degree), Text((long)timeout.TotalMilliseconds), Text(epoch)])
            start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;

        static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The next line the child prints.</summary>
    public string? ReadLine() => _process.StandardOutput.ReadLineAsync().WaitAsync(s_patience).GetAwaiter().GetResult();

    /// <summary>A line for the child.</summary>
    public void WriteLine(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    /// <summary>SIGKILL: the child gets to do nothing more.</summary>
    public void Kill()
    {
        _process.Kill();
        Assert.That(_process.WaitForExit(s_patience), Is.True);
    }

    /// <summary>How the child ended by itself.</summary>
    public int WaitForExit()
    {
        Assert.That(_process.WaitForExit(s_patience), Is.True, "the child hangs");
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.WaitForExit(s_patience);
        _process.Dispose();
    }
}
