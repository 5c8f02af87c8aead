using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace TpServe.Gateway.Access;

/// <summary>What a key lets its holder do.</summary>
public enum KeyScope
{
    /// <summary>Ask for answers, and for what belongs to its own requests.</summary>
    Generate,

    /// <summary>That, and what concerns everybody: drain, flush, trace, topology, other keys' requests.</summary>
    Admin,
}

/// <summary>What one key may use; null = as much as the server gives anybody.</summary>
/// <param name="RequestsPerMinute">Calls a minute, in a burst or spread.</param>
/// <param name="Streams">Calls at once.</param>
/// <param name="TokensPerMinute">Prompt and generated tokens a minute.</param>
public sealed record KeyLimits(int? RequestsPerMinute = null, int? Streams = null, int? TokensPerMinute = null)
{
    /// <summary>Most that any of them may be.</summary>
    public const int Most = 1_000_000_000;
}

/// <summary>A key as the file has it: not the key, but what it is recognised by.</summary>
/// <param name="Name">For people, logs and metrics; also who owns the requests made with it.</param>
/// <param name="Scope">What it may do.</param>
/// <param name="Sha256">Of the key's text, 64 digits in lower case.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Limits">What it may use.</param>
/// <remarks>
/// A key is 256 random bits, so one pass of SHA-256 keeps it: there is no dictionary to go through, and trying keys costs 2²⁵⁵ passes however cheap one is. Salt and slow
/// hashes protect what people choose, and a slow one would be paid by every call.
/// </remarks>
public sealed record AccessKey(string Name, KeyScope Scope, string Sha256, DateTimeOffset Created, KeyLimits Limits)
{
    private const string Prefix = "tps-"; // so that scanners of leaked secrets can be told what to look for
    private const int RandomBytes = 32, LongestName = 64;

    /// <summary>What a name may be.</summary>
    public const string NameInWords = "1 to 64 of a-z, A-Z, 0-9, '.', '_', '-'";

    /// <summary>A new key's text, which is told once.</summary>
    public static string NewText() => Prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes));

    /// <summary>What the file keeps of a key's text.</summary>
    public static string HashOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    /// <summary>Whether a key may be called so.</summary>
    public static bool IsName(string name) =>
        name is { Length: >= 1 and <= LongestName } && name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '_' or '-');
}
