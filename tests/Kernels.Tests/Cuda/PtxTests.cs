using System.Diagnostics;
using System.Text.RegularExpressions;
using NUnit.Framework;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Every kernel compiles to PTX offline, for the right target, with everything in registers.</summary>
public sealed partial class PtxTests
{
    private static IEnumerable<OfflineKernel> Kernels => OfflineKernel.All;

    [TestCaseSource(nameof(Kernels))]
    public void Kernel_CompiledOffline_TargetsAmpereOrNewerAndKeepsItsRegisters(OfflineKernel kernel)
    {
        string ptx = kernel.Ptx;
        Assert.That(int.Parse(Target().Match(ptx).Groups[1].Value, null), Is.GreaterThanOrEqualTo(80));
        Assert.That(ptx, Does.Not.Contain("__local_depot"));
        Assert.That(ptx, Does.Not.Contain(".extern .func"), "a call that nothing defines");
        Assert.That(Body(ptx), Does.Not.Match(@"@!?%p\d+\s+bra\.uni"), "a branch that ILGPU takes for uniform");
        foreach (Match array in SharedArray().Matches(ptx))
            Assert.That(int.Parse(array.Groups[1].Value, null), Is.GreaterThanOrEqualTo(16), "cp.async needs 16 bytes");
        if (kernel.Uses.Length > 0)
            Assert.That(Body(ptx), Does.Contain(kernel.Uses));
    }

    [TestCaseSource(nameof(Kernels))]
    public void Kernel_Assembled_SpillsNothing(OfflineKernel kernel)
    {
        string ptxas = Environment.GetEnvironmentVariable("TPSERVE_PTXAS") ?? "ptxas";
        string folder = Directory.CreateTempSubdirectory("tpserve-ptx").FullName;
        try
        {
            string source = Path.Combine(folder, "kernel.ptx");
            File.WriteAllText(source, kernel.Ptx);
            using Process process = Assemble(ptxas, source, Path.Combine(folder, "kernel.cubin"));
            Task<string> said = process.StandardError.ReadToEndAsync();
            Assert.That(process.WaitForExit(TimeSpan.FromMinutes(2)), Is.True, "ptxas did not end");
            Assert.That(process.ExitCode, Is.Zero, said.Result);
            Assert.That(said.Result, Does.Contain("0 bytes spill stores, 0 bytes spill loads"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Process Assemble(string ptxas, string source, string target)
    {
        try
        {
            return Process.Start(new ProcessStartInfo(ptxas, ["-arch=sm_90", "-v", source, "-o", target]) { RedirectStandardError = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("ptxas, NVIDIA's assembler, is neither on the PATH nor named by TPSERVE_PTXAS");
            throw;
        }
    }

    private static string Body(string ptx) => ptx[ptx.IndexOf(".entry", StringComparison.Ordinal)..];

    [GeneratedRegex(@"\.shared\s+\.align\s+(\d+)")]
    private static partial Regex SharedArray();

    [GeneratedRegex(@"\.target sm_(\d+)")]
    private static partial Regex Target();
}
