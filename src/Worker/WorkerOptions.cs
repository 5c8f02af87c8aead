using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TpServe.Worker;

/// <summary>Settings of a worker process; everything about the model and the group comes with the gateway's Load call. <see cref="WorkerSettings"/> is their table.</summary>
public sealed record WorkerOptions
{
    /// <summary>Section of the configuration.</summary>
    public const string Section = "Worker";

    /// <summary>Where it serves the gateway and its peers.</summary>
    public ListenAddress Listen { get; init; } = new("", null, []);

    /// <summary>True where the gateway started it: the secret comes on the first line of standard input, and the process ends when that input ends.</summary>
    public bool Supervised { get; init; }

    /// <summary>File that holds the group's secret, for workers started by hand; its content is trimmed.</summary>
    public string SecretFile { get; init; } = "";

    /// <summary>Address under which peers reach it; empty = derived from <see cref="Listen"/>.</summary>
    public string Advertise { get; init; } = "";

    /// <summary>Folder of the group's certificate; empty = links are not encrypted.</summary>
    public string Tls { get; init; } = "";

    /// <summary>Whether links to other hosts may go unencrypted.</summary>
    public bool InsecureLinks { get; init; }

    /// <summary>trace, debug, information, warning, error.</summary>
    public string LogLevel { get; init; } = "information";
}

/// <summary>Where a worker listens: a Unix socket for one host, or a port of each address that a host's name stands for.</summary>
/// <param name="Text">As it was written.</param>
/// <param name="Socket">Path of the Unix socket; null where it listens on ports.</param>
/// <param name="EndPoints">Addresses with their port; empty where it listens on a socket.</param>
public sealed record ListenAddress(string Text, string? Socket, IReadOnlyList<IPEndPoint> EndPoints)
{
    /// <summary>A Unix socket's path, its closing zero left out, must fit sockaddr_un.</summary>
    private const int LongestSocketPath = 107;

    private const string UnixScheme = "unix:";

    /// <summary>Where peers reach it, as far as the setting tells.</summary>
    /// <param name="scheme">http or https.</param>
    public string Address(string scheme) => Socket is null ? $"{scheme}://{Text}" : Text;

    /// <summary>Reads unix:/PATH or HOST:PORT; a name is resolved now.</summary>
    public static bool TryParse(string text, out ListenAddress address, out string fault)
    {
        ArgumentNullException.ThrowIfNull(text);
        address = new ListenAddress(text, null, []);
        fault = "";
        if (text.StartsWith(UnixScheme, StringComparison.Ordinal))
        {
            string path = text[UnixScheme.Length..];
            if (path.Length < 2 || path[0] != '/')
                fault = "is no absolute path after unix:";
            else if (Directory.Exists(path))
                fault = "is a folder; a path for a socket in it is needed";
            else if (!Directory.Exists(Path.GetDirectoryName(path)))
                fault = "lies in a folder that does not exist";
            else if (Encoding.UTF8.GetByteCount(path) > LongestSocketPath)
                fault = string.Create(CultureInfo.InvariantCulture, $"takes {Encoding.UTF8.GetByteCount(path)} bytes; a socket's path has at most {LongestSocketPath}");
            address = address with { Socket = path };
            return fault.Length == 0;
        }

        int colon = text.LastIndexOf(':');
        string host = colon > 0 ? text[..colon] : "";
        if (host.Length == 0 || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) || port == 0)
        {
            fault = "is neither unix:/PATH nor HOST:PORT with a port in 1..65535";
            return false;
        }
        if (host.Contains(':') && !(host.StartsWith('[') && host.EndsWith(']')))
        {
            fault = "has an IPv6 address without brackets; write [::1]:9001";
            return false;
        }
        host = host.Trim('[', ']');
        try
        {
            IPAddress[] addresses = IPAddress.TryParse(host, out IPAddress? literal) ? [literal] : host == "localhost" ? [IPAddress.Loopback] : Dns.GetHostAddresses(host);
            address = address with { EndPoints = [.. addresses.Select(one => new IPEndPoint(one, port))] };
        }
        catch (Exception unresolved) when (unresolved is SocketException or ArgumentException)
        {
            fault = $"cannot be resolved: {unresolved.Message}";
        }
        return fault.Length == 0;
    }
}
