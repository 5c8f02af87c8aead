using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Deploy.Tests;

/// <summary>The `dotnet tool` package: packed, installed from a folder, and served from where it was installed, far from the clone.</summary>
[Category("MultiProcess"), Explicit("packs and installs for a minute")]
public sealed class ToolPackageTests
{
    [Test, CancelAfter(240_000)]
    public async Task Tool_PackedAndInstalled_ServesItsPageAndItsModel(CancellationToken cancellation)
    {
        using TemporaryFolder scratch = new();
        string feed = scratch.Of("feed"), tools = scratch.Of("tools");
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        await RunAsync(["pack", Path.Combine(TestData.Repository, "src", "Gateway"), "-c", configuration, "-o", feed], TestData.Repository, cancellation);
        Assert.That(Directory.GetFiles(feed).Select(Path.GetFileName), Is.EqualTo(new[] { "TpServe.0.1.0.nupkg" }));
        await RunAsync(["tool", "install", "TpServe", "--tool-path", tools, "--source", feed, "--version", "0.1.0"], scratch.Path, cancellation);

        int http = Processes.FreePort(), grpc = Processes.FreePort();
        ProcessStartInfo start = new(Path.Combine(tools, OperatingSystem.IsWindows() ? "tpserve.exe" : "tpserve")) { WorkingDirectory = scratch.Path, RedirectStandardOutput = true };
        foreach (string word in new[] { "--http", $"127.0.0.1:{http}", "--grpc", $"127.0.0.1:{grpc}", "--kv-cache", "4096", "--profile-cache", "off" })
            start.ArgumentList.Add(word);
        using Process server = Process.Start(start)!;
        try
        {
            Task<string> output = server.StandardOutput.ReadToEndAsync(cancellation);
            using HttpClient client = new() { BaseAddress = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{http}")) };
            await UntilReadyAsync(client, server, cancellation);
            Assert.That(await client.GetStringAsync(new Uri("/", UriKind.Relative), cancellation), Does.Contain("TpServe"));
            Assert.That((await client.GetAsync(new Uri("/page/js/app.js", UriKind.Relative), cancellation)).StatusCode, Is.EqualTo(HttpStatusCode.OK));
            using StringContent body = new("""{"prompt":"The capital of France is","max_tokens":2,"temperature":0}""", Encoding.UTF8, "application/json");
            using HttpResponseMessage answer = await client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, cancellation);
            Assert.That(await answer.Content.ReadAsStringAsync(cancellation), Does.Contain("Paris"));
            Processes.Signal(server.Id, "TERM");
            await server.WaitForExitAsync(cancellation);
            Assert.That((server.ExitCode, await output), Is.EqualTo((0, await output)));
        }
        finally
        {
            if (!server.HasExited)
                server.Kill(entireProcessTree: true);
        }
    }

    private static async Task UntilReadyAsync(HttpClient client, Process server, CancellationToken cancellation)
    {
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(100));
        while (await pause.WaitForNextTickAsync(cancellation))
            try
            {
                Assert.That(server.HasExited, Is.False, "the server ended");
                using HttpResponseMessage ready = await client.GetAsync(new Uri("/health/ready", UriKind.Relative), cancellation);
                if (ready.IsSuccessStatusCode)
                    return;
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }
    }

    private static async Task RunAsync(string[] words, string folder, CancellationToken cancellation)
    {
        ProcessStartInfo start = new("dotnet", words) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBuild", StringComparison.OrdinalIgnoreCase)).ToArray())
            start.Environment.Remove(name); // nothing of this test's own run reaches the inner build
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancellation), errors = process.StandardError.ReadToEndAsync(cancellation);
        await process.WaitForExitAsync(cancellation);
        Assert.That(process.ExitCode, Is.Zero, await output + await errors);
    }
}
