using System.CommandLine;
using System.CommandLine.Parsing;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve serve: the flags, and how each overrides a setting.</summary>
internal static class ServeCommand
{
    private static readonly (Option Option, string Key)[] Flags =
    [
        (Text("--model", "A GGUF file or a Hugging Face folder. Default: the embedded SmolLM2.", "FILE|FOLDER"), nameof(GatewayOptions.Model)),
        (Text("--tp", "Tensor parallel degree: number of local workers. Default: the number of GPUs in use; 2 on the CPU.", "N"), nameof(GatewayOptions.Tp)),
        (Text("--device", "What the workers compute on: the GPUs found, else the CPU (auto, default); the CPU; the GPUs found; one GPU for each worker, by ordinal or as cuda:GPU-UUID, the same one again where several share it; cuda-emulated runs the CUDA kernels on the CPU, very slowly, as a proof and not to serve.", "auto|cpu|cuda|cuda:N,…|cuda-emulated"), nameof(GatewayOptions.Device)),
        (Text("--gpu-memory-utilization", "Share of a GPU's free memory for weights and KV cache. Default 0.9.", "0.1..1"), nameof(GatewayOptions.GpuMemoryUtilization)),
        (Text("--partition", "even, or one weight for each worker, as in 2,1. Default even.", "even|w0,w1,…"), nameof(GatewayOptions.Partition)),
        (Text("--threads", "Compute threads of each worker. Default: cores divided by workers.", "N"), nameof(GatewayOptions.Threads)),
        (Text("--transport", "Collectives between workers. Default auto: on one host CUDA IPC between GPUs where it proves itself, else shared memory; across hosts the ring.", "auto|cuda-ipc|shm|ring"), nameof(GatewayOptions.Transport)),
        (Workers(), nameof(GatewayOptions.Workers)),
        (Text("--secret-file", "File with the secret shared with external workers.", "FILE"), nameof(GatewayOptions.SecretFile)),
        (Text("--kv-dtype", "Type of the KV cache. Default f16.", "f16|f32|bf16"), nameof(GatewayOptions.KvDtype)),
        (Text("--activations", "Type of activations entering a product with quantised weights. Default auto (8 bits a block).", "auto|f32"), nameof(GatewayOptions.Activations)),
        (Text("--isa", "Instruction set path of the workers. Default auto: the widest they share.", "auto|scalar|avx2|avx512|avx512-vnni"), nameof(GatewayOptions.Isa)),
        (Text("--max-model-len", "Longest context in tokens. Default: the model's own, as far as memory allows.", "N"), nameof(GatewayOptions.MaxModelLen)),
        (Text("--chunk-tokens", "Most prompt tokens of one request in one step. Default 512.", "N"), nameof(GatewayOptions.ChunkTokens)),
        (Text("--http", "Address of the HTTP interface. Default 127.0.0.1:8080.", "HOST:PORT"), nameof(GatewayOptions.Http)),
        (Text("--grpc", "Address of the gRPC interface. Default 127.0.0.1:8081.", "HOST:PORT"), nameof(GatewayOptions.Grpc)),
        (Text("--log-level", "trace, debug, information, warning, error. Default information.", "LEVEL"), nameof(GatewayOptions.LogLevel)),
    ];

    public static Command Create()
    {
        Command serve = new("serve", "Starts the workers and serves gRPC and HTTP (the default command).");
        AddTo(serve);
        return serve;
    }

    /// <summary>Gives a command the flags of serve, and its action.</summary>
    public static void AddTo(Command command)
    {
        AddFlagsTo(command);
        command.SetAction((parsed, cancellation) => Server.RunAsync(Overrides(parsed), cancellation));
    }

    /// <summary>Gives a command the flags of serve.</summary>
    public static void AddFlagsTo(Command command)
    {
        foreach ((Option option, string _) in Flags)
            command.Options.Add(option);
    }

    /// <summary>Settings named on the command line, as configuration keys. Values are checked with all others, so that every fault is reported together.</summary>
    public static Dictionary<string, string?> Overrides(ParseResult parsed)
    {
        Dictionary<string, string?> overrides = [];
        foreach ((Option option, string key) in Flags)
        {
            if (parsed.GetResult(option) is not OptionResult { Implicit: false } result)
                continue;
            string path = $"{GatewayOptions.Section}:{key}";
            if (option is Option<string[]> many)
                foreach ((int index, string value) in result.GetValue(many)!.Index())
                    overrides[$"{path}:{index}"] = value;
            else
                overrides[path] = result.GetValue((Option<string>)option);
        }
        return overrides;
    }

    private static Option<string> Text(string name, string description, string help) => new(name) { Description = description, HelpName = help };

    private static Option<string[]> Workers() => new("--worker")
    {
        Description = "Address of a worker started elsewhere (http://host:port); repeat it, rank 0 first. No local worker is started then.",
        HelpName = "URL",
    };
}
