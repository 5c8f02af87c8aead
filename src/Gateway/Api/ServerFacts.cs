using TpServe.Gateway.Api.Grpc;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api;

/// <summary>What the server is and how much it does at this moment, said once for gRPC and HTTP.</summary>
public sealed class ServerFacts(RequestParser parser, InferenceEngine engine, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerClock clock)
{
    /// <summary>Release, model, limits and defaults.</summary>
    public GetServerInfoResponse Info() => new()
    {
        Version = ServerClock.Version,
        Model = model.Name,
        MaxModelLen = settings.MaxModelLen,
        MaxStepTokens = settings.MaxStepTokens,
        ChunkTokens = settings.ChunkTokens,
        MaxSequences = settings.Scheduler.MaxSequences,
        QueueLimit = settings.QueueLimit,
        Degree = group.Topology().Ranks.Count,
        UptimeSeconds = clock.Uptime.TotalSeconds,
        Deterministic = settings.Wire == Protos.Worker.Wire.F32,
        Wire = Words.Wires.Of(settings.Wire),
        DefaultSampling = DefaultSampling(),
        Chat = model.ChatTemplate is not null,
        DraftModel = settings.DraftModel,
    };

    /// <summary>What runs, waits and is held in the KV cache.</summary>
    public GetLoadResponse Load()
    {
        EngineLoad load = engine.Load();
        return new GetLoadResponse
        {
            RunningSequences = load.RunningSequences,
            WaitingSequences = load.WaitingSequences,
            QueueLimit = settings.QueueLimit,
            UsedBlocks = load.UsedBlocks,
            TotalBlocks = load.TotalBlocks,
            BlockTokens = load.BlockTokens,
            Steps = load.Steps,
            GeneratedTokens = load.GeneratedTokens,
            PromptTokens = load.PromptTokens,
            Draining = load.Draining,
            WaitingTokens = load.WaitingTokens,
            CachedBlocks = load.CachedBlocks,
            Preemptions = load.Preemptions,
            Recoveries = load.Recoveries,
            CacheTokensAsked = load.CacheTokens.Asked,
            CacheTokensFound = load.CacheTokens.Found,
            DraftTokensGuessed = load.DraftTokens.Guessed,
            DraftTokensRight = load.DraftTokens.Right,
            Moves = group.Moves,
        };
    }

    private SamplingOptions DefaultSampling()
    {
        SamplingOptions defaults = ProtoReplies.Sampling(parser.DefaultSampling, outputs: 1);
        defaults.ClearSeed(); // chosen anew for each request
        return defaults;
    }
}
