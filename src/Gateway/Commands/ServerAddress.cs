using System.Diagnostics.CodeAnalysis;

namespace TpServe.Gateway.Commands;

/// <summary>--server as people write it: http://host:port, https://host:port, or host:port, which is http.</summary>
internal static class ServerAddress
{
    /// <summary>Reads one; false where it is none, and then says what is wrong.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out Uri? address, out string fault)
    {
        string whole = text.Contains("://", StringComparison.Ordinal) ? text : "http://" + text;
        fault = $"--server '{text}' is not an http://host:port address.";
        return Uri.TryCreate(whole, UriKind.Absolute, out address) && address.Scheme is "http" or "https" && address.Host.Length > 0;
    }
}
