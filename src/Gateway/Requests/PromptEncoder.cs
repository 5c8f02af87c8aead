using System.Globalization;
using Grpc.Core;
using TpServe.ChatTemplates;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>Text and conversations to token ids. Text of the request becomes a special token only where the request says so.</summary>
public sealed class PromptEncoder(ServingModel model, RequestLimits limits, TimeProvider clock)
{
    /// <summary>Tokens of a text.</summary>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens, bool parseSpecialTokens)
    {
        Utf8Text.Require("text", text);
        return model.Tokenizer.Encode(text, addSpecialTokens, parseSpecialTokens);
    }

    /// <summary>Tokens of a conversation laid out by the model's template, which writes the bos token itself.</summary>
    /// <exception cref="RequestRejectedException">The conversation is too long, the template refuses it, or the model has none.</exception>
    public IReadOnlyList<int> Encode(Conversation chat, CancellationToken cancellation)
    {
        if (model.ChatTemplate is null)
            throw new RequestRejectedException(
                StatusCode.FailedPrecondition, "NO_CHAT_TEMPLATE", $"Model '{model.Name}' has no chat template; use Generate or /v1/completions.");
        RenderedPrompt prompt;
        try
        {
            prompt = model.ChatTemplate.Render(Input(chat), RenderLimits.Default, cancellation);
        }
        catch (ChatTemplateException fault)
        {
            throw RequestRejectedException.Invalid("messages", $"The model's chat template did not render: {fault.Message}");
        }
        TextSegment[] segments = [.. prompt.Segments.Select(segment => new TextSegment(segment.Text, segment.FromTemplate))];
        return model.Tokenizer.Encode(segments, addSpecialTokens: false);
    }

    private ChatTemplateInput Input(Conversation chat)
    {
        if (chat.Messages.Count == 0 || chat.Messages.Count > limits.Messages)
            throw RequestRejectedException.OutOfRange(
                "messages", chat.Messages.Count.ToString(CultureInfo.InvariantCulture), $"1 to {limits.Messages} messages");
        if (chat is { ContinueFinalMessage: true, AddGenerationPrompt: true })
            throw RequestRejectedException.Invalid("continue_final_message", "'continue_final_message' and 'add_generation_prompt' exclude each other.");
        return new ChatTemplateInput
        {
            Messages = RequestValue.List(chat.Messages),
            AddGenerationPrompt = chat.AddGenerationPrompt ?? !chat.ContinueFinalMessage,
            ContinueFinalMessage = chat.ContinueFinalMessage,
            BosToken = model.BosToken,
            EosToken = model.EosToken,
            Extra = chat.Variables,
            Now = clock.GetLocalNow(),
            TrustedRoles = Conversation.Roles,
        };
    }
}
