using System.Globalization;

namespace TpServe.Gateway.Settings;

/// <summary>The size of the KV cache: tokens over all requests, or bytes on each worker; neither = what memory allows.</summary>
public readonly record struct KvCacheSize
{
    /// <summary>Most tokens that may be asked for.</summary>
    public const int MostTokens = 1 << 28;

    /// <summary>Tokens over all requests; null where the size is in bytes, or nobody has chosen.</summary>
    public int? Tokens { get; private init; }

    /// <summary>Bytes of keys and values on the worker that holds most; null likewise.</summary>
    public long? Bytes { get; private init; }

    /// <summary>A number of tokens.</summary>
    public static KvCacheSize OfTokens(int tokens) => new() { Tokens = tokens };

    /// <summary>Bytes on each worker.</summary>
    public static KvCacheSize OfBytes(long bytes) => new() { Bytes = bytes };

    /// <summary>The tokens asked for, where a token takes <paramref name="tokenBytes"/> on the worker that holds most; null = nobody has chosen.</summary>
    public long? TokensAt(long tokenBytes) => Tokens ?? Bytes / Math.Max(tokenBytes, 1);

    /// <summary>Reads 32768 (tokens), 512MiB or 2GiB (bytes), auto.</summary>
    public static bool TryParse(string text, out KvCacheSize size)
    {
        size = default;
        if (text == "auto")
            return true;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int tokens))
        {
            size = OfTokens(tokens);
            return tokens is > 0 and <= MostTokens;
        }
        if (!ByteSizes.TryParse(text, out long bytes))
            return false;
        size = OfBytes(bytes);
        return bytes > 0;
    }

    /// <inheritdoc/>
    public override string ToString() => Tokens is { } tokens ? tokens.ToString(CultureInfo.InvariantCulture) : Bytes is { } bytes ? ByteSizes.Format(bytes) : "auto";
}
