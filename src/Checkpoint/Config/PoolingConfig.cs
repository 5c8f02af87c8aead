namespace TpServe.Checkpoint.Config;

/// <summary>Which of a sequence's hidden states make its vector.</summary>
public enum Pooling
{
    /// <summary>The last token's: it alone has seen the whole text.</summary>
    Last,

    /// <summary>The mean of all tokens'.</summary>
    Mean,

    /// <summary>The first token's.</summary>
    First,
}

/// <summary>How the model's makers pool its hidden states.</summary>
/// <param name="Pooling">What its files say; the last token's where they say nothing.</param>
/// <param name="Unserved">What they ask for that TpServe does not do, in words; null = nothing. Such a model generates, and embeds nothing.</param>
public sealed record PoolingConfig(Pooling Pooling, string? Unserved = null)
{
    /// <summary>What vLLM, too, takes for decoders whose files say nothing.</summary>
    public static PoolingConfig Default { get; } = new(Pooling.Last);
}

/// <summary>The pooling module of a sentence-transformers folder.</summary>
internal static class HubPooling
{
    private static readonly string[] s_modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];

    /// <summary>Reads 1_Pooling/config.json.</summary>
    /// <exception cref="ModelLoadException">The file is there and is wrong.</exception>
    public static PoolingConfig Read(string path, long maxBytes)
    {
        if (Directory.EnumerateDirectories(path, "*_Dense").Select(Path.GetFileName).Order(StringComparer.Ordinal).FirstOrDefault() is { } dense)
            return new PoolingConfig(Pooling.Last, $"a further layer after pooling ({dense})");
        if (JsonSection.ReadFile(Path.Combine(path, "1_Pooling", "config.json"), maxBytes) is not { } config)
            return PoolingConfig.Default;
        string[] modes = config.String("pooling_mode") is { } named
            ? [named]
            : [.. s_modes.Where(mode => config.Bool($"pooling_mode_{mode}") == true)];
        return modes switch
        {
            [] => PoolingConfig.Default,
            ["lasttoken"] => new PoolingConfig(Pooling.Last),
            ["mean_tokens" or "mean"] => new PoolingConfig(Pooling.Mean),
            ["cls_token" or "cls"] => new PoolingConfig(Pooling.First),
            _ => new PoolingConfig(Pooling.Last, $"pooling by {string.Join(" and ", modes)}"),
        };
    }
}
