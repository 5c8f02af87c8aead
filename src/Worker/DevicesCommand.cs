using System.Globalization;
using Google.Protobuf;
using TpServe.Kernels.Cpu;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>devices [--json]: prints what this process can compute on, and ends. How a gateway that links no device code learns of the GPUs of its host.</summary>
internal static class DevicesCommand
{
    /// <summary>The word on the command line.</summary>
    public const string Name = "devices";

    /// <returns>Exit code: 0, or 2 for an unknown argument.</returns>
    public static int Run(ReadOnlySpan<string> arguments, TextWriter output, TextWriter errors)
    {
        if (arguments is not ([] or ["--json"]))
        {
            errors.WriteLine($"tpserve worker: {Name} takes --json and nothing else.");
            return 2;
        }
        HelloReply host = HostFacts.Describe(surveyGpus: true);
        if (arguments is ["--json"])
            output.WriteLine(new JsonFormatter(JsonFormatter.Settings.Default.WithPreserveProtoFieldNames(true).WithFormatDefaultValues(true)).Format(host));
        else
            Print(host, output);
        return 0;
    }

    private static void Print(HelloReply host, TextWriter output)
    {
        output.WriteLine($"{host.Device}, {Isa.Detect().Name()}");
        foreach (GpuFacts gpu in host.Gpus)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"cuda:{gpu.Ordinal} {gpu.Name}, {gpu.FreeBytes >> 20} of {gpu.TotalBytes >> 20} MiB free, capability {gpu.Capability / 10}.{gpu.Capability % 10}, {gpu.Multiprocessors} multiprocessors, {gpu.PciBus}, {gpu.Uuid}"));
        if (host.GpuReason.Length > 0)
            output.WriteLine($"no GPU: {host.GpuReason}");
        if (host.CudaVersion.Length > 0)
            output.WriteLine($"CUDA {host.CudaVersion}");
    }
}
