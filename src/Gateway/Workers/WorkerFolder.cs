using System.Globalization;
using System.Text;

namespace TpServe.Gateway.Workers;

/// <summary>The folder in which local workers make their sockets: short enough for a socket's name, this gateway's alone, and swept when its owner has died.</summary>
/// <remarks>
/// Whoever owns a folder holds a lock on a file in it, which the kernel drops with the process: process ids mean nothing to a gateway that is number 1 in each
/// of its containers. Only what a gateway puts into such a folder is ever deleted.
/// </remarks>
internal sealed class WorkerFolder : IDisposable
{
    private const string FirstWord = "tpserve-";
    private const string NoFolder = "there is no folder for the workers' sockets: ";
    private const string LockName = "lock";
    private const string SocketFirst = "w";
    private const int LongestSocketPath = 107; // sun_path holds 108 bytes, the last one 0
    private const int LongestSocketName = 12;
    private const int MostAttempts = 10;

    private readonly FileStream _lock;
    private long _sockets;

    private WorkerFolder(string path, FileStream held)
    {
        Path = path;
        _lock = held;
    }

    /// <summary>Where it lies.</summary>
    public string Path { get; }

    /// <summary>Makes a folder under the first of the given ones in which that can be done; first sweeps what dead gateways have left there.</summary>
    /// <param name="roots">Where to try, in order of preference.</param>
    /// <exception cref="WorkerStartException">None will do; names each with its reason.</exception>
    public static WorkerFolder Create(params ReadOnlySpan<string> roots)
    {
        List<string> reasons = [];
        foreach (string root in roots)
        {
            try
            {
                Sweep(root);
                if (Make(root) is { } made)
                    return made;
                reasons.Add($"'{root}' is too long for the name of a Unix socket, which holds {LongestSocketPath} bytes");
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                reasons.Add(fault.Message);
            }
        }
        throw new WorkerStartException(NoFolder + string.Join("; ", reasons));
    }

    /// <summary>Where local workers' sockets may go, in order of preference.</summary>
    public static string[] Roots => [System.IO.Path.GetTempPath(), "/tmp", "/dev/shm"];

    /// <summary>Why no folder can be made under a root; null where one can.</summary>
    public static string? Fault(string root)
    {
        try
        {
            using WorkerFolder made = Create(root);
            return null;
        }
        catch (WorkerStartException fault)
        {
            return fault.Message[NoFolder.Length..];
        }
    }

    /// <summary>The path of a socket that no worker before had.</summary>
    public string NewSocket() => System.IO.Path.Combine(Path, string.Create(CultureInfo.InvariantCulture, $"{SocketFirst}{Interlocked.Increment(ref _sockets)}"));

    /// <summary>Deletes the folder and what workers have left in it.</summary>
    public void Dispose()
    {
        try
        {
            Empty(Path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // Somebody else has tidied up, or will: nothing in it is of use to anyone.
        }
        _lock.Dispose();
    }

    /// <summary>What the sockets are called by which a debugger finds a process: its id and the tick of the clock at which it began.</summary>
    private static string ProcessName()
    {
        const int StartField = 21; // of /proc/self/stat, 0-based; the name in field 1 may hold blanks and ends with the last bracket
        string? stat = File.Exists("/proc/self/stat") ? File.ReadAllText("/proc/self/stat") : null;
        string start = stat is null ? "0" : stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[StartField - 2];
        return string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}-{start}");
    }

    /// <summary>Deletes what the runtime of a gateway that was killed has left in the temporary folder.</summary>
    private static void SweepRuntime(string process)
    {
        if (process.Length is 0 or > 64 || !process.All(letter => char.IsAsciiDigit(letter) || letter == '-'))
            return;
        foreach (string name in new[] { $"dotnet-diagnostic-{process}-socket", $"clr-debug-pipe-{process}-in", $"clr-debug-pipe-{process}-out" })
            File.Delete(System.IO.Path.Combine(System.IO.Path.GetTempPath(), name));
    }

    private static WorkerFolder? Make(string root)
    {
        for (int attempt = 1; ; attempt++)
        {
            string path = System.IO.Path.Combine(root, FirstWord + System.IO.Path.GetRandomFileName().Replace(".", "", StringComparison.Ordinal));
            if (Encoding.UTF8.GetByteCount(path) + 1 + LongestSocketName > LongestSocketPath)
                return null;
            if (OperatingSystem.IsWindows())
                Directory.CreateDirectory(path);
            else
                Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            string file = System.IO.Path.Combine(path, LockName);
            try
            {
                FileStream held = new(file, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                if (File.Exists(file))
                {
                    held.Write(Encoding.UTF8.GetBytes(ProcessName()));
                    held.Flush();
                    return new WorkerFolder(path, held);
                }
                held.Dispose(); // swept between making and locking it
            }
            catch (IOException) when (attempt < MostAttempts && !File.Exists(file))
            {
                // As above.
            }
        }
    }

    private static void Sweep(string root)
    {
        foreach (string path in Directory.EnumerateDirectories(root, FirstWord + "*"))
        {
            try
            {
                using FileStream alone = new(System.IO.Path.Combine(path, LockName), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                using StreamReader owner = new(alone);
                SweepRuntime(owner.ReadToEnd());
                Empty(path);
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                // In use, another user's, or no folder of a gateway.
            }
        }
    }

    private static void Empty(string path)
    {
        foreach (string socket in Directory.EnumerateFiles(path, SocketFirst + "*"))
            File.Delete(socket);
        File.Delete(System.IO.Path.Combine(path, LockName));
        Directory.Delete(path);
    }
}
