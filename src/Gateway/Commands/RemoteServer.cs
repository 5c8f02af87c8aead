using System.CommandLine;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>What chat and complete share: the flags that name a server and a way of sampling, and printing a stream as it comes.</summary>
internal sealed class RemoteServer
{
    private readonly Option<string> _server = new("--server")
    {
        Description = "Address of a running server's gRPC interface; without a scheme it is http.",
        HelpName = "URL",
        DefaultValueFactory = _ => "http://127.0.0.1:8081",
    };
    private readonly Option<int?> _maxTokens = new("--max-tokens") { Description = "Most tokens of the answer. Default: the rest of the context.", HelpName = "N" };
    private readonly Option<float?> _temperature = new("--temperature") { Description = "0 = greedy. Default: the model's.", HelpName = "T" };
    private readonly Option<float?> _topP = new("--top-p") { Description = "Nucleus. Default: the model's.", HelpName = "P" };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Likeliest tokens kept. Default: the model's.", HelpName = "K" };
    private readonly Option<ulong?> _seed = new("--seed") { Description = "Makes a sampled answer repeatable.", HelpName = "N" };

    private readonly Option<string?> _key = new("--api-key") { Description = "Key that the server asks for; @FILE reads it from a file, so that no list of processes shows it.", HelpName = "KEY" };

    /// <summary>Gives a command the shared flags.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { _server, _key, _maxTokens, _temperature, _topP, _topK, _seed })
            command.Options.Add(option);
    }

    /// <summary>Sampling as the flags say; what is not named stays unset.</summary>
    public SamplingOptions Sampling(ParseResult parsed)
    {
        SamplingOptions sampling = new();
        if (parsed.GetValue(_temperature) is { } temperature)
            sampling.Temperature = temperature;
        if (parsed.GetValue(_topP) is { } topP)
            sampling.TopP = topP;
        if (parsed.GetValue(_topK) is { } topK)
            sampling.TopK = topK;
        if (parsed.GetValue(_seed) is { } seed)
            sampling.Seed = seed;
        return sampling;
    }

    /// <summary>Stopping as the flags say.</summary>
    public StoppingOptions Stopping(ParseResult parsed)
    {
        StoppingOptions stopping = new();
        if (parsed.GetValue(_maxTokens) is { } maxTokens)
            stopping.MaxTokens = maxTokens;
        return stopping;
    }

    /// <summary>Connects, runs, and turns a failed call into one line and exit code 1.</summary>
    public async Task<int> UseAsync(ParseResult parsed, Func<Inference.InferenceClient, Task<int>> work, CancellationToken cancellation)
    {
        if (!ServerAddress.TryParse(parsed.GetValue(_server)!, out Uri? address, out string unfit))
            return Fail(unfit);
        try
        {
            using GrpcChannel channel = Connect(address, ReadKey(parsed.GetValue(_key)));
            return await work(new Inference.InferenceClient(channel));
        }
        catch (RpcException) when (cancellation.IsCancellationRequested)
        {
            Console.WriteLine();
            return 0;
        }
        catch (RpcException fault)
        {
            return Fail(Describe(parsed, fault));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return Fail(fault.Message);
        }
    }

    /// <summary>A failed call in words, and what to do where that is known.</summary>
    public string Describe(ParseResult parsed, RpcException fault) => fault.StatusCode switch
    {
        StatusCode.Unavailable when fault.InnerException is not null => Nobody(parsed.GetValue(_server)!),
        StatusCode.Unauthenticated => $"{fault.Status.Detail.TrimEnd('.')}; --api-key KEY gives one.",
        _ => $"{fault.StatusCode}: {fault.Status.Detail}",
    };

    /// <summary>A key as --api-key says it: itself, or @FILE.</summary>
    public static string? ReadKey(string? text) => text is ['@', .. var path] ? File.ReadAllText(path).Trim() : text;

    private static int Fail(string reason)
    {
        UsageFault.Tell(reason);
        return 1;
    }

    /// <summary>Why a call failed that nobody took, and what to do.</summary>
    public static string Nobody(string address) => $"no server answers at {address}; 'tpserve serve' starts one, --server URL names another.";

    /// <summary>Environment variable with the key that a server with keys asks for: it is no flag, which other users of the host could read.</summary>
    public const string KeyVariable = "TPSERVE_KEY";

    /// <summary>The key; empty = none is sent. Set once, at the start of the program.</summary>
    public static string Key { get; set; } = "";

    /// <summary>A channel that goes to the server itself: a proxy of the environment is for the web, and speaks no HTTP/2.</summary>
    /// <param name="address">The server.</param>
    /// <param name="key">What a flag says the key is; null = <see cref="Key"/>.</param>
    public static GrpcChannel Connect(Uri address, string? key = null) =>
        GrpcChannel.ForAddress(address, new GrpcChannelOptions { HttpHandler = new KeyHandler(new SocketsHttpHandler { UseProxy = false, EnableMultipleHttp2Connections = true }, key ?? Key), DisposeHttpClient = true });

    /// <summary>Tells a running server something, and turns a failed call into one line and exit code 1.</summary>
    /// <param name="address">As --server says it.</param>
    /// <param name="late">What is said where the call's deadline passes.</param>
    /// <param name="work">The call; its exit code.</param>
    public static async Task<int> ControlAsync(string address, string late, Func<Control.ControlClient, Task<int>> work)
    {
        if (!ServerAddress.TryParse(address, out Uri? uri, out string unfit))
            return Fail(unfit);
        using GrpcChannel channel = Connect(uri);
        try
        {
            return await work(new Control.ControlClient(channel));
        }
        catch (RpcException fault)
        {
            return Fail(fault.StatusCode switch
            {
                StatusCode.DeadlineExceeded => late,
                StatusCode.Unavailable when fault.InnerException is not null => Nobody(address),
                _ => $"{fault.StatusCode}: {fault.Status.Detail}",
            });
        }
    }

    /// <summary>Sends the key with every call.</summary>
    private sealed class KeyHandler(HttpMessageHandler inner, string key) : DelegatingHandler(inner)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (key.Length > 0)
                request.Headers.Authorization = new System.Net.Http.Headers.AuthenticationHeaderValue("Bearer", key);
            return base.SendAsync(request, cancellationToken);
        }
    }

    /// <summary>Prints the deltas as they come and a line of figures at the end; returns the whole text.</summary>
    public static async Task<string> PrintAsync(AsyncServerStreamingCall<GenerateEvent> call, CancellationToken cancellation)
    {
        System.Text.StringBuilder text = new();
        await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync(cancellation))
        {
            if (happened.Delta is { } delta)
            {
                Console.Write(delta.Text);
                text.Append(delta.Text);
            }
            if (happened.Finished is { Usage: { } usage } finished)
            {
                Console.WriteLine();
                Console.Error.WriteLine(FormattableString.Invariant($"[{usage.PromptTokens} prompt tokens, {usage.CompletionTokens} generated, {finished.Reason}]"));
            }
        }
        return text.ToString();
    }
}
