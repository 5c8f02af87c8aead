using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>What tests of GPU kernels share: the device, the oracle, and tensors on both whose guards are checked after each test.</summary>
[NonParallelizable]
public abstract class CudaFixture(string device, CudaActivations activations = CudaActivations.Auto)
{
    /// <summary>The kernels run on ILGPU's CPU accelerator, thousands of times slower than on a card.</summary>
    protected bool IsEmulated => device == "emulated";

    /// <summary>The backend under test.</summary>
    protected CudaBackend Backend { get; private set; } = null!;

    /// <summary>The oracle.</summary>
    protected ReferenceBackend Oracle { get; } = new();

    /// <summary>This test's tensors on the device.</summary>
    protected DeviceTensors Device { get; private set; } = null!;

    /// <summary>This test's tensors on the host, for the oracle.</summary>
    protected HostTensors Host { get; private set; } = new();

    /// <summary>Opens the device once for the fixture: its kernels are compiled once.</summary>
    [OneTimeSetUp]
    public void OpenDevice() => Backend = CudaDevices.Open(device, activations);

    /// <summary>Fresh tensors.</summary>
    [SetUp]
    public void NewTensors()
    {
        Host = new HostTensors();
        Device = new DeviceTensors(Backend);
    }

    /// <summary>Fails on stray writes.</summary>
    [TearDown]
    public void CheckGuards()
    {
        Device.CheckGuards();
        Device.Dispose();
        Host.CheckGuards();
        Host.Dispose();
    }

    /// <summary>Closes the device.</summary>
    [OneTimeTearDown]
    public void CloseDevice()
    {
        Backend.Dispose();
        Oracle.Dispose();
    }
}
