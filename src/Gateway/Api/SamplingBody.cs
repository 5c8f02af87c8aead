using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Google.Protobuf.Collections;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api;

/// <summary>What bodies of every dialect that names its sampling as OpenAI and vLLM do have in common; null is the same as not given.</summary>
/// <remarks>
/// A field that the public proto has too is read straight into it. Lists and maps have getters because the JSON reader passes over those that have none.
/// </remarks>
public abstract class SamplingBody
{
    [JsonIgnore] public SamplingOptions Sampling { get; } = new();

    [JsonIgnore] public StoppingOptions Stopping { get; } = new();

    [JsonIgnore] public ResponseOptions Response { get; } = new();

    [JsonIgnore] public CacheOptions Cache { get; } = new();

    public string? Model { get; set; }

    public string? RequestId { get; set; }

    /// <summary>What the call's header says it is called; null = it has none.</summary>
    [JsonIgnore] public string? CallId { get; set; }

    public bool? Stream { get; set; }

    /// <summary>Everything else: refused where it would change the answer, passed over where not.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }

    public float? Temperature { set => Set(value, given => Sampling.Temperature = given); }

    public float? TopP { set => Set(value, given => Sampling.TopP = given); }

    /// <summary>-1 means 0, off, as in vLLM.</summary>
    public int? TopK { set => Set(value, given => Sampling.TopK = given == -1 ? 0 : given); }

    public float? MinP { set => Set(value, given => Sampling.MinP = given); }

    public float? PresencePenalty { set => Set(value, given => Sampling.PresencePenalty = given); }

    public float? FrequencyPenalty { set => Set(value, given => Sampling.FrequencyPenalty = given); }

    public float? RepetitionPenalty { set => Set(value, given => Sampling.RepetitionPenalty = given); }

    /// <summary>-2⁶³ to 2⁶⁴ - 1; negative numbers stand for the same 64 bits.</summary>
    public Int128? Seed
    {
        set => Set(value, given => Sampling.Seed = given >= long.MinValue && given <= ulong.MaxValue
            ? unchecked((ulong)given)
            : throw RequestRejectedException.OutOfRange("seed", given.ToString(CultureInfo.InvariantCulture), "a whole number of 64 bits"));
    }

    /// <summary>Token id → bias.</summary>
    public Dictionary<string, float>? LogitBias
    {
        get => Sampling.LogitBias.ToDictionary(bias => bias.Key.ToString(CultureInfo.InvariantCulture), bias => bias.Value);
        set
        {
            Sampling.LogitBias.Clear();
            foreach ((string id, float bias) in value ?? [])
                if (!int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out int token) || !Sampling.LogitBias.TryAdd(token, bias))
                    throw RequestRejectedException.Invalid("logit_bias", "The keys of 'logit_bias' must be token ids, each once.");
        }
    }

    public List<int>? AllowedTokenIds
    {
        get => [.. Sampling.AllowedTokenIds];
        set
        {
            if (value is { Count: 0 })
                throw RequestRejectedException.OutOfRange("allowed_token_ids", "empty", "at least one token id");
            Fill(Sampling.AllowedTokenIds, value);
        }
    }

    public int? MinTokens { set => Set(value, given => Stopping.MinTokens = given); }

    public List<int>? StopTokenIds { get => [.. Stopping.StopTokenIds]; set => Fill(Stopping.StopTokenIds, value); }

    public bool? IgnoreEos { set => Set(value, given => Stopping.IgnoreEos = given); }

    public bool? SkipSpecialTokens { set => Set(value, given => Response.SkipSpecialTokens = given); }

    /// <summary>Larger runs earlier.</summary>
    public int? Priority { get; set; }

    public string? CacheSalt { set => Cache.Salt = value ?? ""; }

    public bool? CacheBypass { set => Set(value, given => Cache.Bypass = given); }

    /// <summary>The same by the proto's names.</summary>
    [JsonPropertyName("cache")]
    public CacheBody? CacheByName
    {
        set
        {
            CacheSalt = value?.Salt ?? Cache.Salt;
            CacheBypass = value?.Bypass;
        }
    }

    public int? DraftTokens { get; set; }

    /// <summary>What is asked beside the conversation, in the words of the public proto, so that defaults and limits are the same by construction.</summary>
    public ChatRequest ToChat()
    {
        ChatRequest request = new() { Sampling = Sampling, Stopping = Stopping, Response = Response, Cache = Cache };
        if (Model is not null)
            request.Model = Model;
        if ((RequestId ?? CallId) is { } id)
            request.RequestId = id;
        if (Priority is { } priority)
            request.Priority = priority;
        if (DraftTokens is { } guesses)
            request.DraftTokens = guesses;
        return request;
    }

    private protected static void Set<T>(T? value, Action<T> set)
        where T : struct
    {
        if (value is { } given)
            set(given);
    }

    private protected static void Fill<T>(RepeatedField<T> field, List<T>? values)
    {
        field.Clear();
        field.AddRange(values ?? []);
    }
}

/// <summary>How a request uses the cache of prefixes.</summary>
public sealed record CacheBody
{
    public string? Salt { get; init; }

    public bool? Bypass { get; init; }
}
