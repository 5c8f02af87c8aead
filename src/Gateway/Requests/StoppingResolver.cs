using System.Globalization;
using System.Text;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Requests;

/// <summary>When the outputs of a request end: its own values where set, else the documented ones; each within its range.</summary>
/// <param name="eosTokenIds">The model's end tokens.</param>
/// <param name="specialTokenOf">The special token that a text is; null = none.</param>
/// <param name="vocabulary">Token ids are below it.</param>
/// <param name="maxModelLen">The context in tokens.</param>
/// <param name="limits">Of the request's lists.</param>
public sealed class StoppingResolver(IReadOnlyList<int> eosTokenIds, Func<string, int?> specialTokenOf, int vocabulary, int maxModelLen, RequestLimits limits)
{
    /// <summary>Every value in force for a prompt of the given length.</summary>
    /// <exception cref="RequestRejectedException">A value is outside its range, or prompt and output do not fit the context.</exception>
    public ResolvedStopping Resolve(StoppingOptions? asked, int promptTokens, IReadOnlyList<int> allowedTokenIds)
    {
        asked ??= new StoppingOptions();
        Check(asked);
        int rest = maxModelLen - promptTokens;
        if (rest < 0 || (rest == 0 && !asked.HasMaxTokens))
            throw RequestRejectedException.PromptTooLong(Text(promptTokens), maxModelLen);
        int maxTokens = asked.HasMaxTokens ? asked.MaxTokens : rest;
        if (maxTokens > rest)
            throw new RequestRejectedException(
                Grpc.Core.StatusCode.InvalidArgument, "CONTEXT_EXCEEDED",
                $"'max_tokens' is {maxTokens}; after a prompt of {promptTokens} tokens the context of {maxModelLen} has room for {rest}.",
                "max_tokens", Text(maxTokens), Text(rest));
        if (asked.MinTokens > maxTokens)
            throw RequestRejectedException.OutOfRange("min_tokens", Text(asked.MinTokens), $"0 to max_tokens ({maxTokens})");

        HashSet<int> stopIds = [.. asked.StopTokenIds];
        Dictionary<int, string> stopTokens = [];
        foreach (string stop in asked.Stop)
            if (specialTokenOf(stop) is { } token && token < vocabulary)
                stopTokens[token] = stop;
        HashSet<int> endIds = [.. stopIds, .. stopTokens.Keys];
        if (!asked.IgnoreEos)
            endIds.UnionWith(eosTokenIds);
        RequireAChoice(asked.MinTokens, endIds, allowedTokenIds);
        return new ResolvedStopping
        {
            MaxTokens = maxTokens,
            MinTokens = asked.MinTokens,
            StopStrings = [.. asked.Stop],
            StopTokenIds = stopIds,
            StopStringOfToken = stopTokens,
            EndTokenIds = endIds,
            IgnoreEos = asked.IgnoreEos,
            IncludeStop = asked.IncludeStop,
        };
    }

    /// <summary>What can be said before the prompt's length is known.</summary>
    public void Check(StoppingOptions asked)
    {
        if (asked.MaxTokens < 0)
            throw RequestRejectedException.OutOfRange("max_tokens", Text(asked.MaxTokens), "0 or more");
        if (asked.MinTokens < 0)
            throw RequestRejectedException.OutOfRange("min_tokens", Text(asked.MinTokens), "0 or more");
        if (asked.Stop.Count > limits.StopStrings)
            throw RequestRejectedException.OutOfRange("stop", $"{asked.Stop.Count} strings", $"at most {limits.StopStrings}");
        foreach (string stop in asked.Stop)
        {
            Utf8Text.Require("stop", stop);
            int bytes = Encoding.UTF8.GetByteCount(stop);
            if (bytes == 0 || bytes > limits.StopStringBytes)
                throw RequestRejectedException.OutOfRange("stop", $"a string of {bytes} bytes", $"strings of 1 to {limits.StopStringBytes} bytes");
        }
        if (asked.StopTokenIds.Count > limits.StopTokenIds)
            throw RequestRejectedException.OutOfRange("stop_token_ids", $"{asked.StopTokenIds.Count} ids", $"at most {limits.StopTokenIds}");
        foreach (int id in asked.StopTokenIds)
            if (id < 0 || id >= vocabulary)
                throw RequestRejectedException.OutOfRange("stop_token_ids", Text(id), $"0 to {vocabulary - 1}, the vocabulary");
    }

    /// <summary>Before min_tokens end tokens are excluded: something must be left to choose from.</summary>
    private void RequireAChoice(int minTokens, HashSet<int> endIds, IReadOnlyList<int> allowedTokenIds)
    {
        bool none = allowedTokenIds.Count > 0 ? allowedTokenIds.All(endIds.Contains) : endIds.Count >= vocabulary;
        if (minTokens > 0 && none)
            throw RequestRejectedException.Invalid(
                "allowed_token_ids", $"'min_tokens' is {minTokens}, but every token that may be chosen is an end token, which cannot come before it.");
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
