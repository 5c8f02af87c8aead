using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using TpServe.Gateway.Access;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>POST /v1/embeddings.</summary>
internal sealed class EmbeddingEndpoint(RequestParser parser, InferenceEngine engine, ServingModel model, ServingSettings settings)
{
    private const string Shapes = "'input' must be a string, an array of strings, an array of token ids, or an array of such arrays.";

    // Of vLLM's and others: what would change the vectors.
    private static readonly HashSet<string> s_refused =
    [
        "activation", "add_generation_prompt", "chat_template", "chat_template_kwargs", "continue_final_message", "documents", "embed_dtype", "endianness", "input_type", "instruction",
        "lora", "lora_request", "messages", "mm_processor_kwargs", "output_dtype", "pooling", "prompt_embeds", "prompt_name", "softmax", "task", "truncate", "truncate_dim",
        "truncate_prompt_tokens", "truncation", "use_activation",
    ];

    /// <summary>Answers one call.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        engine.RequireRoom();
        EmbeddingBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.EmbeddingBody, settings.Limits.BodyBytes);
        bool base64 = IsBase64(body.EncodingFormat);
        RefuseUnserved(body);
        EmbedRequest asked = Read(body.Input, settings.Limits.EmbeddingInputs);
        Fill(asked, body, CallId.Given(http, settings.Limits));
        ValidatedRequest request = (await parser.ParseAsync(asked, cancellation: http.RequestAborted)).BoundTo(http);
        CallId.Tell(http, request.RequestId);
        EmbeddingResult result = await EmbeddingResult.CollectAsync(engine, request, http.RequestAborted);
        EmbeddingReply reply = new(
            [.. result.Vectors.Select((vector, index) => new EmbeddingItem(index, base64 ? Base64(vector) : vector))], model.Name, new EmbeddingUsage(result.Totals.PromptTokens));
        await JsonBody.WriteAsync(http, reply, OpenAiJson.Api.EmbeddingReply);
    }

    private static bool IsBase64(string? format) => format switch
    {
        null or "float" => false,
        "base64" => true,
        _ => throw RequestRejectedException.OutOfRange("encoding_format", "something else", "float or base64"),
    };

    private void RefuseUnserved(EmbeddingBody body)
    {
        if (body.Dimensions is { } dimensions && dimensions != model.Config.Hidden)
            throw RequestRejectedException.Unimplemented("dimensions");
        foreach ((string name, JsonElement value) in body.Others ?? [])
            if (s_refused.Contains(name) && value.ValueKind is not (JsonValueKind.Null or JsonValueKind.False))
                throw RequestRejectedException.Unimplemented(name);
    }

    private static EmbedRequest Read(JsonElement? input, int mostInputs)
    {
        EmbedRequest request = new();
        if (input is not { ValueKind: not JsonValueKind.Null } given)
            throw RequestRejectedException.Invalid("input", "No 'input' is given.");
        if (given.ValueKind == JsonValueKind.String)
        {
            request.Texts.Add(JsonBody.Text(given, "input"));
            return request;
        }
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid("input", Shapes);
        int count = given.GetArrayLength();
        if (count > 0 && given[0].ValueKind == JsonValueKind.Number)
        {
            request.TokenIds.Add(Ids(given));
            return request;
        }
        if (count > mostInputs)
            throw RequestRejectedException.OutOfRange("input", string.Create(CultureInfo.InvariantCulture, $"{count} inputs"), $"at most {mostInputs}");
        foreach (JsonElement one in given.EnumerateArray())
            if (one.ValueKind == JsonValueKind.String)
                request.Texts.Add(JsonBody.Text(one, "input"));
            else
                request.TokenIds.Add(one.ValueKind == JsonValueKind.Array ? Ids(one) : throw RequestRejectedException.Invalid("input", Shapes));
        return request.Texts.Count == 0 || request.TokenIds.Count == 0 ? request : throw RequestRejectedException.Invalid("input", Shapes);
    }

    private static TokenIds Ids(JsonElement ids)
    {
        TokenIds tokens = new();
        foreach (JsonElement id in ids.EnumerateArray())
            tokens.Ids.Add(id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out int token) ? token : throw RequestRejectedException.Invalid("input", Shapes));
        return tokens;
    }

    private static void Fill(EmbedRequest request, EmbeddingBody body, string? callId)
    {
        if (body.Model is not null)
            request.Model = body.Model;
        if ((body.RequestId ?? callId) is { } id)
            request.RequestId = id;
        if (body.Normalize is { } normalize)
            request.Normalize = normalize;
        if (body.AddSpecialTokens is { } add)
            request.AddSpecialTokens = add;
        if (body.ParseSpecialTokens is { } parse)
            request.ParseSpecialTokens = parse;
        if (body.Priority is { } priority)
            request.Priority = priority;
        request.Cache = new CacheOptions();
        if (body.CacheSalt is { } salt)
            request.Cache.Salt = salt;
        if (body.CacheBypass is { } bypass)
            request.Cache.Bypass = bypass;
    }

    private static string Base64(float[] vector)
    {
        byte[] bytes = new byte[vector.Length * sizeof(float)];
        for (int i = 0; i < vector.Length; i++)
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * sizeof(float)), vector[i]);
        return Convert.ToBase64String(bytes);
    }
}
