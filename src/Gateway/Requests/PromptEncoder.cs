using System.Globalization;
using Grpc.Core;
using TpServe.ChatTemplates;
using TpServe.ChatTemplates.Values;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Requests;

/// <summary>Text and conversations to token ids. Text of the request becomes a special token only where the request says so.</summary>
/// <remarks>
/// 1. a text that has more tokens than wanted whatever they are is refused by its length; 2. long ones take turns (<see cref="EncodingRoom"/>);
/// 3. tokenization ends once there are more tokens than wanted, the deadline has come or the client has left.
/// Errors   <see cref="RequestRejectedException"/>, <see cref="DeadlineExceededException"/>, OperationCanceledException.
/// </remarks>
internal sealed class PromptEncoder(ServingModel model, ServingSettings settings, TimeProvider clock)
{
    private static readonly string[] s_efforts = ["none", "minimal", "low", "medium", "high"];

    private readonly Lazy<AnswerFormat?> _answers = new(() => model.ChatTemplate is null ? null : AnswerFormat.Of(model));
    private readonly EncodingRoom _room = new(settings.Limits.EncodingCharacters, settings.Limits.LightCharacters, clock);

    /// <summary>How the model writes thoughts and calls; null = it has no chat template.</summary>
    public AnswerFormat? Answers => _answers.Value;

    /// <summary>Refuses a text that certainly has more than so many tokens.</summary>
    public void RequirePossible(string text, int mostTokens)
    {
        if (model.Tokenizer.LeastIds(text) > mostTokens)
            throw TooLong(mostTokens);
    }

    /// <summary>Tokens of a text; refused where there are more than so many.</summary>
    public Task<IReadOnlyList<int>> EncodeAsync(
        string text, bool addSpecialTokens, bool parseSpecialTokens, int mostTokens, DateTimeOffset due, CancellationToken cancellation)
    {
        Utf8Text.Require("text", text);
        RequirePossible(text, mostTokens);
        return InTurnAsync(text.Length, due, ended => model.Tokenizer.EncodeWithin(text, addSpecialTokens, parseSpecialTokens, mostTokens, ended) ?? throw TooLong(mostTokens), cancellation);
    }

    /// <summary>Tokens of a conversation laid out by the model's template, which writes the bos token itself; refused where there are more than so many.</summary>
    public Task<IReadOnlyList<int>> EncodeAsync(Conversation chat, int mostTokens, DateTimeOffset due, CancellationToken cancellation)
    {
        Func<CancellationToken, RenderedPrompt> render = Rendering(chat);
        return InTurnAsync(chat.RequestBytes, due, ended =>
        {
            RenderedPrompt prompt = render(ended);
            RequirePossible(prompt.Text, mostTokens);
            return model.Tokenizer.EncodeWithin(
                [.. prompt.Segments.Select(segment => new Tokenization.TextSegment(segment.Text, segment.FromTemplate))], addSpecialTokens: false, mostTokens, ended)
                ?? throw TooLong(mostTokens);
        }, cancellation);
    }

    /// <summary>The text that the model's template makes of a conversation.</summary>
    public Task<string> RenderAsync(Conversation chat, DateTimeOffset due, CancellationToken cancellation)
    {
        Func<CancellationToken, RenderedPrompt> render = Rendering(chat);
        return InTurnAsync(chat.RequestBytes, due, ended => render(ended).Text, cancellation);
    }

    private Func<CancellationToken, RenderedPrompt> Rendering(Conversation chat)
    {
        if (model.ChatTemplate is not { } template)
            throw new RequestRejectedException(
                StatusCode.FailedPrecondition, "NO_CHAT_TEMPLATE", $"Model '{model.Name}' has no chat template; use Generate or /v1/completions.");
        ChatTemplateInput input = Input(chat, Answers!);
        return ended =>
        {
            try
            {
                return template.Render(input, RenderLimits.Default, ended);
            }
            catch (ChatTemplateException fault)
            {
                throw RequestRejectedException.Invalid("messages", $"The model's chat template did not render: {fault.Message}");
            }
        };
    }

    private async Task<T> InTurnAsync<T>(long length, DateTimeOffset due, Func<CancellationToken, T> work, CancellationToken cancellation)
    {
        using IDisposable place = await _room.EnterAsync(length, due, cancellation);
        using CancellationTokenSource late = new(EncodingRoom.Rest(due, clock), clock);
        using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellation);
        try
        {
            return work(ended.Token);
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new DeadlineExceededException("The deadline came while the prompt was tokenized.");
        }
    }

    private RequestRejectedException TooLong(int mostTokens) =>
        RequestRejectedException.PromptTooLong(string.Create(CultureInfo.InvariantCulture, $"more than {mostTokens}"), settings.MaxModelLen);

    private ChatTemplateInput Input(Conversation chat, AnswerFormat answers)
    {
        if (chat.Messages.Count == 0 || chat.Messages.Count > settings.Limits.Messages)
            throw RequestRejectedException.OutOfRange(
                "messages", chat.Messages.Count.ToString(CultureInfo.InvariantCulture), $"1 to {settings.Limits.Messages} messages");
        if (chat is { ContinueFinalMessage: true, AddGenerationPrompt: true })
            throw RequestRejectedException.Invalid("continue_final_message", "'continue_final_message' and 'add_generation_prompt' exclude each other.");
        TemplateTraits traits = answers.Traits;
        (IReadOnlyList<ConversationMessage> messages, Value? tools) = ToolPrompt.Lay(chat, answers);
        return new ChatTemplateInput
        {
            Messages = RequestValue.List(messages.Select(message => message.Of(traits))),
            Tools = tools,
            AddGenerationPrompt = chat.AddGenerationPrompt ?? !chat.ContinueFinalMessage,
            ContinueFinalMessage = chat.ContinueFinalMessage,
            BosToken = model.BosToken,
            EosToken = model.EosToken,
            Extra = Variables(chat, traits),
            Now = clock.GetLocalNow(),
            // Names that the template itself writes: it may build special tokens out of them.
            TrustedRoles = chat.Messages.Select(message => message.Role).Where(traits.Names).Concat(Conversation.CommonRoles).ToHashSet(),
        };
    }

    // What the effort means to templates that only know yes and no; variables of the request's own win.
    private static IReadOnlyDictionary<string, Value> Variables(Conversation chat, TemplateTraits traits)
    {
        if (chat.ReasoningEffort is not { } effort)
            return chat.Variables;
        if (!s_efforts.Contains(effort))
            throw RequestRejectedException.OutOfRange("reasoning_effort", effort.Length <= 16 ? $"'{effort}'" : $"'{effort[..16]}…'", string.Join(", ", s_efforts));
        Dictionary<string, Value> variables = new() { ["reasoning_effort"] = RequestValue.Of(effort) };
        foreach (string name in (string[])["enable_thinking", "thinking"])
            if (traits.Shows(name))
                variables[name] = RequestValue.Of(effort != "none");
        foreach ((string name, Value value) in chat.Variables)
            variables[name] = value;
        return variables;
    }
}
