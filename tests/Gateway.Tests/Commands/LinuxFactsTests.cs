using NUnit.Framework;
using TpServe.Gateway.Commands.Doctor;

namespace TpServe.Gateway.Tests.Commands;

public sealed class LinuxFactsTests
{
    private const string Limits = """
        Limit                     Soft Limit           Hard Limit           Units
        Max open files            1024                 1048576              files
        Max locked memory         unlimited            unlimited            bytes
        """;

    [TestCase("Max open files", 1024L)]
    [TestCase("Max locked memory", null)]
    [TestCase("Max nothing", null)]
    public void Limit_ALine_GivesItsSoftLimit(string name, long? expected) => Assert.That(LinuxFacts.Limit(Limits, name), Is.EqualTo(expected));

    [TestCase("150000 100000\n", 1.5)]
    [TestCase("max 100000\n", null)]
    [TestCase("", null)]
    [TestCase("5", null)]
    public void QuotaV2_CpuMax_GivesCores(string text, double? cores) => Assert.That(LinuxFacts.QuotaV2(text), Is.EqualTo(cores));

    [TestCase("200000\n", "100000\n", 2.0)]
    [TestCase("-1\n", "100000\n", null)]
    [TestCase("", "", null)]
    public void QuotaV1_TwoFiles_GiveCores(string quota, string period, double? cores) => Assert.That(LinuxFacts.QuotaV1(quota, period), Is.EqualTo(cores));

    [TestCase("0::/system.slice/a:b\n", "", "/system.slice/a:b")]
    [TestCase("4:cpu,cpuacct:/docker/1\n0::/x\n", "cpu", "/docker/1")]
    [TestCase("4:cpuacct:/y\n", "cpu", null)]
    [TestCase("", "", null)]
    public void CgroupPath_Lines_GiveTheControllersPath(string text, string controller, string? path) => Assert.That(LinuxFacts.CgroupPath(text, controller), Is.EqualTo(path));
}
