using System.Diagnostics;
using TpServe.Collectives.CudaIpc;
using TpServe.Kernels.Tests.Cuda;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The kernels of the cuda-ipc transport compile to PTX offline, with everything in registers and the ordered accesses they rely on.</summary>
public sealed class PtxTests
{
    private static readonly OfflineKernel[] s_kernels = [.. OfflineKernel.Find(typeof(CudaIpcCommunicator).Assembly)];

    [TestCaseSource(nameof(s_kernels))]
    public void Kernel_CompiledOffline_KeepsItsRegistersAndItsOrder(OfflineKernel kernel)
    {
        string body = kernel.Ptx[kernel.Ptx.IndexOf(".entry", StringComparison.Ordinal)..];
        Assert.Multiple(() =>
        {
            Assert.That(kernel.Ptx, Does.Not.Contain("__local_depot"));
            Assert.That(kernel.Ptx, Does.Not.Contain(".extern .func"), "a call that nothing defines");
            Assert.That(body, Does.Contain(kernel.Uses));
        });
    }

    [TestCaseSource(nameof(s_kernels))]
    public void Kernel_Assembled_SpillsNothing(OfflineKernel kernel)
    {
        string folder = Directory.CreateTempSubdirectory("tpserve-ptx").FullName;
        try
        {
            string source = Path.Combine(folder, "kernel.ptx");
            File.WriteAllText(source, kernel.Ptx);
            using Process process = Assemble(source, Path.Combine(folder, "kernel.cubin"));
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

    private static Process Assemble(string source, string target)
    {
        try
        {
            string ptxas = Environment.GetEnvironmentVariable("TPSERVE_PTXAS") ?? "ptxas";
            return Process.Start(new ProcessStartInfo(ptxas, ["-arch=sm_90", "-v", source, "-o", target]) { RedirectStandardError = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("ptxas, NVIDIA's assembler, is neither on the PATH nor named by TPSERVE_PTXAS");
            throw;
        }
    }
}
