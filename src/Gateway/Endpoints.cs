using System.Globalization;
using System.Net;

namespace TpServe.Gateway;

/// <summary>HOST:PORT as it stands in settings.</summary>
internal static class Endpoints
{
    /// <summary>Reads HOST:PORT; HOST is an IP address (IPv6 in brackets) or localhost.</summary>
    public static bool TryParse(string text, out IPEndPoint endpoint, out string? fault)
    {
        endpoint = new IPEndPoint(IPAddress.Loopback, 0);
        int colon = text.LastIndexOf(':');
        if (colon <= 0)
        {
            fault = $"'{text}' is not HOST:PORT.";
            return false;
        }
        if (!int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port) || port > IPEndPoint.MaxPort)
        {
            fault = $"'{text}': port '{text[(colon + 1)..]}' is not in 0..{IPEndPoint.MaxPort}.";
            return false;
        }
        string host = text[..colon].Trim('[', ']');
        IPAddress? address = host == "localhost" ? IPAddress.Loopback : null;
        if (address is null && !IPAddress.TryParse(host, out address))
        {
            fault = $"'{text}': host '{host}' is neither an IP address nor localhost.";
            return false;
        }
        endpoint = new IPEndPoint(address, port);
        fault = null;
        return true;
    }

    /// <summary>Reads an address that was checked before.</summary>
    public static IPEndPoint Parse(string text) =>
        TryParse(text, out IPEndPoint endpoint, out string? fault) ? endpoint : throw new FormatException(fault);
}
