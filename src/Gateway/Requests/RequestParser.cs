using System.Text;
using Grpc.Core;
using TpServe.Checkpoint;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Answers;
using TpServe.Grammar;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Requests;

/// <summary>Requests of either API to <see cref="ValidatedRequest"/>: every check of the server is made here, and only here.</summary>
/// <remarks>
/// HTTP requests arrive as the same messages, so that limits and defaults are the same by construction. Cheap checks come before tokenization, which ends
/// as soon as a prompt is longer than the context; long prompts take turns.
/// Errors   <see cref="RequestRejectedException"/> naming field, value and limit.
/// </remarks>
public sealed partial class RequestParser
{
    private readonly ServingModel _model;
    private readonly ServingSettings _settings;
    private readonly TimeProvider _clock;
    private readonly SamplingResolver _sampling;
    private readonly StoppingResolver _stopping;
    private readonly PromptEncoder _encoder;
    private readonly ConstraintCompiler _constraints;

    /// <exception cref="ModelLoadException">The model's own sampling defaults are outside their ranges.</exception>
    public RequestParser(ServingModel model, ServingSettings settings, TimeProvider clock, Func<ulong>? chooseSeed = null)
    {
        _model = model;
        _settings = settings;
        _clock = clock;
        _encoder = new PromptEncoder(model, settings, clock);
        _constraints = new ConstraintCompiler(model.Tokenizer, clock);
        // 53 bits: every JSON reader keeps them.
        _sampling = new SamplingResolver(
            model.Generation, model.Config.Vocab, settings.Limits, chooseSeed ?? (() => (ulong)Random.Shared.NextInt64(1L << 53)));
        _stopping = new StoppingResolver(
            model.Generation.EosTokenIds, text => model.Tokenizer.IdOf(text) is { } id && model.Tokenizer.IsSpecial(id) ? id : null, model.Config.Vocab, settings.MaxModelLen, settings.Limits);
        try
        {
            DefaultSampling = _sampling.Resolve(null);
        }
        catch (RequestRejectedException fault)
        {
            throw new ModelLoadException($"The generation defaults of model '{model.Name}' are wrong: {fault.Message}", fault);
        }
    }

    /// <summary>Values for what a request does not set; the seed in it means nothing.</summary>
    public SamplingParameters DefaultSampling { get; }

    /// <summary>Checks a continuation and tokenizes its prompt.</summary>
    public Task<ValidatedRequest> ParseAsync(GenerateRequest request, DateTimeOffset? deadline = null, CancellationToken cancellation = default)
    {
        return ParseAsync(
            request.HasRequestId ? request.RequestId : null, LoraOf(request.HasModel ? request.Model : null, request.HasLora ? request.Lora : null),
            request.Sampling, request.Stopping, request.Response, request.Cache, request.Constraint, request.Priority,
            request.HasDraftTokens ? request.DraftTokens : _settings.DraftTokens, deadline, due => PromptAsync(request, due, cancellation), cancellation);
    }

    /// <summary>Checks the continuations that one call asks for, all or none.</summary>
    public async Task<List<ValidatedRequest>> ParseAsync(IReadOnlyList<GenerateRequest> requests, CancellationToken cancellation)
    {
        // 1. What can be said before any of them is tokenized: one prompt too long refuses all.
        foreach (GenerateRequest request in requests)
            if (request.InputCase == GenerateRequest.InputOneofCase.Text)
                _encoder.RequirePossible(request.Text, _settings.MaxModelLen);

        // 2. One after the other. Each waits in the queue by itself, but what can never stand there together is refused.
        List<ValidatedRequest> valid = [];
        long sequences = 0, tokens = 0;
        foreach (GenerateRequest request in requests)
        {
            ValidatedRequest one = await ParseAsync(request, cancellation: cancellation);
            sequences += one.Outputs;
            tokens += (long)one.PromptTokens.Count * one.Outputs;
            if (requests.Count > 1 && sequences > _settings.QueueLimit)
                throw RequestRejectedException.BeyondTheQueue($"{requests.Count} prompts with {one.Outputs} outputs each", $"{_settings.QueueLimit} (--queue-limit)");
            if (requests.Count > 1 && tokens > _settings.QueueTokens)
                throw RequestRejectedException.BeyondTheQueue($"more than {_settings.QueueTokens} prompt tokens", $"{_settings.QueueTokens} prompt tokens (--queue-tokens)");
            valid.Add(one);
        }
        return valid;
    }

    /// <summary>Checks a conversation and lays it out.</summary>
    /// <param name="request">All that is asked; messages and variables count where they come in no other form.</param>
    /// <param name="conversation">The conversation of an HTTP body, whose variables hold more than a proto can.</param>
    public Task<ValidatedRequest> ParseAsync(
        ChatRequest request, Conversation? conversation = null, DateTimeOffset? deadline = null, CancellationToken cancellation = default)
    {
        Conversation chat = conversation ?? Conversation.Of(request);
        if (chat.Tools.Count == 0 && request.Tools.Count > 0)
            chat = chat with { Tools = ToolDefinition.Of(request.Tools) };
        if (chat.ReasoningEffort is null && request.HasReasoningEffort)
            chat = chat with { ReasoningEffort = request.ReasoningEffort };
        ToolUse use = ToolUse.Of(request, chat.Tools, _settings.Limits);
        if (use.Tools.Count == 0)
            chat = chat with { Tools = [] };
        return ParseAsync(
            request.HasRequestId ? request.RequestId : null, LoraOf(request.HasModel ? request.Model : null, request.HasLora ? request.Lora : null),
            request.Sampling, request.Stopping, request.Response, request.Cache, request.Constraint, request.Priority,
            request.HasDraftTokens ? request.DraftTokens : _settings.DraftTokens, deadline,
            due => _encoder.EncodeAsync(chat, _settings.MaxModelLen, due, cancellation), cancellation,
            (use, !request.HasIncludeReasoning || request.IncludeReasoning));
    }

    /// <summary>Tokens of a text or a conversation, all of them: who asks wants to know how many there are, also beyond the context.</summary>
    public Task<IReadOnlyList<int>> TokenizeAsync(TokenizeRequest request, DateTimeOffset? deadline, CancellationToken cancellation)
    {
        RequireModel(request.HasModel ? request.Model : null);
        DateTimeOffset due = Due(deadline);
        return request.InputCase switch
        {
            TokenizeRequest.InputOneofCase.Text => _encoder.EncodeAsync(
                request.Text, !request.HasAddSpecialTokens || request.AddSpecialTokens, !request.HasParseSpecialTokens || request.ParseSpecialTokens, int.MaxValue, due, cancellation),
            TokenizeRequest.InputOneofCase.Chat => TokenizeAsync(request.HasModel ? request.Model : null, Conversation.Of(request.Chat), due, cancellation),
            _ => throw RequestRejectedException.Invalid("input", "Nothing to tokenize is given: set 'text' or 'chat'."),
        };
    }

    /// <summary>Tokens of a conversation.</summary>
    public Task<IReadOnlyList<int>> TokenizeAsync(string? model, Conversation conversation, CancellationToken cancellation) =>
        TokenizeAsync(model, conversation, Due(null), cancellation);

    private Task<IReadOnlyList<int>> TokenizeAsync(string? model, Conversation conversation, DateTimeOffset due, CancellationToken cancellation)
    {
        RequireModel(model);
        ToolDefinition.RequireWithin(conversation.Tools, _settings.Limits);
        return _encoder.EncodeAsync(conversation, int.MaxValue, due, cancellation);
    }

    /// <summary>The prompt that a conversation becomes.</summary>
    public Task<string> RenderAsync(string? model, Conversation conversation, CancellationToken cancellation)
    {
        RequireModel(model);
        ToolDefinition.RequireWithin(conversation.Tools, _settings.Limits);
        return _encoder.RenderAsync(conversation, Due(null), cancellation);
    }

    /// <summary>Refuses a name that is neither the served model's nor an adapter's, by itself or as MODEL:ADAPTER; the adapter that it names.</summary>
    public ServedLora? RequireModel(string? name)
    {
        if (name is null || _model.Names.Contains(name))
            return null;
        return _model.Loras.Find(name)
            ?? _model.Names.Where(model => name.StartsWith(model + ":", StringComparison.Ordinal)).Select(model => _model.Loras.Find(name[(model.Length + 1)..])).FirstOrDefault(lora => lora is not null)
            ?? throw new RequestRejectedException(
                StatusCode.NotFound, "MODEL_NOT_FOUND", $"Model '{Shown(name)}' is not served here; '{string.Join("' and '", _model.Names)}' {(_model.OtherNames.Count == 0 ? "is" : "are")}.",
                "model", Shown(name), string.Join(", ", _model.Names));
    }

    /// <summary>Refuses token ids outside the vocabulary.</summary>
    public void RequireTokens(string field, IEnumerable<int> ids)
    {
        foreach (int id in ids)
            _sampling.RequireToken(field, id);
    }

    private async Task<ValidatedRequest> ParseAsync(
        string? requestId, ServedLora? lora, SamplingOptions? sampling, StoppingOptions? stopping, ResponseOptions? response, CacheOptions? cache, Constraint? constraint,
        int priority, int draftTokens, DateTimeOffset? deadline, Func<DateTimeOffset, Task<IReadOnlyList<int>>> prompt, CancellationToken cancellation,
        (ToolUse Tools, bool TellsReasoning)? chat = null)
    {
        if (requestId is not null)
            RequireRequestId(requestId);
        SamplingParameters resolved = _sampling.Resolve(sampling);
        _stopping.Check(stopping ?? new StoppingOptions());
        int outputs = sampling is { HasN: true } ? sampling.N : 1;
        RequireWithin("n", outputs, 1, _settings.Limits.Outputs);
        (int? promptLogprobs, int? logprobs) = Reported(response ?? new ResponseOptions());
        RequireWithin("priority", priority, -RequestLimits.Priority, RequestLimits.Priority);
        RequireWithin("draft_tokens", draftTokens, 0, RequestLimits.DraftTokens);
        string salt = Salt(cache);

        if (constraint is not null && resolved.AllowedTokenIds.Count > 0)
            throw RequestRejectedException.Invalid("allowed_token_ids", "'allowed_token_ids' and 'constraint' exclude each other.");

        DateTimeOffset due = Due(deadline);
        if (chat is null && constraint is not null)
            await _constraints.CompileAsync(new AskedForm(constraint), null, due, cancellation); // before the prompt is encoded in vain; it is kept
        IReadOnlyList<int> tokens = await prompt(due);
        if (tokens.Count == 0)
            throw new RequestRejectedException(StatusCode.InvalidArgument, "PROMPT_EMPTY", "The prompt has no tokens; it needs at least one.", "prompt");
        RequireTokens("prompt", tokens); // a tokenizer may know more tokens than the model has rows for
        string id = requestId ?? $"req-{Guid.NewGuid():N}";
        bool skipsSpecials = response is not { HasSkipSpecialTokens: true } || response.SkipSpecialTokens;
        AnswerFormat? answers = chat is null ? null : _encoder.Answers;
        ToolUse use = chat?.Tools ?? ToolUse.None;
        ThoughtState thoughts = answers?.StateAfter(tokens) ?? ThoughtState.Never;
        bool isComposed = answers is not null && CallGrammar.IsNeeded(use, constraint, thoughts);
        if (isComposed && resolved.AllowedTokenIds.Count > 0)
            throw RequestRejectedException.Invalid("allowed_token_ids", "'allowed_token_ids' and calls that are held to a form exclude each other.");
        OutputGrammar? grammar = isComposed
            ? await _constraints.CompileAsync(
                new AskedForm(constraint, CallGrammar.NameOf(use, thoughts)), own => new CallGrammar(answers!).Output(use, own, thoughts), due, cancellation)
            : constraint is null ? null : await _constraints.CompileAsync(new AskedForm(constraint), null, due, cancellation);
        ResolvedStopping ends = _stopping.Resolve(stopping, tokens.Count, resolved.AllowedTokenIds);
        resolved.MinTokens = grammar is null ? ends.MinTokens : 0; // else its masks know
        resolved.EndTokenIds.AddRange(ends.EndTokenIds.Order());
        return new ValidatedRequest
        {
            RequestId = id,
            PromptTokens = tokens,
            Outputs = outputs,
            Sampling = resolved,
            Stopping = ends,
            PromptLogprobs = promptLogprobs,
            Logprobs = logprobs,
            ReturnTokenIds = response?.TokenIds ?? false,
            SkipSpecialTokens = skipsSpecials,
            Answer = answers?.Parsers(use, thoughts, id, skipsSpecials, chat!.Value.TellsReasoning),
            KeptSpecialTokens = answers?.Kept(use) ?? new HashSet<int>(),
            Constraint = grammar is null ? null : () => new OutputConstraint(grammar.NewMatcher(_constraints.Vocabulary), ends.EndTokenIds, _model.Config.Vocab, ends.MinTokens),
            TellRecovering = response?.Recovering ?? false,
            Priority = priority,
            CacheSalt = salt,
            Lora = lora,
            BypassCache = cache?.Bypass ?? false,
            DraftTokens = draftTokens,
            LooksUp = _settings.LooksUp,
            Deadline = due,
        };
    }

    private async Task<IReadOnlyList<int>> PromptAsync(GenerateRequest request, DateTimeOffset due, CancellationToken cancellation)
    {
        switch (request.InputCase)
        {
            case GenerateRequest.InputOneofCase.Text:
                return await _encoder.EncodeAsync(
                    request.Text, !request.HasAddSpecialTokens || request.AddSpecialTokens, !request.HasParseSpecialTokens || request.ParseSpecialTokens, _settings.MaxModelLen, due, cancellation);
            case GenerateRequest.InputOneofCase.TokenIds:
                RequireTokens("token_ids", request.TokenIds.Ids);
                return [.. request.TokenIds.Ids];
            default:
                throw new RequestRejectedException(StatusCode.InvalidArgument, "PROMPT_EMPTY", "No prompt is given: set 'text' or 'token_ids'.", "prompt");
        }
    }

    private (int? Prompt, int? Output) Reported(ResponseOptions response)
    {
        int? promptLogprobs = response.HasPromptLogprobs ? response.PromptLogprobs : null;
        RequireWithin("prompt_logprobs", promptLogprobs ?? 0, 0, _settings.Limits.TopLogprobs);
        RequireWithin("top_logprobs", response.TopLogprobs, 0, _settings.Limits.TopLogprobs);
        if (response.TopLogprobs > 0 && !response.Logprobs)
            throw RequestRejectedException.Invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.");
        return (promptLogprobs, response.Logprobs ? response.TopLogprobs : null);
    }

    private void RequireRequestId(string id)
    {
        if (!_settings.Limits.IsRequestId(id))
            throw RequestRejectedException.OutOfRange("request_id", $"{id.Length} characters", _settings.Limits.RequestIdInWords);
    }

    /// <summary>The adapter that a request names, by either field.</summary>
    private ServedLora? LoraOf(string? model, string? lora)
    {
        ServedLora? named = RequireModel(model);
        if (string.IsNullOrEmpty(lora))
            return named;
        ServedLora asked = _model.Loras.Find(lora) ?? throw LoraRegistry.NotFound(lora);
        return named is null || named == asked ? asked : throw RequestRejectedException.Invalid("lora", "'model' and 'lora' name different adapters.");
    }

    private static void RequireWithin(string field, int value, int least, int most)
    {
        if (value < least || value > most)
            throw RequestRejectedException.OutOfRange(field, $"{value}", $"{least} to {most}");
    }

    private static string Salt(CacheOptions? cache)
    {
        string salt = cache?.Salt ?? "";
        int bytes = Encoding.UTF8.GetByteCount(salt);
        return bytes <= RequestLimits.CacheSaltBytes ? salt : throw RequestRejectedException.OutOfRange("cache.salt", $"{bytes} bytes", $"0 to {RequestLimits.CacheSaltBytes} bytes");
    }

    private DateTimeOffset Due(DateTimeOffset? asked)
    {
        DateTimeOffset latest = _clock.GetUtcNow() + _settings.RequestTimeout;
        return asked is { } deadline && deadline < latest ? deadline : latest;
    }

    private static string Shown(string name) => name.Length <= 100 ? name : name[..100] + "…";
}
