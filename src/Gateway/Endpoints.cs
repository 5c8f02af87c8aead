using System.Globalization;
using System.Net;
using System.Net.Sockets;

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
        if (!int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port) || port is < 1 or > IPEndPoint.MaxPort)
        {
            fault = $"'{text}': port '{text[(colon + 1)..]}' is not in 1..{IPEndPoint.MaxPort}.";
            return false;
        }
        string host = text[..colon];
        if (host.Contains(':') && !(host.StartsWith('[') && host.EndsWith(']')))
        {
            fault = $"'{text}': an IPv6 address stands in brackets, as in [::1]:8080.";
            return false;
        }
        host = host.Trim('[', ']');
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

    /// <summary>Whether who listens on one leaves the other no room.</summary>
    public static bool Clash(IPEndPoint one, IPEndPoint other) => one.Port == other.Port && (one.Address.Equals(other.Address) || IsAny(one) || IsAny(other));

    /// <summary>Why an address cannot be listened on, found by listening for a moment; empty where it can, or is none.</summary>
    public static string Fault(string text)
    {
        if (!TryParse(text, out IPEndPoint endpoint, out _))
            return ""; // the settings' fault, and reported there
        try
        {
            using Socket socket = new(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(endpoint);
            socket.Listen(1);
            return "";
        }
        catch (SocketException fault)
        {
            return fault.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => "another process listens there.",
                SocketError.AddressNotAvailable => "this host has no such address.",
                SocketError.AccessDenied => "this user may not listen on that port.",
                _ => fault.Message + ".",
            };
        }
    }

    /// <summary>Whether nobody on another host reaches any of them.</summary>
    public static bool AreLoopback(params string[] addresses) => addresses.All(address => IPAddress.IsLoopback(Parse(address).Address));

    private static bool IsAny(IPEndPoint endpoint) => endpoint.Address.Equals(IPAddress.Any) || endpoint.Address.Equals(IPAddress.IPv6Any);

    /// <summary>Reads an address that was checked before.</summary>
    public static IPEndPoint Parse(string text) =>
        TryParse(text, out IPEndPoint endpoint, out string? fault) ? endpoint : throw new FormatException(fault);
}
