using System.Globalization;
using TpServe.Checkpoint.Config;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Requests;

/// <summary>Sampling of a request: its own values where set, else the model's defaults, else the documented ones; each within its range.</summary>
public sealed class SamplingResolver(GenerationDefaults defaults, int vocabulary, RequestLimits limits, Func<ulong> chooseSeed)
{
    /// <summary>Every value in force for output 0, but for what stopping decides; a seed is chosen where the request gives none.</summary>
    /// <exception cref="RequestRejectedException">A value is outside its range.</exception>
    public SamplingParameters Resolve(SamplingOptions? asked)
    {
        asked ??= new SamplingOptions();
        foreach ((int id, float bias) in asked.LogitBias)
        {
            RequireToken("logit_bias", id);
            Require("logit_bias", bias, bias is >= -100 and <= 100, "-100 to 100");
        }
        RequireCount("logit_bias", asked.LogitBias.Count, limits.LogitBias);
        RequireCount("allowed_token_ids", asked.AllowedTokenIds.Count, vocabulary);
        foreach (int id in asked.AllowedTokenIds)
            RequireToken("allowed_token_ids", id);

        float temperature = asked.HasTemperature ? asked.Temperature : defaults.DoSample == false ? 0 : defaults.Temperature ?? 1;
        float topP = asked.HasTopP ? asked.TopP : defaults.TopP ?? 1;
        int topK = asked.HasTopK ? asked.TopK : defaults.TopK ?? 0;
        float minP = asked.HasMinP ? asked.MinP : defaults.MinP ?? 0;
        float repetition = asked.HasRepetitionPenalty ? asked.RepetitionPenalty : defaults.RepetitionPenalty ?? 1;
        // The model's own defaults are checked too: they come from a file. (NaN fails every comparison.)
        Require("temperature", temperature, temperature is >= 0 and <= 100, "0 to 100");
        Require("top_p", topP, topP is >= 0 and <= 1, "0 to 1");
        Require("top_k", topK, topK >= 0, "0 or more");
        Require("min_p", minP, minP is >= 0 and <= 1, "0 to 1");
        Require("presence_penalty", asked.PresencePenalty, asked.PresencePenalty is >= -2 and <= 2, "-2 to 2");
        Require("frequency_penalty", asked.FrequencyPenalty, asked.FrequencyPenalty is >= -2 and <= 2, "-2 to 2");
        Require("repetition_penalty", repetition, repetition is > 0 and <= 10, "above 0 to 10");

        return new SamplingParameters
        {
            Temperature = temperature,
            TopP = topP,
            TopK = topK,
            MinP = minP,
            PresencePenalty = asked.PresencePenalty,
            FrequencyPenalty = asked.FrequencyPenalty,
            RepetitionPenalty = repetition,
            Seed = asked.HasSeed ? asked.Seed : chooseSeed(),
            LogitBias = { asked.LogitBias },
            AllowedTokenIds = { asked.AllowedTokenIds },
        };
    }

    /// <summary>Refuses a token id outside the vocabulary.</summary>
    public void RequireToken(string field, int id) => Require(field, id, id >= 0 && id < vocabulary, $"0 to {vocabulary - 1}, the vocabulary");

    private static void RequireCount(string field, int count, int limit) =>
        Require(field, $"{count} entries", count <= limit, $"at most {limit}");

    private static void Require(string field, IFormattable value, bool holds, string limit)
    {
        if (!holds)
            throw RequestRejectedException.OutOfRange(field, value.ToString(null, CultureInfo.InvariantCulture), limit);
    }

    private static void Require(string field, string value, bool holds, string limit)
    {
        if (!holds)
            throw RequestRejectedException.OutOfRange(field, value, limit);
    }
}
