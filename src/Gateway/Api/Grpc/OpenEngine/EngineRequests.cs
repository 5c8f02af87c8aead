using System.Globalization;
using Grpc.Core;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;
using Oe = TpServe.Protos.OpenEngine;

namespace TpServe.Gateway.Api.Grpc.OpenEngine;

/// <summary>openengine.v1's requests in the words of the public proto, so that defaults and limits are the same by construction.</summary>
internal static class EngineRequests
{
    private const string Priority = "openengine-priority", TargetRank = "openengine-target-dp-rank";

    /// <summary>The continuation that is asked for. What is not served is refused by its name.</summary>
    public static GenerateRequest ToProto(Oe.GenerateRequest asked, Metadata headers)
    {
        Refuse("media", asked.Media.Count > 0);
        Refuse("lora_name", asked.LoraName.Length > 0);
        Refuse("kv.session", asked.Kv?.Session is not null);
        GenerateRequest request = new()
        {
            Sampling = Sampling(asked.Sampling ?? new Oe.SamplingParams()),
            Stopping = Stopping(asked.Stopping ?? new Oe.StoppingOptions()),
            Response = Response(asked.Response ?? new Oe.ResponseOptions()),
            Cache = new CacheOptions { Salt = asked.Kv?.CacheSalt ?? "", Bypass = asked.Kv?.BypassPrefixCache ?? false },
        };
        if (asked.RequestId.Length > 0)
            request.RequestId = asked.RequestId;
        if (asked.Model.Length > 0)
            request.Model = asked.Model;
        if (asked.InputCase == Oe.GenerateRequest.InputOneofCase.Prompt)
            request.Text = asked.Prompt;
        else if (asked.InputCase == Oe.GenerateRequest.InputOneofCase.TokenIds)
            request.TokenIds = new TokenIds { Ids = { asked.TokenIds.Ids.Select(id => Whole("token_ids", id)) } };
        if (Guide(asked.Guided) is { } constraint)
            request.Constraint = constraint;
        if (Number(headers, Priority) is { } priority)
            request.Priority = priority;
        if (Number(headers, TargetRank) is { } rank and not 0)
            throw RequestRejectedException.OutOfRange(TargetRank, $"{rank}", "0: there is one");
        return request;
    }

    /// <summary>Refuses what this release does not serve.</summary>
    public static void Refuse(string field, bool isAsked)
    {
        if (isAsked)
            throw RequestRejectedException.Unimplemented(field);
    }

    private static SamplingOptions Sampling(Oe.SamplingParams asked)
    {
        SamplingOptions sampling = new();
        if (asked.HasTemperature)
            sampling.Temperature = (float)asked.Temperature;
        if (asked.HasTopP)
            sampling.TopP = (float)asked.TopP;
        if (asked.HasTopK)
            sampling.TopK = asked.TopK == -1 ? 0 : asked.TopK; // off, as in vLLM
        if (asked.HasMinP)
            sampling.MinP = (float)asked.MinP;
        if (asked.HasFrequencyPenalty)
            sampling.FrequencyPenalty = (float)asked.FrequencyPenalty;
        if (asked.HasPresencePenalty)
            sampling.PresencePenalty = (float)asked.PresencePenalty;
        if (asked.HasRepetitionPenalty)
            sampling.RepetitionPenalty = (float)asked.RepetitionPenalty;
        if (asked.HasSeed)
            sampling.Seed = asked.Seed;
        if (asked.HasNumSequences)
            sampling.N = Whole("num_sequences", asked.NumSequences);
        return sampling;
    }

    private static StoppingOptions Stopping(Oe.StoppingOptions asked)
    {
        StoppingOptions stopping = new();
        if (asked.HasMaxTokens)
            stopping.MaxTokens = Whole("max_tokens", asked.MaxTokens);
        if (asked.HasMinTokens)
            stopping.MinTokens = Whole("min_tokens", asked.MinTokens);
        if (asked.HasIgnoreEos)
            stopping.IgnoreEos = asked.IgnoreEos;
        if (asked.HasIncludeStopInOutput)
            stopping.IncludeStop = asked.IncludeStopInOutput;
        foreach (Oe.StopCondition condition in asked.Conditions)
            if (condition.ConditionCase == Oe.StopCondition.ConditionOneofCase.StopTokenId)
                stopping.StopTokenIds.Add(Whole("stop_token_id", condition.StopTokenId));
            else
                stopping.Stop.Add(condition.StopText);
        return stopping;
    }

    private static ResponseOptions Response(Oe.ResponseOptions asked)
    {
        Refuse("prompt_logprob_start", asked.PromptLogprobStart > 0);
        ResponseOptions response = new() { TokenIds = true };
        if (asked.ReturnPromptLogprobs)
            response.PromptLogprobs = Candidates("prompt_candidates", asked.PromptCandidates);
        if (asked.ReturnOutputLogprobs)
            (response.Logprobs, response.TopLogprobs) = (true, Candidates("output_candidates", asked.OutputCandidates));
        return response;
    }

    private static int Candidates(string field, Oe.CandidateTokenSelection? asked)
    {
        Refuse($"{field}.token_ids", asked?.SelectionCase == Oe.CandidateTokenSelection.SelectionOneofCase.TokenIds);
        Refuse($"{field}.all", asked?.SelectionCase == Oe.CandidateTokenSelection.SelectionOneofCase.All);
        return Whole($"{field}.top_n", asked?.TopN ?? 0);
    }

    private static Constraint? Guide(Oe.GuidedDecoding? asked) => asked?.GuideCase switch
    {
        null or Oe.GuidedDecoding.GuideOneofCase.None => null,
        Oe.GuidedDecoding.GuideOneofCase.JsonSchema => new Constraint { JsonSchema = asked.JsonSchema },
        Oe.GuidedDecoding.GuideOneofCase.Regex => new Constraint { Regex = asked.Regex },
        Oe.GuidedDecoding.GuideOneofCase.EbnfGrammar => new Constraint { Grammar = asked.EbnfGrammar },
        Oe.GuidedDecoding.GuideOneofCase.Choice => new Constraint { Choice = new Choices { Options = { asked.Choice.Choices } } },
        Oe.GuidedDecoding.GuideOneofCase.JsonObject => new Constraint { JsonObject = true },
        _ => throw RequestRejectedException.Unimplemented("guided.structural_tag"),
    };

    private static int Whole(string field, uint value) =>
        value <= int.MaxValue ? (int)value : throw RequestRejectedException.OutOfRange(field, value.ToString(CultureInfo.InvariantCulture), $"at most {int.MaxValue}");

    private static int? Number(Metadata headers, string key)
    {
        string[] values = [.. headers.GetAll(key).Select(entry => entry.Value)];
        return values switch
        {
            [] => null,
            [{ } one] when int.TryParse(one, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) => number,
            _ => throw RequestRejectedException.Invalid(key, $"The metadata '{key}' must be one whole number."),
        };
    }
}
