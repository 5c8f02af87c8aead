using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

/// <summary>The enums of a load, and what they are called below.</summary>
public sealed class DeviceBackendsTests
{
    [Test]
    public void Open_CpuAndPath_GivesThatBackend()
    {
        using ITensorBackend backend = DeviceBackends.Open(new LoadRequest { Device = new ComputeDevice { Kind = DeviceKind.Cpu }, Isa = InstructionSet.Scalar, Threads = 1 });
        Assert.That(backend.Description, Does.StartWith("cpu scalar"));
    }

    [Test]
    public void Open_NothingNamed_SaysWhatIsMissing()
    {
        Assert.That(Assert.Throws<ModelLoadException>(() => DeviceBackends.Open(new LoadRequest()))!.Message, Does.Contain("device"));
        Assert.That(Assert.Throws<ModelLoadException>(() => DeviceBackends.Open(new LoadRequest { Device = new ComputeDevice { Kind = DeviceKind.Cpu } }))!.Message, Does.Contain("instruction set"));
        Assert.That(Assert.Throws<ModelLoadException>(() => DeviceBackends.Element(KvDtype.Unspecified))!.Message, Does.Contain("KV cache"));
    }

    [TestCase(KvDtype.Q8, DeviceKind.Cuda, false)]
    [TestCase(KvDtype.Q8, DeviceKind.CudaEmulated, false)]
    [TestCase(KvDtype.Q8, DeviceKind.Cpu, true)]
    [TestCase(KvDtype.F16, DeviceKind.Cuda, true)]
    public void RequireKvDtype_OfADeviceWithoutKernelsForIt_NamesBoth(KvDtype dtype, DeviceKind kind, bool isServed)
    {
        Action require = () => DeviceBackends.RequireKvDtype(new LoadRequest { KvDtype = dtype, Device = new ComputeDevice { Kind = kind } });
        if (isServed)
            Assert.That(require, Throws.Nothing);
        else
            Assert.That(require, Throws.TypeOf<ModelLoadException>().With.Message.Contains("Q8").And.Message.Contains($"{kind}"));
    }

    [Test]
    public void Message_EveryPath_HasItsOwn()
    {
        InstructionSet[] sets = [.. Enum.GetValues<IsaPath>().Select(DeviceBackends.Message)];
        Assert.That(sets, Is.Unique.And.None.EqualTo(InstructionSet.Unspecified));
    }

    [TestCase(KvDtype.F32, ElementType.Float32)]
    [TestCase(KvDtype.F16, ElementType.Float16)]
    [TestCase(KvDtype.Bf16, ElementType.BFloat16)]
    [TestCase(KvDtype.Q8, ElementType.Q8)]
    public void Element_KvDtype_IsTheType(KvDtype dtype, ElementType element) => Assert.That(DeviceBackends.Element(dtype), Is.EqualTo(element));
}
