using System.ComponentModel.DataAnnotations;

namespace TpServe.Gateway;

/// <summary>Settings of the gateway: appsettings.json, then environment (Gateway__Tp=4), then command line flags.</summary>
public sealed class GatewayOptions
{
    /// <summary>Section of the configuration.</summary>
    public const string Section = "Gateway";

    /// <summary>A GGUF file or a Hugging Face folder; empty = the embedded SmolLM2.</summary>
    public string Model { get; init; } = "";

    /// <summary>Tensor parallel degree: number of workers. Default: the number of GPUs in use, without GPUs 2. With <see cref="Workers"/> it is their number.</summary>
    public int? Tp { get; init; }

    /// <summary>auto: the GPUs found, else the CPU; cpu; cuda: the GPUs found; cuda:0,cuda:1 or cuda:GPU-UUID: the GPU of each worker; cuda-emulated.</summary>
    /// <remarks>A list may name a GPU again where workers share it. cuda-emulated runs the CUDA kernels on the CPU, very slowly: a proof and not a way to serve.</remarks>
    public string Device { get; init; } = Devices.DeviceWish.Auto;

    /// <summary>Share of a GPU's free memory that weights and KV cache may take, 0.1 to 1; the rest is for activations and the driver. Default 0.9.</summary>
    [Range(0.1, 1.0)] public double GpuMemoryUtilization { get; init; } = 0.9;

    /// <summary>"even", or one weight for each worker: "2,1".</summary>
    public string Partition { get; init; } = "even";

    /// <summary>Compute threads of each worker; 0 = the host's cores divided by the workers on it.</summary>
    [Range(0, 256)] public int Threads { get; init; }

    /// <summary>auto, cuda-ipc, shm or ring. auto: on one host CUDA IPC between GPUs where it proves itself, else shared memory; across hosts the ring.</summary>
    [AllowedValues("auto", "cuda-ipc", "shm", "ring")] public string Transport { get; init; } = "auto";

    /// <summary>Addresses of workers that were started elsewhere (http://host:port); empty = start local ones.</summary>
    public IReadOnlyList<string> Workers { get; init; } = [];

    /// <summary>File that holds the secret shared with external workers; its content is trimmed. Local workers get a fresh secret each start.</summary>
    public string SecretFile { get; init; } = "";

    /// <summary>f16, f32 or bf16.</summary>
    [AllowedValues("f16", "f32", "bf16")] public string KvDtype { get; init; } = "f16";

    /// <summary>auto: the fast type of each weight format; f32: activations stay float32 in every matrix product (slower, exact to rounding).</summary>
    [AllowedValues("auto", "f32")] public string Activations { get; init; } = "auto";

    /// <summary>Widest instruction set path to use: auto, scalar, avx2, avx512, avx512-vnni.</summary>
    [AllowedValues("auto", "scalar", "avx2", "avx512", "avx512-vnni")] public string Isa { get; init; } = "auto";

    /// <summary>Longest context in tokens; 0 = the model's own, as far as the KV cache allows.</summary>
    [Range(0, 1 << 24)] public int MaxModelLen { get; init; }

    /// <summary>Tokens the KV cache holds over all requests; 0 = on GPUs what their memory holds, on the CPU four times the longest context within a quarter of the free memory.</summary>
    [Range(0, 1 << 28)] public int KvCacheTokens { get; init; }

    /// <summary>Tokens of a KV block.</summary>
    [Range(1, 256)] public int BlockTokens { get; init; } = 16;

    /// <summary>Most tokens in one step, prefill and decode together.</summary>
    [Range(1, 8192)] public int MaxStepTokens { get; init; } = 512;

    /// <summary>Most prompt tokens of one request in one step.</summary>
    [Range(1, 8192)] public int ChunkTokens { get; init; } = 512;

    /// <summary>Requests that may run at once.</summary>
    [Range(1, 1024)] public int MaxRunning { get; init; } = 64;

    /// <summary>Requests that may wait; one more is refused with RESOURCE_EXHAUSTED.</summary>
    [Range(0, 100_000)] public int QueueLimit { get; init; } = 256;

    /// <summary>HOST:PORT of the HTTP interface.</summary>
    public string Http { get; init; } = "127.0.0.1:8080";

    /// <summary>HOST:PORT of the gRPC interface.</summary>
    public string Grpc { get; init; } = "127.0.0.1:8081";

    /// <summary>trace, debug, information, warning, error.</summary>
    [AllowedValues("trace", "debug", "information", "warning", "error")] public string LogLevel { get; init; } = "information";

    /// <summary>How long a collective waits for a peer before the group is declared lost. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.100", "00:10:00")] public TimeSpan CollectiveTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long one step may take before the group is declared lost. Default 120 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "01:00:00")] public TimeSpan StepTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>How long workers that were started elsewhere may take to answer for the first time. Default 15 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "06:00:00")] public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long workers may take to start and load. Default 10 min.</summary>
    [Range(typeof(TimeSpan), "00:00:05", "06:00:00")] public TimeSpan LoadTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Losses and failed starts of the group within <see cref="CrashWindow"/> at which requests are refused and it is tried only from time to time. Default 5.</summary>
    [Range(1, 1_000_000)] public int CrashLimit { get; init; } = 5;

    /// <summary>How long a loss or a failed start counts. Default 10 min.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")] public TimeSpan CrashWindow { get; init; } = TimeSpan.FromMinutes(10);
}
