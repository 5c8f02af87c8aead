using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>A server of ours over gRPC: prompts are token ids, and each token's time is known.</summary>
internal sealed class GrpcTarget : IBenchTarget
{
    private const int PoolCharacters = 20_000;

    private readonly GrpcChannel _channel;
    private readonly Inference.InferenceClient _inference;
    private readonly bool _ignoreEos;
    private readonly SamplingOptions _sampling;

    public GrpcTarget(Uri address, string? key, bool ignoreEos, float? temperature)
    {
        _channel = RemoteServer.Connect(address, key);
        _inference = new Inference.InferenceClient(_channel);
        _ignoreEos = ignoreEos;
        _sampling = new SamplingOptions();
        if (temperature is { } given)
            _sampling.Temperature = given;
        Name = $"gRPC {address.Authority}";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public async Task<PromptPool> PrepareAsync(CancellationToken cancellation)
    {
        try
        {
            TokenizeResponse tokens = await _inference.TokenizeAsync(new TokenizeRequest { Text = SyntheticMix.EmbeddedText[..Math.Min(PoolCharacters, SyntheticMix.EmbeddedText.Length)] }, cancellationToken: cancellation);
            return new PromptPool([], [.. tokens.TokenIds.Distinct()], 1);
        }
        catch (RpcException fault) when (!cancellation.IsCancellationRequested)
        {
            throw new BenchFault(fault.StatusCode == StatusCode.Unavailable && fault.InnerException is not null ? RemoteServer.Nobody(_channel.Target) : $"{fault.StatusCode}: {fault.Status.Detail}");
        }
    }

    /// <inheritdoc/>
    public async Task RunAsync(BenchRequest request, BenchRecord record, CancellationToken cancellation)
    {
        GenerateRequest asked = new()
        {
            Sampling = _sampling,
            Stopping = new StoppingOptions { MaxTokens = request.OutputTokens, IgnoreEos = _ignoreEos },
            Response = new ResponseOptions { TokenIds = true },
        };
        if (request.TokenIds.Count > 0)
            asked.TokenIds = new TokenIds { Ids = { request.TokenIds } };
        else
            asked.Text = request.Prompt;
        try
        {
            using AsyncServerStreamingCall<GenerateEvent> call = _inference.GenerateStream(asked, cancellationToken: cancellation);
            await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync(cancellation))
            {
                if (happened.Started is { } started)
                    record.InputTokens = started.PromptTokens;
                if (happened.Delta is { Tokens.Count: > 0 } delta)
                {
                    record.Pieces.Add(BenchRun.Now());
                    record.OutputTokens += delta.Tokens.Count;
                }
            }
        }
        catch (RpcException fault)
        {
            cancellation.ThrowIfCancellationRequested();
            record.Failure = fault.StatusCode.ToString();
        }
    }

    public void Dispose() => _channel.Dispose();
}
