using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using TpServe.Testing;

namespace TpServe.Chaos;

/// <summary>A network and a /dev/shm that belong to this run alone: Linux namespaces, made by unshare(1), that end with the last process in them.</summary>
/// <remarks>Nothing outside can be reached from it or is changed by it: what listens in it is as private as loopback.</remarks>
internal static class Sandbox
{
    /// <summary>Tells the program that it runs inside.</summary>
    public const string InsideFlag = "--inside";

    private const int SharedMemoryMebibytes = 64;

    // An ordinary user may only where the kernel grants namespaces of users; root needs none.
    private static string[] Flags => Environment.UserName == "root" ? ["--net", "--mount"] : ["--user", "--map-root-user", "--net", "--mount"];

    /// <summary>Why there can be none here; null where there can.</summary>
    public static string? Refusal()
    {
        if (!OperatingSystem.IsLinux())
            return "only Linux has namespaces";
        try
        {
            return TryRun("unshare", [.. Flags, "sh", "-c", "ip link set lo up && ip link add chaos type bridge && mount -t tmpfs none /dev/shm && nsenter --version"]);
        }
        catch (System.ComponentModel.Win32Exception fault)
        {
            return fault.Message;
        }
    }

    /// <summary>Runs this program inside; its exit code. Ctrl-C reaches it as a wish to end, and its servers not at all: they are of another session.</summary>
    public static async Task<int> RunInsideAsync(IEnumerable<string> args)
    {
        using Process inside = Process.Start(new ProcessStartInfo("setsid", ["unshare", .. Flags, .. Self, .. args, InsideFlag]))!;
        using PosixSignalRegistration interrupt = PassOn(PosixSignal.SIGINT), terminate = PassOn(PosixSignal.SIGTERM);
        await inside.WaitForExitAsync();
        return inside.ExitCode;

        PosixSignalRegistration PassOn(PosixSignal signal) => PosixSignalRegistration.Create(signal, asked =>
        {
            asked.Cancel = true;
            Processes.Signal(inside.Id, "TERM");
        });
    }

    /// <summary>Inside: loopback, and an empty /dev/shm that is small enough to fill.</summary>
    public static async Task FurnishAsync()
    {
        await RunAsync("ip", "link", "set", "lo", "up");
        await RunAsync("mount", "-t", "tmpfs", "-o", string.Create(CultureInfo.InvariantCulture, $"size={SharedMemoryMebibytes}m"), "none", "/dev/shm");
    }

    /// <summary>Runs a command of the system to its end.</summary>
    /// <exception cref="InvalidOperationException">It failed; says what it printed.</exception>
    public static async Task RunAsync(string command, params string[] args)
    {
        if (await Task.Run(() => TryRun(command, args)) is { } reason)
            throw new InvalidOperationException(reason);
    }

    /// <summary>Runs a command of the system to its end; it may fail.</summary>
    public static Task TryRunAsync(string command, params string[] args) => Task.Run(() => TryRun(command, args));

    private static string[] Self => [Environment.ProcessPath!, .. Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [typeof(Sandbox).Assembly.Location] : Array.Empty<string>()];

    private static string? TryRun(string command, string[] args)
    {
        using Process process = Process.Start(new ProcessStartInfo(command, args) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        string errors = process.StandardError.ReadToEnd().Trim();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : $"{command}: {(errors.Length > 0 ? errors.ReplaceLineEndings(" ") : $"exit code {process.ExitCode}")}";
    }
}
