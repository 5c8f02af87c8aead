using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>Which tokens end an answer: what the model's files say in any place, and the ends of turns that its chat template writes.</summary>
/// <remarks>
/// One place alone is often wrong: a converter keeps the base model's end of text where the template ends turns with another token, a folder names its end in
/// tokenizer_config.json only.
/// Source  the texts llama.cpp takes for ends of generation; transformers' and vLLM's union of generation_config.json and the tokenizer's end.
/// </remarks>
internal static class EndTokens
{
    private static readonly string[] s_endsOfTurns =
    [
        "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<|eot|>", "<|end_of_turn|>", "<|endofturn|>", "<|END_OF_TURN_TOKEN|>",
        "<end_of_utterance>", "<|end_of_sentence|>", "<｜end▁of▁sentence｜>", "<|return|>", "<|call|>", "<EOT>", "_<EOT>", "<turn|>", "[e~[",
    ];

    /// <summary>The ids, those that the files name first.</summary>
    public static IReadOnlyList<int> Of(ModelCheckpoint checkpoint, Tokenizer tokenizer)
    {
        List<int> ids = [.. checkpoint.Generation.EosTokenIds];
        if (checkpoint.Tokenizer.EosToken is { Length: > 0 } text && tokenizer.IdOf(text) is { } own)
            ids.Add(own);
        if (checkpoint.Tokenizer.ChatTemplate is { } template)
        {
            // Where channels end with <|end|>, an answer goes on after it.
            bool hasChannels = template.Contains("<|return|>", StringComparison.Ordinal);
            foreach (string end in s_endsOfTurns)
                if (template.Contains(end, StringComparison.Ordinal) && !(hasChannels && end == "<|end|>") && tokenizer.IdOf(end) is { } id && tokenizer.IsSpecial(id))
                    ids.Add(id);
        }
        return [.. ids.Distinct()];
    }

    /// <summary>Them in words.</summary>
    public static string Describe(IReadOnlyList<int> ids, Tokenizer tokenizer) => ids.Count == 0
        ? "none known: answers end at their limit"
        : string.Join(", ", ids.Select(id => string.Create(CultureInfo.InvariantCulture, $"{tokenizer.TokenText(id) ?? "?"} ({id})")));
}
