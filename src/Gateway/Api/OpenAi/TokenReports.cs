using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Logprobs in the shapes of OpenAI and vLLM.</summary>
internal sealed class TokenReports(TokenTexts texts)
{
    /// <summary>JSON has no infinity; vLLM writes this instead.</summary>
    private const float LeastLogprob = -9999f;

    /// <summary>vLLM's prompt_logprobs: null, or token id → report, the prompt's own token first.</summary>
    public IReadOnlyList<Dictionary<string, PromptLogprob>?> Prompt(IReadOnlyList<ReportedToken> prompt) =>
        [.. prompt.Select(token => token.Logprobs is { } logprobs ? PromptPlace(token.Id, logprobs) : null)];

    /// <summary>The chat shape.</summary>
    public ChatLogprobs Chat(IReadOnlyList<ReportedToken> tokens) => new([.. tokens.Select(token =>
    {
        TokenLogprobs logprobs = token.Logprobs ?? new TokenLogprobs();
        return Entry(token.Id, logprobs.Logprob) with
        {
            TopLogprobs = [.. logprobs.TopIds.Select((id, i) => Entry(id, logprobs.TopLogprobs[i]))],
        };
    })]);

    /// <summary>The completions shape, from the given place in the text on; the place moves past the tokens.</summary>
    public LegacyLogprobs Legacy(IEnumerable<ReportedToken> tokens, ref int offset)
    {
        List<int> offsets = [];
        List<float?> own = [];
        List<string> names = [];
        List<Dictionary<string, float>?> tops = [];
        foreach (ReportedToken token in tokens)
        {
            string text = texts.Text(token.Id);
            offsets.Add(offset);
            names.Add(text);
            own.Add(token.Logprobs is { } logprobs ? Finite(logprobs.Logprob) : null);
            tops.Add(token.Logprobs is { } top ? Place(token.Id, top) : null);
            offset += text.EnumerateRunes().Count();
        }
        return new LegacyLogprobs { TextOffset = offsets, TokenLogprobs = own, Tokens = names, TopLogprobs = tops };
    }

    private Dictionary<string, PromptLogprob> PromptPlace(int id, TokenLogprobs logprobs)
    {
        Dictionary<string, PromptLogprob> place = new() { [$"{id}"] = new(Finite(logprobs.Logprob), logprobs.Rank, texts.Text(id)) };
        for (int i = 0; i < logprobs.TopIds.Count; i++)
            place.TryAdd($"{logprobs.TopIds[i]}", new(Finite(logprobs.TopLogprobs[i]), i + 1, texts.Text(logprobs.TopIds[i])));
        return place;
    }

    // Two tokens may have the same text (parts of characters): the likelier one stays.
    private Dictionary<string, float> Place(int id, TokenLogprobs logprobs)
    {
        Dictionary<string, float> place = [];
        for (int i = 0; i < logprobs.TopIds.Count; i++)
            place.TryAdd(texts.Text(logprobs.TopIds[i]), Finite(logprobs.TopLogprobs[i]));
        place.TryAdd(texts.Text(id), Finite(logprobs.Logprob));
        return place;
    }

    private TokenLogprob Entry(int id, float logprob) => new()
    {
        Token = texts.Text(id),
        Logprob = Finite(logprob),
        Bytes = [.. texts.Bytes(id).ToArray().Select(value => (int)value)],
    };

    private static float Finite(float logprob) => float.IsFinite(logprob) ? logprob : LeastLogprob;
}
