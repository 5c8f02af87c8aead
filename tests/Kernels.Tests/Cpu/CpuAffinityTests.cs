using NUnit.Framework;
using TpServe.Kernels.Cpu;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>Threads are bound to the CPUs they are told, by the kernel's own account.</summary>
[Platform("Linux")]
public sealed class CpuAffinityTests
{
    [TestCase("0-3,8", new[] { 0, 1, 2, 3, 8 })]
    [TestCase(" 5\n", new[] { 5 })]
    [TestCase("", new int[0])]
    public void Parse_KernelsList_IsItsNumbers(string list, int[] expected) => Assert.That(CpuAffinity.Parse(list), Is.EqualTo(expected));

    [Test]
    public void Allowed_IsTheProcesssOwnSet()
    {
        Assert.That(CpuAffinity.Allowed(), Is.Unique.And.Not.Empty);
        Assert.That(CpuAffinity.Allowed(), Has.Length.GreaterThanOrEqualTo(Environment.ProcessorCount), "a quota may grant fewer");
    }

    [Test]
    public void Bind_OneCpu_HoldsForTheThreadAndThoseItStarts()
    {
        int[] allowed = CpuAffinity.Allowed();
        string[] seen = ["", ""];
        bool bound = false, refused = true;
        Thread thread = new(() =>
        {
            bound = CpuAffinity.Bind([allowed[^1]]);
            seen[0] = OwnList();
            Thread child = new(() => seen[1] = OwnList());
            child.Start();
            child.Join();
            refused = !CpuAffinity.Bind([]) && !CpuAffinity.Bind([100_000]);
        });
        thread.Start();
        thread.Join();
        Assert.That((bound, refused), Is.EqualTo((true, true)));
        Assert.That(seen, Is.All.EqualTo(allowed[^1].ToString(System.Globalization.CultureInfo.InvariantCulture)));
        Assert.That(CpuAffinity.Allowed(), Is.EqualTo(allowed), "the process keeps its set");

        static string OwnList() => File.ReadLines("/proc/thread-self/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
    }
}
