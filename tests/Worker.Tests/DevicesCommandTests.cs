using System.Diagnostics;
using NUnit.Framework;
using TpServe.Protos.Worker;
using TpServe.Testing;

namespace TpServe.Worker.Tests;

/// <summary>The command as a gateway runs it: a process, one line of JSON.</summary>
[Category("MultiProcess")]
public sealed class DevicesCommandTests
{
    private static async Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string program = Path.Combine(TestData.Repository, "src", "Worker", "bin", configuration, "net10.0", "TpServe.Worker.dll");
        using Process process = Process.Start(new ProcessStartInfo("dotnet", [program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(60));
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(deadline.Token), errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    [Test]
    public async Task Devices_Json_IsOneLineThatReadsBack()
    {
        (int code, string output, string errors) = await RunAsync("devices", "--json");
        Assert.That((code, errors), Is.EqualTo((0, "")));
        Assert.That(output.TrimEnd('\n').Contains('\n', StringComparison.Ordinal), Is.False);
        HelloReply host = HelloReply.Parser.ParseJson(output);
        Assert.That(host.Isa, Is.Not.EqualTo(InstructionSet.Unspecified));
        Assert.That((host.Cores, host.HostCores >= host.Cores), Is.EqualTo((Environment.ProcessorCount, true)));
        Assert.That(host.FreeBytes, Is.Positive);
        Assert.That(host.Version, Is.EqualTo(HostFacts.Version()));
        Assert.That(host.Device, Does.StartWith("cpu "));
        Assert.That(host.HostId, Is.EqualTo(HostFacts.HostId()));
        Assert.That(host.Gpus.Count > 0, Is.EqualTo(host.GpuReason.Length == 0), "GPUs, or a reason why there is none");
        if (OperatingSystem.IsLinux())
            Assert.That((host.IpcNamespace, host.PidNamespace), Is.EqualTo((Link("ipc"), Link("pid"))));

        static string Link(string kind) => new FileInfo("/proc/self/ns/" + kind).LinkTarget!;
    }

    [Test]
    public async Task Devices_ForPeople_SaysWhatThereIs()
    {
        (int code, string output, _) = await RunAsync("devices");
        Assert.That(code, Is.Zero);
        Assert.That(output, Does.StartWith("cpu ").And.Match("(?m)^(no GPU: |cuda:0 )"));
    }

    [Test]
    public async Task Devices_UnknownArgument_IsRefused()
    {
        (int code, string output, string errors) = await RunAsync("devices", "--xml");
        Assert.That((code, output), Is.EqualTo((2, "")));
        Assert.That(errors, Does.Contain("--json"));
    }
}
