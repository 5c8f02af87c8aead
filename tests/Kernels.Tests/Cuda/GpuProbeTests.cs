using NUnit.Framework;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Tests.Cuda;

public sealed class GpuProbeTests
{
    [Test]
    public void Find_AnyMachine_GivesGpusOrAReasonButNotBoth()
    {
        GpuSurvey survey = GpuProbe.Find();
        Assert.That(survey.Gpus.Count > 0, Is.EqualTo(survey.Reason.Length == 0));
    }

    [Test]
    public void Find_WithoutADriver_NamesTheLibrary()
    {
        GpuSurvey survey = GpuProbe.Find();
        if (survey.CudaVersion.Length > 0 || survey.Gpus.Count > 0)
            Assert.Ignore("this machine has a CUDA driver");
        Assert.That(survey.Reason, Does.Contain("libcuda.so.1"));
    }

    [Test, Category("Gpu")]
    public void Find_WithAGpu_DescribesIt()
    {
        GpuSurvey survey = GpuProbe.Find();
        if (survey.Gpus.Count == 0)
            Assert.Ignore($"no GPU: {survey.Reason}");
        Assert.That(survey.CudaVersion, Does.Match(@"^\d+\.\d+$"));
        Assert.That(survey.Gpus.Select(gpu => gpu.Ordinal), Is.EqualTo(Enumerable.Range(0, survey.Gpus.Count)));
        Assert.That(survey.Gpus.Select(gpu => gpu.Uuid), Is.Unique.And.All.Match("^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"));
        foreach (Gpu gpu in survey.Gpus)
        {
            Assert.That(gpu.Name, Is.Not.Empty);
            Assert.That(gpu.TotalBytes, Is.GreaterThan(1L << 30));
            Assert.That(gpu.FreeBytes, Is.InRange(0, gpu.TotalBytes));
            Assert.That(gpu.Capability, Is.InRange(50, 200));
            Assert.That(gpu.Multiprocessors, Is.GreaterThan(0));
            Assert.That(gpu.PciBus, Does.Match("^[0-9a-fA-F]+:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-9]$"));
        }
    }

    private const string Preamble = "Unable to load shared library 'libcuda.so.1' or one of its dependencies. In order to help diagnose …: \n";

    [TestCase("/a/libcuda.so.1: cannot open shared object file: No such file or directory\n/a/liblibcuda.so.1: cannot open shared object file: No such file or directory\n", "libcuda.so.1 was not found")]
    [TestCase("/a/libcuda.so.1: cannot open shared object file: No such file or directory\n/b/libcuda.so.1: file too short\n", "libcuda.so.1 cannot be loaded: /b/libcuda.so.1: file too short")]
    [TestCase("libother.so.2: cannot open shared object file: No such file or directory\n", "libcuda.so.1 cannot be loaded: libother.so.2: cannot open shared object file: No such file or directory")]
    public void NotLoaded_WhatTheLoaderSaid_IsTheReason(string lines, string reason) =>
        Assert.That(GpuProbe.NotLoaded(Preamble + lines), Is.EqualTo(reason));

    [Test]
    public void FormatUuid_Bytes_AreWrittenInTheirOrder()
    {
        byte[] uuid = [.. Enumerable.Range(0, 16).Select(i => (byte)(17 * i))];
        Assert.That(CudaDriver.FormatUuid(uuid), Is.EqualTo("GPU-00112233-4455-6677-8899-aabbccddeeff"));
    }

    [Test]
    public void Check_AFailedCall_NamesFunctionErrorAndNumber()
    {
        if (GpuProbe.Find().CudaVersion.Length == 0)
            Assert.Throws<DllNotFoundException>(() => CudaDriver.Check(100, "cuInit"), "the error's name is the driver's to tell");
        else
            Assert.That(Assert.Throws<CudaDriverException>(() => CudaDriver.Check(100, "cuInit"))!.Message, Is.EqualTo("cuInit: CUDA_ERROR_NO_DEVICE (100)"));
        Assert.DoesNotThrow(() => CudaDriver.Check(0, "cuInit"));
    }
}
