using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Requests;

/// <summary>How the model is served, as plain values.</summary>
public sealed record ServingSettings
{
    /// <summary>Origins of pages that browsers may let call the server; "*" = all, none = only its own.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary>Names beside loopback's and addresses that requests may call the server; null = any. Default none.</summary>
    public IReadOnlyList<string>? Hosts { get; init; } = [];

    /// <summary>File of the keys without which nothing is answered; empty = everybody may call. Default empty.</summary>
    public string KeysFile { get; init; } = "";

    /// <summary>Longest prompt and output together, in tokens.</summary>
    public required int MaxModelLen { get; init; }

    /// <summary>Most tokens in one step. Default 512.</summary>
    public int MaxStepTokens { get; init; } = 512;

    /// <summary>Most prompt tokens of one sequence in one step. Default 256.</summary>
    public int ChunkTokens { get; init; } = 256;

    /// <summary>Most sequences that run at once. Default 64.</summary>
    public int MaxSequences { get; init; } = 64;

    /// <summary>Sequences waiting at which new requests are refused. Default 256.</summary>
    public int QueueLimit { get; init; } = 256;

    /// <summary>Waiting prompt tokens at which new requests are refused. Default 262144.</summary>
    public long QueueTokens { get; init; } = 262_144;

    /// <summary>Requests share the blocks of equal prefixes. Default true.</summary>
    public bool PrefixCache { get; init; } = true;

    /// <summary>LongRoPE: tokens beyond which a sequence is rotated by other factors; 0 = no such border.</summary>
    public int LongRopeBeyond { get; init; }

    /// <summary>Most tokens guessed ahead for requests that do not say; 0 = none. Default 0.</summary>
    public int DraftTokens { get; init; }

    /// <summary>Guesses are looked up in prompt and output. Default true.</summary>
    public bool LooksUp { get; init; } = true;

    /// <summary>The model that guesses ahead; null = there is none. Default null.</summary>
    public DraftSettings? Draft { get; init; }

    /// <summary>Its name; empty = there is none.</summary>
    public string DraftModel { get; init; } = "";

    /// <summary>What partial sums are sent as; anything but f32 rounds them, so that outputs depend on the degree. Default f32.</summary>
    public Wire Wire { get; init; } = Wire.F32;

    /// <summary>Folder of the report that is shown; empty = none.</summary>
    public string ReportFolder { get; init; } = "";

    /// <summary>How long a request may take at most, whatever its client says. Default 1 h.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long an answer whose reader takes nothing may wait for room in the buffers before its connection is ended. Default 20 s.</summary>
    public TimeSpan ReaderPatience { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How the engine deals with what goes wrong around it.</summary>
    public EngineSettings Engine { get; init; } = new();

    /// <summary>How much of past answers of /v1/responses is kept.</summary>
    public ResponseStoreSettings Responses { get; init; } = new();

    /// <summary>What clients are told to wait before they try again. Default 1 s.</summary>
    public TimeSpan RetryAfter { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Caps on what one request may ask for.</summary>
    public RequestLimits Limits { get; init; } = new();

    /// <summary>The scheduler's part.</summary>
    public SchedulerSettings Scheduler => new(MaxStepTokens, ChunkTokens, Math.Min(MaxSequences, MaxStepTokens), QueueLimit)
    {
        QueueTokens = QueueTokens,
        PrefixCache = PrefixCache,
        LongRopeBeyond = LongRopeBeyond,
        Draft = Draft,
    };
}
