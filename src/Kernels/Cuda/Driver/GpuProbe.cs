namespace TpServe.Kernels.Cuda.Driver;

/// <summary>Asks the CUDA driver which GPUs there are.</summary>
public static class GpuProbe
{
    /// <summary>The GPUs of this process, or why there is none; never throws.</summary>
    /// <remarks>Cost   loading the driver takes a moment, seconds where no other process keeps the GPUs initialised; each GPU's free memory needs a context.</remarks>
    public static GpuSurvey Find()
    {
        string version = "";
        try
        {
            // The version needs no GPU and no initialisation: it is told even where cuInit refuses.
            version = CudaDriver.Version();
            CudaDriver.Initialize();
            int count = CudaDriver.DeviceCount();
            Gpu[] gpus = new Gpu[count];
            for (int ordinal = 0; ordinal < count; ordinal++)
                gpus[ordinal] = Describe(ordinal);
            return new GpuSurvey(gpus, count > 0 ? "" : "the driver reports no GPU", version);
        }
        catch (DllNotFoundException fault)
        {
            return new GpuSurvey([], NotLoaded(fault.Message), "");
        }
        catch (EntryPointNotFoundException fault)
        {
            return new GpuSurvey([], $"{CudaDriver.Library} is too old: {fault.Message}", version);
        }
        catch (BadImageFormatException)
        {
            return new GpuSurvey([], $"{CudaDriver.Library} is for another processor", "");
        }
        catch (CudaDriverException fault)
        {
            return new GpuSurvey([], fault.Message, version);
        }
    }

    /// <summary>The runtime lists what the loader said of every place it looked in; "no such file" says nothing where another line says more.</summary>
    internal static string NotLoaded(string message)
    {
        const string NoFile = "cannot open shared object file: No such file or directory";
        string? telling = message.Split('\n').Skip(1).Select(line => line.Trim())
            .FirstOrDefault(line => line.Length > 0 && !(line.EndsWith(NoFile, StringComparison.Ordinal) && line.Contains(CudaDriver.Library, StringComparison.Ordinal)));
        return telling is null ? $"{CudaDriver.Library} was not found" : $"{CudaDriver.Library} cannot be loaded: {telling}";
    }

    private static Gpu Describe(int ordinal)
    {
        int device = CudaDriver.Device(ordinal);
        long total = CudaDriver.DeviceTotalBytes(device);
        return new Gpu(
            ordinal,
            CudaDriver.DeviceUuid(device),
            CudaDriver.DeviceName(device),
            total,
            Free(device, total),
            CudaDriver.DeviceCapability(device),
            CudaDriver.DeviceMultiprocessors(device),
            CudaDriver.DevicePciBus(device));
    }

    /// <summary>A GPU too full for one more context has nothing free; any other refusal (another process holds it alone) tells nothing of its memory.</summary>
    private static long Free(int device, long total)
    {
        try
        {
            return CudaDriver.FreeBytes(device);
        }
        catch (CudaDriverException fault)
        {
            return fault.Result == CudaDriver.OutOfMemory ? 0 : total;
        }
    }
}

/// <summary>One NVIDIA GPU as the driver reports it.</summary>
/// <param name="Ordinal">The driver's number of it in this process.</param>
/// <param name="Uuid">"GPU-5c24…": the same in every process and container.</param>
/// <param name="Name">"NVIDIA H100 80GB HBM3".</param>
/// <param name="TotalBytes">Memory of the device.</param>
/// <param name="FreeBytes">Memory that was free when the survey was made; the total where that could not be told.</param>
/// <param name="Capability">Compute capability times ten: 90 for 9.0.</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="PciBus">"0000:1b:00.0".</param>
public sealed record Gpu(int Ordinal, string Uuid, string Name, long TotalBytes, long FreeBytes, int Capability, int Multiprocessors, string PciBus);

/// <summary>The GPUs this process can use.</summary>
/// <param name="Gpus">By ordinal.</param>
/// <param name="Reason">Why there is none; empty where there is one.</param>
/// <param name="CudaVersion">Version of the CUDA API the driver offers: "13.0"; empty without a driver.</param>
public sealed record GpuSurvey(IReadOnlyList<Gpu> Gpus, string Reason, string CudaVersion);
