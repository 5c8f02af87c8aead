using System.Diagnostics;
using NUnit.Framework;

namespace TpServe.Kernels.Tests;

/// <summary>The same bits with narrower vectors: the assembly runs again as a process whose runtime may not use the wide ones.</summary>
[Category("MultiProcess")]
public sealed class OpsBitsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [TestCase("DOTNET_EnableAVX512", 256)]
    [TestCase("DOTNET_EnableAVX2", 128)]
    [TestCase("DOTNET_EnableHWIntrinsic", 128)] // no fused multiply-add in hardware either
    public void Operations_NarrowerVectors_GiveTheSameBits(string instructions, int widest)
    {
        string[] here = [.. OpsDigest.Lines()], there = RunWithout(instructions);

        Assert.That(int.Parse(there[0][OpsDigest.WidthPrefix.Length..], System.Globalization.CultureInfo.InvariantCulture), Is.LessThanOrEqualTo(widest));
        Assert.That(there[1..], Is.EqualTo(here[1..]));
    }

    private static string[] RunWithout(string instructions)
    {
        ProcessStartInfo start = new("dotnet", ["exec", typeof(OpsDigest).Assembly.Location]) { RedirectStandardOutput = true };
        start.Environment[instructions] = "0";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        if (!output.Wait(Patience) || !process.WaitForExit(Patience))
        {
            process.Kill();
            Assert.Fail($"The process did not end within {Patience}.");
        }
        Assert.That(process.ExitCode, Is.Zero);
        return output.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    }
}
