using System.Text.Json;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Fields of OpenAI and vLLM that this release does not serve and that would change the answer: refused by name, never passed over.</summary>
internal static class UnservedFields
{
    private static readonly HashSet<string> s_refused =
    [
        "audio", "bad_words", "best_of", "chat_template", "documents", "echo", "function_call", "functions", "guided_decoding_backend",
        "guided_whitespace_pattern", "kv_transfer_params", "length_penalty", "logits_processors", "lora", "lora_request",
        "mm_processor_kwargs", "modalities", "prediction", "prompt_embeds", "structural_tag", "suffix",
        "tool_choice", "tools", "truncate_prompt_tokens", "use_beam_search", "web_search_options",
    ];

    /// <summary>Refuses the first such field whose value asks for something.</summary>
    public static void Refuse(Dictionary<string, JsonElement>? fields, int outputs)
    {
        foreach ((string name, JsonElement value) in fields ?? [])
            if (s_refused.Contains(name) && !AsksForNothing(name, value, outputs))
                throw RequestRejectedException.Unimplemented(name);
    }

    // What a client may write out although it is the default.
    private static bool AsksForNothing(string name, JsonElement value, int outputs) => (name, value.ValueKind) switch
    {
        (_, JsonValueKind.Null or JsonValueKind.False) => true,
        (_, JsonValueKind.Array) when value.GetArrayLength() == 0 => true,
        ("tool_choice" or "function_call", JsonValueKind.String) => value.ValueEquals("none") || value.ValueEquals("auto"), // nothing to call either way
        ("best_of", JsonValueKind.Number) => value.TryGetInt32(out int best) && best == outputs,
        ("length_penalty", JsonValueKind.Number) => value.GetDouble() == 1,
        ("modalities", JsonValueKind.Array) => value.GetArrayLength() == 1 && value[0].ValueKind == JsonValueKind.String && value[0].ValueEquals("text"),
        ("suffix", JsonValueKind.String) => value.ValueEquals(""),
        _ => false,
    };
}
