using NUnit.Framework;

namespace TpServe.Worker.Tests;

/// <summary>Free memory from the kernel's files, of machines that differ in their control groups.</summary>
public sealed class HostMemoryTests
{
    private const long Machine = 1_000_000;

    private static long Free(params (string Path, string Text)[] files) =>
        HostMemory.FreeBytes(path => files.FirstOrDefault(file => file.Path == path).Text ?? "", Machine);

    [Test]
    public void FreeBytes_NoGroups_IsWhatTheMachineHas() => Assert.That(Free(), Is.EqualTo(Machine));

    [Test]
    public void FreeBytes_GroupWithoutLimit_IsWhatTheMachineHas() => Assert.That(
        Free(("/proc/self/cgroup", "0::/a\n"), ("/sys/fs/cgroup/a/memory.max", "max\n"), ("/sys/fs/cgroup/a/memory.current", "5\n")), Is.EqualTo(Machine));

    [Test]
    public void FreeBytes_LimitV2_IsWhatIsLeftWithTheInactiveCache() => Assert.That(
        Free(
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "500000\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "300000\n"),
            ("/sys/fs/cgroup/a/b/memory.stat", "anon 1\ninactive_file 50000\nactive_file 7\n")),
        Is.EqualTo(250_000));

    [Test]
    public void FreeBytes_LimitOfAnOuterGroup_CountsToo() => Assert.That(
        Free(("/proc/self/cgroup", "0::/a/b\n"), ("/sys/fs/cgroup/a/memory.max", "400000"), ("/sys/fs/cgroup/a/memory.current", "100000")), Is.EqualTo(300_000));

    [Test]
    public void FreeBytes_ContainerThatSeesItsGroupAsRoot_UsesTheRootsFiles() => Assert.That(
        Free(("/proc/self/cgroup", "0::/docker/1\n"), ("/sys/fs/cgroup/memory.max", "400000"), ("/sys/fs/cgroup/memory.current", "100000")), Is.EqualTo(300_000));

    [Test]
    public void FreeBytes_LimitV1_IsWhatIsLeftWithTheInactiveCache() => Assert.That(
        Free(
            ("/proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/docker/1\n0::/y\n"),
            ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "500000\n"),
            ("/sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", "400000\n"),
            ("/sys/fs/cgroup/memory/docker/1/memory.stat", "inactive_file 1\ntotal_inactive_file 30000\n")),
        Is.EqualTo(130_000));

    [Test]
    public void FreeBytes_UsageAboveTheLimit_IsZero() => Assert.That(
        Free(("/proc/self/cgroup", "0::/a\n"), ("/sys/fs/cgroup/a/memory.max", "1000"), ("/sys/fs/cgroup/a/memory.current", "2000")), Is.Zero);

    [TestCase("MemTotal: 9 kB\nMemAvailable:   16 kB\n", 16384)]
    [TestCase("MemTotal: 9 kB\n", null)]
    public void Available_MemInfo_ReadsItsLine(string meminfo, long? bytes) => Assert.That(HostMemory.Available(meminfo), Is.EqualTo(bytes));
}
