using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TpServe.Testing;

/// <summary>What tests ask Linux of processes, and do to those they started.</summary>
public static class Processes
{
    /// <summary>The folder into which a program of the repository was built, with the configuration of this assembly.</summary>
    public static string Program(string room)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        return Path.Combine(TestData.Repository, "src", room, "bin", configuration, "net10.0", $"TpServe.{room}.dll");
    }

    /// <summary>A TCP port that nobody listens on at this moment.</summary>
    public static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Sends a signal by name; nothing where the process has gone.</summary>
    public static void Signal(int pid, string name)
    {
        using Process kill = Process.Start(new ProcessStartInfo("kill", ["-" + name, pid.ToString(CultureInfo.InvariantCulture)]) { RedirectStandardError = true })!;
        kill.WaitForExit(TimeSpan.FromSeconds(5));
    }

    /// <summary>True where a process with this id runs (a zombie does not).</summary>
    public static bool IsRunning(int pid)
    {
        string status = $"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/stat";
        try
        {
            return File.Exists(status) && File.ReadAllText(status).Split(") ")[1][0] != 'Z';
        }
        catch (IOException)
        {
            return false; // it ended while we looked
        }
    }

    /// <summary>Ids of a process's children.</summary>
    public static int[] Children(int pid)
    {
        string path = $"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/task";
        try
        {
            return [.. Directory.GetDirectories(path)
                .Select(task => Path.Combine(task, "children"))
                .Where(File.Exists)
                .SelectMany(file => File.ReadAllText(file).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
        }
        catch (IOException)
        {
            return []; // it, or a thread of it, ended while we looked
        }
    }

    /// <summary>Ids of the processes that were started with a variable of this value in their environment.</summary>
    public static int[] WithVariable(string name, string value)
    {
        byte[] entry = Encoding.UTF8.GetBytes($"{name}={value}\0");
        return [.. Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(id => char.IsAsciiDigit(id![0])).Select(id => int.Parse(id!, CultureInfo.InvariantCulture)).Where(Has)];

        bool Has(int pid)
        {
            try
            {
                return File.ReadAllBytes($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/environ").AsSpan().IndexOf(entry) >= 0;
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                return false; // gone, or another user's
            }
        }
    }

    /// <summary>Memory that a process has resident.</summary>
    public static long ResidentBytes(int pid) => long.Parse(
        File.ReadAllText($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/statm").Split(' ')[1], CultureInfo.InvariantCulture) * Environment.SystemPageSize;

    /// <summary>Descriptors that a process has open, counted by what they are: socket, pipe, anon_inode, or a file's path. Not the assemblies, which .NET opens where they are first needed.</summary>
    public static IReadOnlyDictionary<string, int> Descriptors(int pid) =>
        new DirectoryInfo($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/fd").EnumerateFileSystemInfos()
            .Select(descriptor => descriptor.LinkTarget ?? "closed meanwhile")
            .Where(target => Path.GetExtension(target) is not (".dll" or ".pdb"))
            .CountBy(target => target.Split(":[")[0])
            .ToDictionary();
}
