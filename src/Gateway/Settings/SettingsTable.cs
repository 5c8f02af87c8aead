using System.Text.RegularExpressions;
using TpServe.Gateway.Requests;
using TpServe.Links;
using static TpServe.Gateway.Settings.SettingKinds;

namespace TpServe.Gateway.Settings;

/// <summary>Every setting of the gateway. Flags, environment variables, appsettings.json, checks, --help and docs/SETTINGS.md come from these rows alone.</summary>
internal static partial class SettingsTable
{
    private const string Model = "Model and memory", Group = "Workers", Work = "Requests", Faults = "Faults and time limits", Server = "Server";

    public static IReadOnlyList<Setting> All { get; } =
    [
        Row(Model, nameof(GatewayOptions.Model), "--model", Text("FILE|FOLDER|ORG/NAME[:QUANT]", "a GGUF file, a Hugging Face folder, or a model of the hub"), o => o.Model, (o, v) => o with { Model = v },
            "The model to serve. What is no path is a model of the hub, ORG/NAME[@REVISION][:QUANT or :FILE.gguf]: taken from the cache of Hugging Face's programs where it is whole there, else downloaded into it. See docs/MODELS.md.", "the embedded SmolLM2"),
        Row(Model, nameof(GatewayOptions.Draft), "--draft", Text("FILE|FOLDER|ORG/NAME[:QUANT]", "a GGUF file, a Hugging Face folder, or a model of the hub"), o => o.Draft, (o, v) => o with { Draft = v },
            "A small model of the same tokenizer that guesses tokens ahead, which the model then checks several at a time, wherever that is measured to be faster. It changes speed and memory, never a token.", "none"),
        Row(Model, nameof(GatewayOptions.Offline), "--offline", OnOff(), o => o.Offline, (o, v) => o with { Offline = v },
            "Whether models of the hub are taken from its cache alone, and nobody is asked for what is missing; HF_HUB_OFFLINE=1 says the same."),
        Row(Model, nameof(GatewayOptions.Loras), "--lora", NamedFolders(64, Adapters.LoraRegistry.MostNameCharacters), o => o.Loras, (o, v) => o with { Loras = v },
            "A LoRA adapter that is served from the start, as a PEFT folder; repeat it for more (in the environment: commas between them). Requests name it as their model, by itself or as MODEL:NAME. CPU only.", "none"),
        Row(Model, nameof(GatewayOptions.MaxLoras), "--max-loras", Whole(0, 1024), o => o.MaxLoras, (o, v) => o with { MaxLoras = v },
            "Most adapters that are loaded at once, those of --lora among them; each takes 4 bytes for each of its numbers, those of B on one worker or on all, as its matrix is split."),
        Row(Model, nameof(GatewayOptions.LoraDir), "--lora-dir", Text("FOLDER", "a folder"), o => o.LoraDir, (o, v) => o with { LoraDir = v },
            "Folder below which a running server may load adapters when an admin asks it to; links are followed before that is checked.", "none: it loads none but those of --lora"),
        Row(Model, nameof(GatewayOptions.ServedModelNames), "--served-model-name", Names(16, 256), o => o.ServedModelNames, (o, v) => o with { ServedModelNames = v },
            "What requests may name the model; repeat it for further names (in the environment: commas between them). Answers name the first.", "the file's name without extension, the folder's, or ORG/NAME of a model of the hub"),
        Row(Model, nameof(GatewayOptions.MaxModelLen), "--max-model-len", Whole(0, 1 << 24), o => o.MaxModelLen, (o, v) => o with { MaxModelLen = v },
            "Longest context in tokens, prompt and output together; 0 = the model's own, as far as the KV cache allows.", "0"),
        Row(Model, nameof(GatewayOptions.KvCache), "--kv-cache", KvCache(), o => o.KvCache, (o, v) => o with { KvCache = v },
            "Size of the KV cache: tokens over all requests, or bytes on each worker, of which the worker that holds most decides. More than is free beside the weights is refused.", "auto, what memory allows: on GPUs all that --gpu-memory-utilization leaves, on the CPU half of what is free on the tightest host beside the weights, and no more than --max-running requests can fill"),
        Row(Model, nameof(GatewayOptions.KvDtype), "--kv-dtype", Word(Words.KvDtypes), o => o.KvDtype, (o, v) => o with { KvDtype = v },
            "Type of the keys and values in the KV cache. q8 = 8 bits and a scale for every 32 elements of a head: on the CPU, 1.88 times the tokens of f16 in the same memory."),
        Row(Model, nameof(GatewayOptions.BlockTokens), "--block-tokens", Whole(1, 256), o => o.BlockTokens, (o, v) => o with { BlockTokens = v },
            "Tokens of a KV block."),
        Row(Model, nameof(GatewayOptions.PrefixCache), "--prefix-cache", OnOff(), o => o.PrefixCache, (o, v) => o with { PrefixCache = v },
            "Whether requests with an equal beginning share its KV blocks."),
        Row(Model, nameof(GatewayOptions.GpuMemoryUtilization), "--gpu-memory-utilization", Number(0.1, 1), o => o.GpuMemoryUtilization, (o, v) => o with { GpuMemoryUtilization = v },
            "Share of a GPU's free memory that weights and KV cache may take; the rest is for activations and the driver."),

        Row(Group, nameof(GatewayOptions.Tp), "--tp", WholeOrAuto(1, Sharding.Partition.MaxDegree), o => o.Tp, (o, v) => o with { Tp = v },
            "Tensor parallel degree: the number of local workers. On the CPU this host starts no more than twice its cores, or 8 where that is more. With --worker it is their number. auto = the number of GPUs in use, 2 on the CPU, all of --worker; with --partition auto fewer of them compute where that is predicted to be faster, or only that has room.", "auto"),
        Row(Group, nameof(GatewayOptions.Device), "--device", Device(), o => o.Device, (o, v) => o with { Device = v },
            "What the workers compute on: the GPUs found, else the CPU (auto); the CPU; the GPUs found; one GPU for each worker, the same one again where several share it; cuda-emulated runs the CUDA kernels on the CPU, very slowly, as a proof and not to serve."),
        Row(Group, nameof(GatewayOptions.Partition), "--partition", Split(), o => o.Partition, (o, v) => o with { Partition = v },
            "How the model is split: as is predicted to be fastest for the workers, which are timed for a second before they load for the first time, and evenly where they are alike (auto; on GPUs, which are not timed yet, evenly); evenly; or by one weight for each worker."),
        Row(Group, nameof(GatewayOptions.Rebalance), "--rebalance", Word(Words.Rebalances), o => o.Rebalance, (o, v) => o with { Rebalance = v },
            "What happens when a worker on a CPU has become more than 10 % slower than the others, or its host short of memory: the log and the topology say what another split would bring (advise), or the group moves to it, as soon as nothing runs or else between two steps (on): running streams go on with the same tokens, and weights that stay where they are are not read again."),
        Row(Group, nameof(GatewayOptions.RebalanceAfter), "--rebalance-after", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)), o => o.RebalanceAfter, (o, v) => o with { RebalanceAfter = v },
            "How long it must have been so, in time of steps. A move waits twice as long for an idle point, repays itself within twenty times as long at the present load or is not made, and is the last one for ten times as long unless a worker is lost."),
        Row(Group, nameof(GatewayOptions.ProfileCache), "--profile-cache", Text("FOLDER|off", "a folder, which need not exist yet, or off"), o => o.ProfileCache, (o, v) => o with { ProfileCache = v },
            "Where the times of measured workers are kept, so that the next start need not measure; off = they are not.", "tpserve in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)"),
        Row(Group, nameof(GatewayOptions.Threads), "--threads", EachRank(Whole(0, 256)), o => o.Threads, (o, v) => o with { Threads = v },
            "Compute threads of each worker; 0 = the cores of its host divided by the workers on it."),
        Row(Group, nameof(GatewayOptions.RankMemory), "--rank-memory", EachRank(Bytes(1 << 20, 1L << 50)), o => o.RankMemory, (o, v) => o with { RankMemory = v },
            "Most memory that a worker's weights, KV cache and activations may take: the split and the KV cache keep to it.", "what its host or GPU has"),
        Row(Group, nameof(GatewayOptions.Pin), "--pin", OnOff(), o => o.Pin, (o, v) => o with { Pin = v },
            "Whether workers that share CPUs are each bound to their own part of them, along NUMA nodes, where it has as many as they have threads."),
        Row(Group, nameof(GatewayOptions.Isa), "--isa", Word(Words.InstructionSets), o => o.Isa, (o, v) => o with { Isa = v },
            "Instruction set path of the CPU's matrix products; auto = the widest each worker has. All give the same bits."),
        Row(Group, nameof(GatewayOptions.Activations), "--activations", Word(Words.Activations), o => o.Activations, (o, v) => o with { Activations = v },
            "Type of activations entering a product with quantised weights; auto = 8 bits a block, f32 is slower and exact to rounding."),
        Row(Group, nameof(GatewayOptions.Transport), "--transport", Word(Words.Transports), o => o.Transport, (o, v) => o with { Transport = v },
            "What collectives between workers go over; auto = on one host CUDA IPC between GPUs where it proves itself, else shared memory; across hosts shared memory inside each and one worker of each over sockets (hosted) where a host has several that follow each other, else the ring, as where /dev/shm has no room. A transport that is named and not to be had ends the start with the reason."),
        Row(Group, nameof(GatewayOptions.Wire), "--wire", Word(Words.Wires), o => o.Wire, (o, v) => o with { Wire = v },
            "What the partial sums of attention and MLP are sent as between workers: f32, as they are computed; bf16 and q8, 8 bits and a scale for every 32 elements, round them, for less to send over slow links. Outputs then depend on degree, split and hosts, though not on batch or chunks. Not over cuda-ipc."),
        Row(Group, nameof(GatewayOptions.Overlap), "--overlap", Word(Words.Overlaps), o => o.Overlap, (o, v) => o with { Overlap = v },
            "Whether long prompts are computed in blocks of 128 tokens, so that the sum of one block travels between workers while the next is computed: where it is predicted to pay by the paths measured between hosts (auto, with --partition auto), always, or never. Workers on CPUs only; it changes no bit."),
        Row(Group, nameof(GatewayOptions.WireFeedback), "--wire-feedback", OnOff(), o => o.WireFeedback, (o, v) => o with { WireFeedback = v },
            "Whether what rounding a partial sum lost is added to the next one; on is refused: a token would depend on what was computed before it."),
        Row(Group, nameof(GatewayOptions.Workers), "--worker", Urls(Sharding.Partition.MaxDegree), o => o.Workers, (o, v) => o with { Workers = v },
            "Address of a worker that was started elsewhere; repeat it, rank 0 first (in the environment: commas between them). No local worker is started then. A worker serves one gateway at a time: while another one lives it is waited for as long as --connect-timeout.", "none: local workers"),
        Row(Group, nameof(GatewayOptions.SecretFile), "--secret-file", Text("FILE", "a file that can be read"), o => o.SecretFile, (o, v) => o with { SecretFile = v },
            "File with the secret shared with external workers; its content is trimmed. Local workers get a fresh secret at each start.", "none"),
        Row(Group, nameof(GatewayOptions.Tls), LinkSecurity.TlsFlag, Text("DIR", "a folder that tpserve secret --tls has written"), o => o.Tls, (o, v) => o with { Tls = v },
            "Folder with the certificate and key shared with external workers: their links are encrypted by TLS 1.3, each end shows this certificate and takes no other, whoever issued it. Addresses are https:// then.", "none: links are not encrypted"),
        Row(Group, nameof(GatewayOptions.InsecureLinks), LinkSecurity.InsecureFlag, OnOff(), o => o.InsecureLinks, (o, v) => o with { InsecureLinks = v },
            "Whether workers on other hosts may be reached without TLS, where the network is trusted: who listens in there reads prompts and answers."),

        Row(Work, nameof(GatewayOptions.MaxRunning), "--max-running", Whole(1, 1024), o => o.MaxRunning, (o, v) => o with { MaxRunning = v },
            "Requests that may run at once; no more than --max-step-tokens, since each takes a token of every step."),
        Row(Work, nameof(GatewayOptions.QueueLimit), "--queue-limit", Whole(1, 100_000), o => o.QueueLimit, (o, v) => o with { QueueLimit = v },
            "Requests that may wait; one more is refused with RESOURCE_EXHAUSTED (HTTP 429). Every request passes through the queue, so at least 1."),
        Row(Work, nameof(GatewayOptions.QueueTokens), "--queue-tokens", Whole(1, 1 << 28), o => o.QueueTokens, (o, v) => o with { QueueTokens = v },
            "Prompt tokens that may wait; at so many a further request is refused likewise. A call whose prompts are more by themselves is refused for good (HTTP 400)."),
        Row(Work, nameof(GatewayOptions.RequestTimeout), "--request-timeout", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(168)), o => o.RequestTimeout, (o, v) => o with { RequestTimeout = v },
            "The longest any request may take, waiting included, whatever deadline its client sets."),
        Row(Work, nameof(GatewayOptions.MaxStepTokens), "--max-step-tokens", Whole(1, 8192), o => o.MaxStepTokens, (o, v) => o with { MaxStepTokens = v },
            "Most tokens in one step, prefill and decode together."),
        Row(Work, nameof(GatewayOptions.ChunkTokens), "--chunk-tokens", Whole(1, 8192), o => o.ChunkTokens, (o, v) => o with { ChunkTokens = v },
            "Most prompt tokens of one request in one step; no more than --max-step-tokens."),
        Row(Work, nameof(GatewayOptions.Speculation), "--speculation", Word(Words.Speculations), o => o.Speculation, (o, v) => o with { Speculation = v },
            "How tokens are guessed ahead where a request does not say: ngram guesses what followed the last tokens when they stood in the request before; with --draft the draft model guesses where that finds nothing, and everywhere with off. It changes speed, never a token."),
        Row(Work, nameof(GatewayOptions.DraftTokens), "--draft-tokens", Whole(1, RequestLimits.DraftTokens), o => o.DraftTokens, (o, v) => o with { DraftTokens = v },
            "Most tokens guessed ahead in one step of a request."),
        Row(Work, nameof(GatewayOptions.ResumeWindow), "--resume-window", Duration(TimeSpan.Zero, TimeSpan.FromHours(1)), o => o.ResumeWindow, (o, v) => o with { ResumeWindow = v },
            "How long a stream whose client is gone can be taken up again; 0 = not at all, then leaving cancels the request."),
        Row(Work, nameof(GatewayOptions.ResumeBytes), "--resume-bytes", Bytes(1 << 10, 16L << 30), o => o.ResumeBytes, (o, v) => o with { ResumeBytes = v },
            "Memory over all streams for what may be taken up again; the oldest goes first."),
        Row(Work, nameof(GatewayOptions.Responses), "--responses", Whole(0, 1_000_000), o => o.Responses, (o, v) => o with { Responses = v },
            "Answers of /v1/responses that are kept in memory, for previous_response_id and GET; the oldest goes first. 0 = none is."),
        Row(Work, nameof(GatewayOptions.ResponseBytes), "--response-bytes", Bytes(1 << 10, 16L << 30), o => o.ResponseBytes, (o, v) => o with { ResponseBytes = v },
            "Memory over all answers that are kept, each with its conversation; the oldest goes first."),
        Row(Work, nameof(GatewayOptions.ResponseAge), "--response-age", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(8760)), o => o.ResponseAge, (o, v) => o with { ResponseAge = v },
            "How long an answer is kept."),

        Row(Faults, nameof(GatewayOptions.OnRankLoss), "--on-rank-loss", Word(Words.RankLosses), o => o.OnRankLoss, (o, v) => o with { OnRankLoss = v },
            "What happens when a worker is lost: it is started again and what ran goes on (restart); the group stays down and requests are refused, though the process lives (fail); the workers that are left go on, and all of them again when nothing runs (shrink)."),
        Row(Faults, nameof(GatewayOptions.Recoveries), "--recoveries", Whole(0, 100), o => o.Recoveries, (o, v) => o with { Recoveries = v },
            "Losses of the group that a request survives; the next one ends it."),
        Row(Faults, nameof(GatewayOptions.CrashLimit), "--crash-limit", Whole(1, 1_000_000), o => o.CrashLimit, (o, v) => o with { CrashLimit = v },
            "Losses and failed starts of the group within --crash-window after which requests are refused with the reason, and it is tried only every 15 s."),
        Row(Faults, nameof(GatewayOptions.CrashWindow), "--crash-window", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(24)), o => o.CrashWindow, (o, v) => o with { CrashWindow = v },
            "How long a loss or a failed start counts."),
        Row(Faults, nameof(GatewayOptions.SuspectAfter), "--suspect-after", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10)), o => o.SuspectAfter, (o, v) => o with { SuspectAfter = v },
            "How long nothing may be heard of the workers in a step before they are pinged, or 20 times the 99th percentile of the last steps where that is longer."),
        Row(Faults, nameof(GatewayOptions.StepTimeout), "--step-timeout", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)), o => o.StepTimeout, (o, v) => o with { StepTimeout = v },
            "How long one step may take before the group is declared lost."),
        Row(Faults, nameof(GatewayOptions.CollectiveTimeout), "--collective-timeout", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10)), o => o.CollectiveTimeout, (o, v) => o with { CollectiveTimeout = v },
            "How long a collective waits for a peer before the group is declared lost."),
        Row(Faults, nameof(GatewayOptions.ConnectTimeout), "--connect-timeout", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(6)), o => o.ConnectTimeout, (o, v) => o with { ConnectTimeout = v },
            "How long workers that were started elsewhere may take to answer for the first time, and to be free of another gateway."),
        Row(Faults, nameof(GatewayOptions.LoadTimeout), "--load-timeout", Duration(TimeSpan.FromSeconds(5), TimeSpan.FromHours(6)), o => o.LoadTimeout, (o, v) => o with { LoadTimeout = v },
            "How long workers may take to load their shards and to join their group."),
        Row(Faults, nameof(GatewayOptions.DrainTimeout), "--drain-timeout", Duration(TimeSpan.Zero, TimeSpan.FromHours(1)), o => o.DrainTimeout, (o, v) => o with { DrainTimeout = v },
            "How long requests in flight may go on after SIGTERM; a second one ends the server at once."),

        Row(Server, nameof(GatewayOptions.Http), "--http", Address(), o => o.Http, (o, v) => o with { Http = v },
            "Address of the HTTP interface."),
        Row(Server, nameof(GatewayOptions.Grpc), "--grpc", Address(), o => o.Grpc, (o, v) => o with { Grpc = v },
            "Address of the gRPC interface."),
        Row(Server, nameof(GatewayOptions.Keys), "--keys", Text("FILE", "a file that `tpserve keys add` made"), o => o.Keys, (o, v) => o with { Keys = v },
            "File of the keys without which nothing but health is answered; changes of it hold within a second. See docs/SECURITY.md.", "none, everybody who reaches the server may call"),
        Row(Server, nameof(GatewayOptions.AllowedHosts), "--allowed-host", Names(16, 253), o => o.AllowedHosts, (o, v) => o with { AllowedHosts = v },
            "Name, without a port, that requests may call the server by beside localhost and its addresses; repeat it for more (in the environment: commas between them). Others are refused, since a page can have its own name lead to this host.", "none where --http and --grpc are loopback's, else any"),
        Row(Server, nameof(GatewayOptions.ServerCert), "--server-cert", Text("FILE", "a certificate in PEM, and after it those that lead to its authority"), o => o.ServerCert, (o, v) => o with { ServerCert = v },
            "Has HTTP and gRPC speak TLS with this certificate; a renewed file is taken within seconds.", "none, no TLS"),
        Row(Server, nameof(GatewayOptions.ServerKey), "--server-key", Text("FILE", "a key in PEM"), o => o.ServerKey, (o, v) => o with { ServerKey = v },
            "Key of --server-cert.", "none"),
        Row(Server, nameof(GatewayOptions.ClientCa), "--client-ca", Text("FILE", "certificates in PEM"), o => o.ClientCa, (o, v) => o with { ClientCa = v },
            "Authority that must have signed the certificate of whoever connects; needs --server-cert.", "none, clients need no certificate"),
        Row(Server, nameof(GatewayOptions.MaxConnections), "--max-connections", Whole(1, 1_000_000), o => o.MaxConnections, (o, v) => o with { MaxConnections = v },
            "Connections at once, HTTP and gRPC together; one more is closed."),
        Row(Server, nameof(GatewayOptions.CorsOrigins), "--cors", Origins(16), o => o.CorsOrigins, (o, v) => o with { CorsOrigins = v },
            "Origin of pages that may call the HTTP interface from a browser, as in https://chat.example.com; repeat it for more (in the environment: commas between them). * = every page.", "none"),
        Row(Server, nameof(GatewayOptions.Report), "--report", Text("FOLDER", "a folder, which need not exist yet"), o => o.Report, (o, v) => o with { Report = v },
            "Folder of `tpserve report --out` whose last report is shown at /report and by GetTpReport.", "none"),
        Row(Server, nameof(GatewayOptions.LogLevel), "--log-level", Word("trace", "debug", "information", "warning", "error"), o => o.LogLevel, (o, v) => o with { LogLevel = v },
            "Least level of what is logged."),
        Row(Server, nameof(GatewayOptions.LogFormat), "--log-format", Word("text", "json"), o => o.LogFormat, (o, v) => o with { LogFormat = v },
            "Log lines for people, or one JSON object a line (Serilog's compact form)."),
    ];

    /// <summary>The setting of a property; for commands that have some flags of serve.</summary>
    public static Setting Of(string name) => All.Single(setting => setting.Name == name);

    /// <summary>Whether a variable that begins like a setting's belongs to somebody else, so that no setting is missing where it is set.</summary>
    public static bool IsForeign(string variable) => s_foreign.Contains(variable) || Kubernetes().IsMatch(variable);

    private static readonly HashSet<string> s_foreign =
    [
        // The worker's, which share an environment with the gateway where both run by hand on one host.
        "TPSERVE_LISTEN", "TPSERVE_ADVERTISE", "TPSERVE_SUPERVISED",
        // docker-compose.yml's own; what it hands on of them has other names in the container.
        "TPSERVE_IMAGE", "TPSERVE_SDK_IMAGE", "TPSERVE_RUNTIME_IMAGE", "TPSERVE_USER", "TPSERVE_MODELS", "TPSERVE_SHM_SIZE", "TPSERVE_BIND", "TPSERVE_HTTP_PORT", "TPSERVE_GRPC_PORT",
        "TPSERVE_START_PERIOD", "TPSERVE_WORKERS", "TPSERVE_WORKER_BIND", "TPSERVE_WORKER_PORT", "TPSERVE_WORKER_GPU",
        // The key of commands that call a server.
        "TPSERVE_KEY",
        // The tests'.
        "TPSERVE_GOLDENS", "TPSERVE_PTXAS",
    ];

    /// <summary>Kubernetes gives every container of a namespace the addresses of its services: TPSERVE_API_SERVICE_HOST, TPSERVE_API_PORT_8080_TCP_ADDR.</summary>
    [GeneratedRegex("^TPSERVE_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")]
    private static partial Regex Kubernetes();

    private static Setting<T> Row<T>(
        string group, string name, string flag, SettingKind<T> kind, Func<GatewayOptions, T> get, Func<GatewayOptions, T, GatewayOptions> set, string summary, string? defaultInWords = null) =>
        new(group, name, flag, kind, get, set, summary, defaultInWords);
}
