using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>Options that only this server has, by the names that they have over HTTP: entries of <see cref="ChatOptions.AdditionalProperties"/>.</summary>
internal static class AdditionalOptions
{
    private static readonly Dictionary<string, Action<ChatRequest, JsonElement>> s_setters = new(StringComparer.Ordinal)
    {
        ["request_id"] = (request, value) => request.RequestId = value.GetString(),
        ["min_p"] = (request, value) => request.Sampling.MinP = value.GetSingle(),
        ["repetition_penalty"] = (request, value) => request.Sampling.RepetitionPenalty = value.GetSingle(),
        ["logit_bias"] = (request, value) => request.Sampling.LogitBias.Add(value.Deserialize<Dictionary<int, float>>()),
        ["allowed_token_ids"] = (request, value) => request.Sampling.AllowedTokenIds.AddRange(value.Deserialize<int[]>()),
        ["min_tokens"] = (request, value) => request.Stopping.MinTokens = value.GetInt32(),
        ["stop_token_ids"] = (request, value) => request.Stopping.StopTokenIds.AddRange(value.Deserialize<int[]>()),
        ["ignore_eos"] = (request, value) => request.Stopping.IgnoreEos = value.GetBoolean(),
        ["include_stop_str_in_output"] = (request, value) => request.Stopping.IncludeStop = value.GetBoolean(),
        ["logprobs"] = (request, value) => request.Response.Logprobs = value.GetBoolean(),
        ["top_logprobs"] = (request, value) => request.Response.TopLogprobs = value.GetInt32(),
        ["prompt_logprobs"] = (request, value) => request.Response.PromptLogprobs = value.GetInt32(),
        ["return_token_ids"] = (request, value) => request.Response.TokenIds = value.GetBoolean(),
        ["skip_special_tokens"] = (request, value) => request.Response.SkipSpecialTokens = value.GetBoolean(),
        ["regex"] = (request, value) => Constrain(request, "regex", new Constraint { Regex = value.GetString() }),
        ["grammar"] = (request, value) => Constrain(request, "grammar", new Constraint { Grammar = value.GetString() }),
        ["choice"] = (request, value) => Constrain(request, "choice", new Constraint { Choice = new Choices { Options = { value.Deserialize<string[]>() } } }),
        ["cache_bypass"] = (request, value) => (request.Cache ??= new CacheOptions()).Bypass = value.GetBoolean(),
        ["cache_salt"] = (request, value) => (request.Cache ??= new CacheOptions()).Salt = value.GetString(),
        ["priority"] = (request, value) => request.Priority = value.GetInt32(),
        ["draft_tokens"] = (request, value) => request.DraftTokens = value.GetInt32(),
        ["deterministic"] = (request, value) => request.Deterministic = value.GetBoolean(),
        ["lora"] = (request, value) => request.Lora = value.GetString(),
        ["add_generation_prompt"] = (request, value) => request.AddGenerationPrompt = value.GetBoolean(),
        ["continue_final_message"] = (request, value) => request.ContinueFinalMessage = value.GetBoolean(),
        ["chat_template_kwargs"] = (request, value) => (request.TemplateVariables ??= new Struct()).MergeFrom(Struct.Parser.ParseJson(value.GetRawText())),
    };

    /// <summary>Writes every entry into the request, whose sampling, stopping and response are there.</summary>
    /// <exception cref="NotSupportedException">No option has this name.</exception>
    /// <exception cref="ArgumentException">A value is of the wrong kind.</exception>
    public static void Apply(ChatRequest request, AdditionalPropertiesDictionary? properties)
    {
        foreach ((string name, object? value) in properties ?? [])
        {
            if (!s_setters.TryGetValue(name, out Action<ChatRequest, JsonElement>? set))
                throw new NotSupportedException($"ChatOptions.AdditionalProperties[\"{name}\"] is not an option of TpServe; those are {string.Join(", ", s_setters.Keys)}.");
            if (value is null)
                continue;
            try
            {
                set(request, JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions));
            }
            catch (Exception fault) when (fault is InvalidOperationException or FormatException or JsonException or Google.Protobuf.InvalidProtocolBufferException)
            {
                throw new ArgumentException($"ChatOptions.AdditionalProperties[\"{name}\"] is '{value}': {fault.Message}", fault);
            }
        }
    }

    private static void Constrain(ChatRequest request, string name, Constraint constraint)
    {
        if (request.Constraint is not null)
            throw new NotSupportedException($"ChatOptions.AdditionalProperties[\"{name}\"] is given beside another form of the output; one is served.");
        request.Constraint = constraint;
    }
}
