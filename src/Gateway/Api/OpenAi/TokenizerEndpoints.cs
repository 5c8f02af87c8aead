using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>POST /tokenize and /detokenize, in vLLM's shapes; POST /apply-template, in llama.cpp's.</summary>
internal sealed class TokenizerEndpoints(RequestParser parser, ServingModel model, ServingSettings settings, TokenTexts texts)
{
    /// <summary>Answers /tokenize.</summary>
    public async Task TokenizeAsync(HttpContext http)
    {
        TokenizeBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.TokenizeBody, settings.Limits.BodyBytes);
        if ((body.Prompt is null) == (body.Messages is null))
            throw RequestRejectedException.Invalid("prompt", "Exactly one of 'prompt' and 'messages' must be given.");
        IReadOnlyList<int> ids = body.Messages is null
            ? await parser.TokenizeAsync(RequestTranslation.ToProto(body), null, http.RequestAborted)
            : await parser.TokenizeAsync(body.Model, ConversationReader.Read(body), http.RequestAborted);
        Dictionary<int, string> known = []; // a long text has a token many times
        TokenizeReply reply = new(ids.Count, settings.MaxModelLen, ids)
        {
            TokenStrs = body.ReturnTokenStrs == true ? [.. ids.Select(id => known.TryGetValue(id, out string? text) ? text : known[id] = texts.Text(id))] : null,
        };
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.TokenizeReply);
    }

    /// <summary>Answers /apply-template: the prompt that a conversation becomes.</summary>
    public async Task ApplyTemplateAsync(HttpContext http)
    {
        TokenizeBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.TokenizeBody, settings.Limits.BodyBytes);
        if (body.Messages is null)
            throw RequestRejectedException.Invalid("messages", "'messages' must be given.");
        DetokenizeReply reply = new(await parser.RenderAsync(body.Model, ConversationReader.Read(body), http.RequestAborted));
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.DetokenizeReply);
    }

    /// <summary>Answers /detokenize.</summary>
    public async Task DetokenizeAsync(HttpContext http)
    {
        DetokenizeBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.DetokenizeBody, settings.Limits.BodyBytes);
        parser.RequireModel(body.Model);
        if (body.Tokens is null)
            throw RequestRejectedException.Invalid("tokens", "'tokens' must be given.");
        parser.RequireTokens("tokens", body.Tokens);
        DetokenizeReply reply = new(model.Tokenizer.Decode(body.Tokens, body.SkipSpecialTokens ?? false));
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.DetokenizeReply);
    }
}
