using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway;

/// <summary>Settings of the gateway, read and checked. <see cref="SettingsTable"/> holds their flags, names, ranges and meaning; here are types and defaults.</summary>
public sealed record GatewayOptions
{
    /// <summary>Section of appsettings.json.</summary>
    public const string Section = "Gateway";

    private static readonly PerRank<int> s_byCores = new([0]);
    private static readonly PerRank<long> s_unlimited = new([]);

    /// <summary>A GGUF file, a Hugging Face folder or a model of the hub; empty = the embedded SmolLM2.</summary>
    public string Model { get; init; } = "";

    /// <summary>A small model of the same tokenizer that guesses ahead: a GGUF file, a Hugging Face folder or a model of the hub; empty = none.</summary>
    public string Draft { get; init; } = "";

    /// <summary>Whether models of the hub are taken from its cache alone.</summary>
    public bool Offline { get; init; }

    /// <summary>Adapters that are served from the start, each NAME=PATH.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Most adapters at once.</summary>
    public int MaxLoras { get; init; } = Adapters.LoraRegistry.DefaultMost;

    /// <summary>Folder below which a running server may load adapters; empty = it loads none.</summary>
    public string LoraDir { get; init; } = "";

    /// <summary>What requests name the model, the first being what answers name it; empty = by the model's file or folder.</summary>
    public IReadOnlyList<string> ServedModelNames { get; init; } = [];

    /// <summary>Origins of pages that may call the server from a browser; empty = none but its own.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary>Tensor parallel degree; null = the number of GPUs in use, without GPUs 2. With <see cref="Workers"/> it is their number.</summary>
    public int? Tp { get; init; }

    /// <summary>What the workers compute on.</summary>
    public DeviceWish Device { get; init; } = DeviceWish.Auto;

    /// <summary>Share of a GPU's free memory that weights and KV cache may take.</summary>
    public double GpuMemoryUtilization { get; init; } = 0.9;

    /// <summary>How the model is split among the workers.</summary>
    public PartitionWish Partition { get; init; } = PartitionWish.Auto;

    /// <summary>Folder of the profiles of measured workers; "off" = none are kept; empty = in the user's cache folder.</summary>
    public string ProfileCache { get; init; } = "";

    /// <summary>Compute threads of each worker; 0 = the cores of its host divided by the workers on it.</summary>
    public PerRank<int> Threads { get; init; } = s_byCores;

    /// <summary>Most bytes that a worker's weights, KV cache and activations may take; none = what its host has.</summary>
    public PerRank<long> RankMemory { get; init; } = s_unlimited;

    /// <summary>What collectives go over; unspecified = the fastest that proves itself.</summary>
    public Transport Transport { get; init; }

    /// <summary>What the partial sums of row-parallel products are sent as between ranks; anything but f32 rounds them.</summary>
    public Wire Wire { get; init; } = Wire.F32;

    /// <summary>Whether what rounding lost is added to the next sum; not served.</summary>
    public bool WireFeedback { get; init; }

    /// <summary>Addresses of workers that were started elsewhere (http://host:port), by rank; empty = start local ones.</summary>
    public IReadOnlyList<string> Workers { get; init; } = [];

    /// <summary>File that holds the secret shared with external workers; its content is trimmed. Local workers get a fresh secret each start.</summary>
    public string SecretFile { get; init; } = "";

    /// <summary>Folder of the certificate shared with external workers; empty = links to them are not encrypted.</summary>
    public string Tls { get; init; } = "";

    /// <summary>Whether links to workers on other hosts may go unencrypted.</summary>
    public bool InsecureLinks { get; init; }

    /// <summary>Type of the KV cache.</summary>
    public KvDtype KvDtype { get; init; } = KvDtype.F16;

    /// <summary>Type of activations entering a matrix product.</summary>
    public ActivationDtype Activations { get; init; } = ActivationDtype.Auto;

    /// <summary>Instruction set path; unspecified = each worker's widest.</summary>
    public InstructionSet Isa { get; init; }

    /// <summary>Whether the ranks of one host are bound to CPUs of their own.</summary>
    public bool Pin { get; init; } = true;

    /// <summary>Longest context in tokens; 0 = the model's own, as far as the KV cache allows.</summary>
    public int MaxModelLen { get; init; }

    /// <summary>Size of the KV cache.</summary>
    public KvCacheSize KvCache { get; init; }

    /// <summary>Tokens of a KV block.</summary>
    public int BlockTokens { get; init; } = 16;

    /// <summary>Whether requests share the KV blocks of equal beginnings.</summary>
    public bool PrefixCache { get; init; } = true;

    /// <summary>Most tokens in one step, prefill and decode together.</summary>
    public int MaxStepTokens { get; init; } = 512;

    /// <summary>Most prompt tokens of one request in one step.</summary>
    public int ChunkTokens { get; init; } = 512;

    /// <summary>Requests that may run at once.</summary>
    public int MaxRunning { get; init; } = 64;

    /// <summary>Requests that may wait; one more is refused.</summary>
    public int QueueLimit { get; init; } = 256;

    /// <summary>Prompt tokens that may wait; a request that brings more is refused.</summary>
    public int QueueTokens { get; init; } = 262_144;

    /// <summary>The longest any request may take, waiting included.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How tokens are guessed ahead where a request does not say.</summary>
    public Speculation Speculation { get; init; }

    /// <summary>Most tokens guessed ahead in a step.</summary>
    public int DraftTokens { get; init; } = 8;

    /// <summary>HOST:PORT of the HTTP interface.</summary>
    public string Http { get; init; } = "127.0.0.1:8080";

    /// <summary>HOST:PORT of the gRPC interface.</summary>
    public string Grpc { get; init; } = "127.0.0.1:8081";

    /// <summary>File of the keys without which nothing is answered; empty = everybody who reaches the server may call.</summary>
    public string Keys { get; init; } = "";

    /// <summary>Names that requests may call the server by beside localhost and addresses; empty = none where it listens on loopback only, else any.</summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>PEM file of the certificate of HTTP and gRPC; empty = no TLS.</summary>
    public string ServerCert { get; init; } = "";

    /// <summary>PEM file of its key.</summary>
    public string ServerKey { get; init; } = "";

    /// <summary>PEM file of the authority that must have signed a client's certificate; empty = clients need none.</summary>
    public string ClientCa { get; init; } = "";

    /// <summary>Connections at once.</summary>
    public int MaxConnections { get; init; } = 4096;

    /// <summary>Folder into which tpserve report has written, or will; empty = none is shown.</summary>
    public string Report { get; init; } = "";

    /// <summary>trace, debug, information, warning, error.</summary>
    public string LogLevel { get; init; } = "information";

    /// <summary>text, json.</summary>
    public string LogFormat { get; init; } = "text";

    /// <summary>What happens to the group when a rank is lost.</summary>
    public OnRankLoss OnRankLoss { get; init; }

    /// <summary>What is done where some workers have become slower than others.</summary>
    public Rebalance Rebalance { get; init; } = Rebalance.Advise;

    /// <summary>Whether the sum of some rows of a prompt travels while the next rows are computed.</summary>
    public OverlapWish Overlap { get; init; } = OverlapWish.Auto;

    /// <summary>How long a worker must be slower, in time of steps; what a move waits for and must repay itself within follows.</summary>
    public TimeSpan RebalanceAfter { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Losses of the group that a request survives.</summary>
    public int Recoveries { get; init; } = 3;

    /// <summary>How long nothing may be heard of the workers before they are pinged, or 20 times the p99 of steps where that is longer.</summary>
    public TimeSpan SuspectAfter { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a collective waits for a peer before the group is declared lost.</summary>
    public TimeSpan CollectiveTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long one step may take before the group is declared lost.</summary>
    public TimeSpan StepTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>How long workers that were started elsewhere may take to answer for the first time.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long workers may take to load and to join their group.</summary>
    public TimeSpan LoadTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Losses and failed starts of the group within <see cref="CrashWindow"/> at which requests are refused and it is tried only from time to time.</summary>
    public int CrashLimit { get; init; } = 5;

    /// <summary>How long a loss or a failed start counts.</summary>
    public TimeSpan CrashWindow { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How long requests in flight may go on after the server is asked to stop.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a stream whose client is gone can be taken up again; 0 = not at all, then leaving cancels.</summary>
    public TimeSpan ResumeWindow { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Bytes kept over all streams to be taken up again.</summary>
    public long ResumeBytes { get; init; } = 64 << 20;

    /// <summary>Answers of /v1/responses that are kept; 0 = none.</summary>
    public int Responses { get; init; } = 1024;

    /// <summary>Bytes kept over all of them.</summary>
    public long ResponseBytes { get; init; } = 64 << 20;

    /// <summary>How long one is kept.</summary>
    public TimeSpan ResponseAge { get; init; } = TimeSpan.FromHours(24);
}

/// <summary>How tokens are guessed ahead of the model; what it would not have sampled is thrown away.</summary>
public enum Speculation
{
    /// <summary>Not at all.</summary>
    Off,

    /// <summary>By what followed the last tokens when they stood in the request before.</summary>
    Ngram,
}
