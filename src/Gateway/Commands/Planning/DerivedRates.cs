using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Gateway.Workers;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>What is assumed where nothing was measured: which part of its peaks a device reaches. All of it stands here, and every report that uses it says so.</summary>
internal static class DerivedRates
{
    private const double Giga = 1e9, Tera = 1e12, Gibi = 1L << 30, Micro = 1e-6;

    // Shares of peaks. Streaming: decode products read their weights once. Products: a prefill's tiles.
    private const double GpuRead = 0.8, CpuRead = 0.8, GpuProducts = 0.5, CpuProducts = 0.6;

    // Attention reads the cache in chunks; its products are small. Rows that go from one operation to the next are partly still in the processor's caches.
    private const double AttentionRead = 0.6, AttentionProducts = 0.25, ElementwiseRead = 1;

    // A kernel of a recorded graph, and the meeting of a CPU's threads.
    private const double GpuOperation = 2 * Micro, CpuOperation = 3 * Micro;

    // Links: a round through device memory, through host memory, through a host's shared memory; shares of their peaks.
    private const double IpcLatency = 6 * Micro, StagedLatency = 25 * Micro, SharedLatency = 4 * Micro;
    private const double LinkShare = 0.7, SmallShare = 0.15, SharedGBs = 12;

    /// <summary>A host's memory beside the system's.</summary>
    private const double CpuMemory = 0.8;

    // A query row times a key and an element: a product and a sum for the score, and for the weighted values.
    private const double AttentionFlops = 4;

    /// <summary>The assumptions, a line each.</summary>
    /// <param name="gpuMemory">--gpu-memory-utilization.</param>
    public static IReadOnlyList<string> Lines(double gpuMemory) =>
    [
        FormattableString.Invariant($"a GPU reads weights at {GpuRead:P0} and computes products at {GpuProducts:P0} of its peaks, a CPU at {CpuRead:P0} and {CpuProducts:P0}; quantised weights are multiplied at the 8-bit rate, 16-bit ones at that of bf16"),
        FormattableString.Invariant($"attention reads the cache at {AttentionRead:P0} of the peak and computes a prompt's at {AttentionProducts:P0}; element-wise work runs at {ElementwiseRead:P0} of the peak read rate"),
        FormattableString.Invariant($"an operation takes {GpuOperation / Micro:F0} us on a GPU and {CpuOperation / Micro:F0} us on a CPU beside its work"),
        FormattableString.Invariant($"a round of a collective takes {IpcLatency / Micro:F0} us where GPUs open each other's memory, {StagedLatency / Micro:F0} us through host memory, {SharedLatency / Micro:F0} us between CPUs of a host; links carry {LinkShare:P0} of their peak, small messages {SmallShare:P0}; shared memory {SharedGBs:F0} GB/s"),
        FormattableString.Invariant($"usable are {gpuMemory:P0} of a GPU's memory and {CpuMemory:P0} of a host's"),
    ];

    /// <summary>The profile of a data sheet.</summary>
    /// <param name="sheet">Peaks.</param>
    /// <param name="name">What reports call the device.</param>
    /// <param name="share">Of everything it has, where several workers divide it.</param>
    /// <param name="gpuMemory">--gpu-memory-utilization.</param>
    /// <param name="formats">Weight formats of the model.</param>
    public static DeviceProfile Profile(DeviceSheet sheet, string name, double share, double gpuMemory, IEnumerable<TensorType> formats)
    {
        double read = share * sheet.ReadGBs * Giga;
        return new DeviceProfile
        {
            Name = name,
            Kind = sheet.IsGpu ? "cuda" : "cpu",
            MemoryBytes = (long)(share * sheet.MemoryGiB * Gibi * (sheet.IsGpu ? gpuMemory : CpuMemory)),
            ReadBytesPerSecond = read,
            Products = formats.Distinct().ToDictionary(format => format, format => Curve(sheet, format, share)),
            DecodeAttentionSecondsPerByte = 1 / (AttentionRead * read),
            PrefillAttentionSecondsPerElement = AttentionFlops / (AttentionProducts * share * sheet.Bf16Tflops * Tera),
            ElementwiseSecondsPerFloat = sizeof(float) / (ElementwiseRead * read),
            OperationSeconds = sheet.IsGpu ? GpuOperation : CpuOperation,
        };
    }

    /// <summary>The link of two devices of one host.</summary>
    public static LinkProfile Link(DeviceSheet? first, DeviceSheet? second)
    {
        if (first is not { IsGpu: true } || second is not { IsGpu: true })
            return new LinkProfile(LinkTransport.SharedMemory, SharedLatency, SharedGBs * Giga, SharedGBs * Giga);
        double link = Math.Min(first.LinkGBs, second.LinkGBs), pcie = Math.Min(first.PcieGBs, second.PcieGBs);
        if (first.PeerToPeer && second.PeerToPeer && Math.Max(link, pcie) > 0)
            return Of(LinkTransport.CudaIpc, IpcLatency, Math.Max(link, pcie));
        return Of(LinkTransport.SharedMemory, StagedLatency, Math.Max(pcie, 1) / 2); // down to host memory and up again

        static LinkProfile Of(LinkTransport transport, double latency, double gbs) =>
            new(transport, latency, Math.Max(0.01, SmallShare * gbs) * Giga, LinkShare * gbs * Giga);
    }

    /// <summary>The link of two hosts.</summary>
    public static LinkProfile Network(double latencyMicroseconds, double gbs) => new(LinkTransport.Ring, latencyMicroseconds * Micro, gbs * Giga, gbs * Giga);

    /// <summary>A product reads its weights once, or computes: whichever takes longer.</summary>
    private static ProductCurve Curve(DeviceSheet sheet, TensorType format, double share)
    {
        double bits = sheet.IsGpu ? GpuMemory.BitsPerWeight(format) : 8.0 * format.BlockBytes() / format.BlockElements();
        double peak = format switch { TensorType.F32 => sheet.Fp32Tflops, TensorType.F16 or TensorType.BF16 => sheet.Bf16Tflops, _ => sheet.Int8Tops };
        double stream = 1 / ((sheet.IsGpu ? GpuRead : CpuRead) * share * sheet.ReadGBs * Giga);
        double computeOfRow = 2 * (8 / bits) / ((sheet.IsGpu ? GpuProducts : CpuProducts) * share * peak * Tera);
        return new ProductCurve([.. ProductCurve.StandardRows.Append(1024).Select(rows => new ProductPoint(rows, Math.Max(stream, rows * computeOfRow)))]);
    }

    /// <summary>For reports: gigabytes a second.</summary>
    public static string Rate(double bytesPerSecond) => string.Create(CultureInfo.InvariantCulture, $"{bytesPerSecond / Giga:0.##} GB/s");
}
