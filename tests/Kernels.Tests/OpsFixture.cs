using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Tests;

/// <summary>What tests of CPU operations share: one, two and three threads, the oracle, and tensors whose guards are checked after each test.</summary>
public abstract class OpsFixture
{
    private readonly CpuThreads[] _threads = [new(1), new(2), new(3)];

    /// <summary>The oracle.</summary>
    protected ReferenceBackend Oracle { get; } = new();

    /// <summary>This test's tensors.</summary>
    protected HostTensors Tensors { get; private set; } = new();

    /// <summary>Thread pools whose results must be equal.</summary>
    internal IReadOnlyList<CpuThreads> Pools => _threads;

    /// <summary>One thread.</summary>
    internal CpuThreads Single => _threads[0];

    /// <summary>Bits, so that −0 and NaN count as what they are.</summary>
    protected static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];

    /// <summary>Bits of a tensor's values.</summary>
    protected static int[] Bits(Tensor tensor) => Bits(HostTensors.Values(tensor));

    /// <summary>Fresh tensors.</summary>
    [SetUp]
    public void NewTensors() => Tensors = new HostTensors();

    /// <summary>Fails on stray writes.</summary>
    [TearDown]
    public void CheckGuards()
    {
        Tensors.CheckGuards();
        Tensors.Dispose();
    }

    /// <summary>Ends the threads.</summary>
    [OneTimeTearDown]
    public void EndThreads()
    {
        foreach (CpuThreads threads in _threads)
            threads.Dispose();
        Oracle.Dispose();
    }
}
