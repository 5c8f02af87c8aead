using System.Diagnostics;

namespace TpServe.Gateway.Workers;

/// <summary>The worker's program, which lies in worker/ beside the gateway's.</summary>
internal static class WorkerProgram
{
    /// <summary>How to start it; the caller adds arguments.</summary>
    /// <exception cref="WorkerStartException">It is missing.</exception>
    public static ProcessStartInfo Find()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "worker");
        string host = Path.Combine(folder, OperatingSystem.IsWindows() ? "TpServe.Worker.exe" : "TpServe.Worker");
        string library = Path.Combine(folder, "TpServe.Worker.dll");
        if (File.Exists(host))
            return new ProcessStartInfo(host) { WorkingDirectory = folder };
        if (!File.Exists(library))
            throw new WorkerStartException($"the worker program is missing: neither '{host}' nor '{library}' exists.");
        ProcessStartInfo start = new(Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet") { WorkingDirectory = folder };
        start.ArgumentList.Add(library);
        return start;
    }

    /// <summary>Starts a process of it.</summary>
    /// <exception cref="WorkerStartException">It does not start.</exception>
    public static void Start(Process process)
    {
        try
        {
            process.Start();
        }
        catch (System.ComponentModel.Win32Exception fault)
        {
            string program = process.StartInfo.FileName;
            process.Dispose();
            throw new WorkerStartException($"the worker program '{program}' does not start: {fault.Message}", fault);
        }
    }
}
