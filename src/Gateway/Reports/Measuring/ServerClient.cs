using System.Diagnostics;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>A request as it came back, in seconds of one clock.</summary>
/// <param name="Sent">When it was sent.</param>
internal sealed record RequestTimes(double Sent)
{
    /// <summary>Tokens of its prompt; 0 before it began.</summary>
    public int PromptTokens { get; set; }

    /// <summary>When each token came; those of one step come together.</summary>
    public List<double> Tokens { get; } = [];

    /// <summary>From request to first token; null where none came.</summary>
    public double? FirstToken => Tokens.Count > 0 ? Tokens[0] - Sent : null;

    /// <summary>Mean time of a token after the first; null where there is none.</summary>
    public double? PerToken => Tokens.Count > 1 ? (Tokens[^1] - Tokens[0]) / (Tokens.Count - 1) : null;

    /// <summary>Between two tokens.</summary>
    public IEnumerable<double> Gaps => Tokens.Zip(Tokens.Skip(1), (one, next) => next - one);
}

/// <summary>What a report asks of a server, over gRPC as any client.</summary>
internal sealed class ServerClient : IDisposable
{
    private const int MostMessageBytes = 1 << 29; // a prompt's logprobs
    private readonly GrpcChannel _channel;
    private readonly Inference.InferenceClient _inference;
    private readonly Control.ControlClient _control;

    public ServerClient(Uri address)
    {
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { UseProxy = false, EnableMultipleHttp2Connections = true },
            DisposeHttpClient = true,
            MaxReceiveMessageSize = MostMessageBytes,
        });
        _inference = new Inference.InferenceClient(_channel);
        _control = new Control.ControlClient(_channel);
    }

    /// <summary>Seconds of the clock that all times are of.</summary>
    public static double Now() => Stopwatch.GetElapsedTime(0).TotalSeconds;

    /// <summary>The group at this moment.</summary>
    public async Task<GetTopologyResponse> TopologyAsync(CancellationToken cancellation) => await _control.GetTopologyAsync(new GetTopologyRequest(), cancellationToken: cancellation);

    /// <summary>The served model.</summary>
    public async Task<ModelInfo> ModelAsync(CancellationToken cancellation) => (await _control.ListModelsAsync(new ListModelsRequest(), cancellationToken: cancellation)).Models[0];

    /// <summary>Token ids of a text.</summary>
    public async Task<int[]> TokenizeAsync(string text, CancellationToken cancellation) =>
        [.. (await _inference.TokenizeAsync(new TokenizeRequest { Text = text }, cancellationToken: cancellation)).TokenIds];

    /// <summary>Streams a greedy continuation that goes on to its last token, beside the prefix cache.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="tokens">To generate.</param>
    /// <param name="times">Filled as tokens come, also where the call is cancelled.</param>
    /// <param name="came">Told of each event with tokens.</param>
    /// <param name="cancellation">Ends it early, by OperationCanceledException.</param>
    public async Task StreamAsync(string prompt, int tokens, RequestTimes times, Action? came, CancellationToken cancellation)
    {
        GenerateRequest request = new()
        {
            Text = prompt,
            Sampling = new SamplingOptions { Temperature = 0 },
            Stopping = new StoppingOptions { MaxTokens = tokens, IgnoreEos = true },
            Response = new ResponseOptions { TokenIds = true },
            Cache = new CacheOptions { Bypass = true },
        };
        try
        {
            using AsyncServerStreamingCall<GenerateEvent> call = _inference.GenerateStream(request, cancellationToken: cancellation);
            await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync(cancellation))
            {
                if (happened.Started is { } started)
                    times.PromptTokens = started.PromptTokens;
                if (happened.Delta is not { Tokens.Count: > 0 } delta)
                    continue;
                double now = Now();
                for (int i = 0; i < delta.Tokens.Count; i++)
                    times.Tokens.Add(now);
                came?.Invoke();
            }
        }
        catch (RpcException) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
    }

    /// <summary>An answer with its logprobs.</summary>
    public async Task<GenerateResponse> GenerateAsync(GenerateRequest request, CancellationToken cancellation)
    {
        try
        {
            return await _inference.GenerateAsync(request, cancellationToken: cancellation);
        }
        catch (RpcException) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
    }

    /// <summary>Logprobs of all positions of a prompt but the first, which has none; nothing is generated.</summary>
    public async Task<IReadOnlyList<PositionLogprobs>> ScoreAsync(ReadOnlyMemory<int> tokens, int top, CancellationToken cancellation)
    {
        GenerateRequest request = new()
        {
            TokenIds = new TokenIds { Ids = { tokens.ToArray() } },
            Stopping = new StoppingOptions { MaxTokens = 0 },
            Response = new ResponseOptions { PromptLogprobs = top },
            Cache = new CacheOptions { Bypass = true },
        };
        return [.. (await GenerateAsync(request, cancellation)).PromptLogprobs.Skip(1).Select(Position)];
    }

    /// <summary>A token's logprobs as they came; NaN where there is none.</summary>
    public static PositionLogprobs Position(TokenInfo token) => new(token.Id, token.HasLogprob ? token.Logprob : float.NaN, [.. token.Top.Select(one => (one.Id, one.Logprob))]);

    public void Dispose() => _channel.Dispose();
}
