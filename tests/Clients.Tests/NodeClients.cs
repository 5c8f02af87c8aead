using System.Diagnostics;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Clients.Tests;

/// <summary>Scripts of tests/Clients.Tests/node: clients from npm, one process a script, one JSON value on its output.</summary>
internal static class NodeClients
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(60);

    private static string Folder => Path.Combine(TestData.Repository, "tests", "Clients.Tests", "node");

    /// <summary>Runs a script; the test is ignored where node, or what the lock file names, is not installed.</summary>
    public static async Task<JsonElement> RunAsync(string script, params string[] arguments)
    {
        if (!Directory.Exists(Path.Combine(Folder, "node_modules")))
            Assert.Ignore("The npm clients are not installed: `npm ci --ignore-scripts` in tests/Clients.Tests/node; needs node.");
        using Process process = Start(script, arguments);
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        using CancellationTokenSource deadline = new(s_timeout);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        Assert.That(process.ExitCode, Is.Zero, $"{script}: {await errors} {await output}");
        using JsonDocument told = JsonDocument.Parse(await output);
        return told.RootElement.Clone();
    }

    private static Process Start(string script, string[] arguments)
    {
        ProcessStartInfo start = new("node") { WorkingDirectory = Folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(script);
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("node is not installed.");
            throw;
        }
    }
}
