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
    public void Backend_OnOneCpu_AllItsThreadsAreBoundAndTheProcessIsNot()
    {
        int[] allowed = CpuAffinity.Allowed();
        HashSet<string> seen = [];
        string description = "";
        Thread rank = new(() =>
        {
            using CpuBackend backend = new(threads: 3, IsaPath.Scalar, cpus: [allowed[^1]]);
            description = backend.Description;
            seen.Add(OwnList("/proc/thread-self/status"));
            foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
                if (File.ReadAllText(Path.Combine(task, "comm")).StartsWith("cpu-", StringComparison.Ordinal))
                    SpinWait.SpinUntil(() => OwnList(Path.Combine(task, "status")) == OwnList("/proc/thread-self/status"), TimeSpan.FromSeconds(20));
            foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
                if (File.ReadAllText(Path.Combine(task, "comm")).StartsWith("cpu-", StringComparison.Ordinal))
                    seen.Add(OwnList(Path.Combine(task, "status")));
        });
        rank.Start();
        rank.Join();
        Assert.That(seen, Is.EquivalentTo(new[] { $"{allowed[^1]}" }));
        Assert.That(description, Does.EndWith($"3 threads on CPU {allowed[^1]}"));
        Assert.That(CpuAffinity.Allowed(), Is.EqualTo(allowed));

        static string OwnList(string file) => File.ReadLines(file).First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
    }

    [Test]
    public void Bind_NoneOrImpossible_IsRefused() => Assert.That((CpuAffinity.Bind([]), CpuAffinity.Bind([100_000])), Is.EqualTo((false, false)));
}
