using System.Net;

namespace TpServe.Links;

/// <summary>What guards the links of this process, and so which addresses it may connect to and serve.</summary>
/// <param name="Certificate">The group's; null = no TLS.</param>
/// <param name="Insecure">Whether links to other hosts may go without: somebody said that the network is trusted.</param>
public sealed record LinkSecurity(GroupCertificate? Certificate, bool Insecure)
{
    /// <summary>The flag that names the folder.</summary>
    public const string TlsFlag = "--tls";

    /// <summary>The flag that allows links without TLS.</summary>
    public const string InsecureFlag = "--insecure-links";

    private const string UnixScheme = "unix:";

    /// <summary>No TLS, and so only this host.</summary>
    public static LinkSecurity None { get; } = new(null, Insecure: false);

    /// <summary>Of two settings.</summary>
    /// <param name="folder">Of the certificate; empty = no TLS.</param>
    /// <param name="insecure">Whether links to other hosts may go without.</param>
    /// <exception cref="LinkException">There is no good certificate.</exception>
    public static LinkSecurity Read(string folder, bool insecure)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return new LinkSecurity(folder.Length > 0 ? GroupCertificate.Read(folder) : null, insecure);
    }

    /// <summary>http or https.</summary>
    public string Scheme => Certificate is null ? "http" : "https";

    /// <summary>Why this process may not connect to an address, as it follows it; null where it may.</summary>
    /// <param name="address">http://host:port, https://host:port, unix:/path.</param>
    public string? Fault(string address) => Fault(address, Certificate is not null, Insecure);

    /// <summary>As above, before the certificate is read.</summary>
    public static string? Fault(string address, bool hasCertificate, bool insecure)
    {
        ArgumentNullException.ThrowIfNull(address);
        if (address.StartsWith(UnixScheme, StringComparison.Ordinal))
            return null;
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https"))
            return "is neither https://HOST:PORT nor http://HOST:PORT nor unix:/PATH";
        if (uri.Scheme == "https")
            return hasCertificate ? null : $"needs the group's certificate: {TlsFlag} DIR";
        if (hasCertificate)
            return $"is not encrypted, although {TlsFlag} is given: write https";
        return insecure || IsLoopback(uri) ? null
            : $"is not on this host, and http is not encrypted: give {TlsFlag} DIR and write https, or {InsecureFlag} where the network is trusted";
    }

    /// <summary>Why this process may not listen on addresses, as it follows them; null where it may.</summary>
    public static string? ListenFault(IEnumerable<IPEndPoint> endPoints, bool hasCertificate, bool insecure) =>
        hasCertificate || insecure || endPoints.All(endPoint => IPAddress.IsLoopback(endPoint.Address)) ? null
            : $"is reached from other hosts, and links without TLS are not encrypted: give {TlsFlag} DIR (which tpserve secret {TlsFlag} DIR writes), or {InsecureFlag} where the network is trusted";

    /// <summary>What guards the link to an address, in words.</summary>
    public static string Describe(string address)
    {
        ArgumentNullException.ThrowIfNull(address);
        return address.StartsWith(UnixScheme, StringComparison.Ordinal) ? "unix socket" : address.StartsWith("https:", StringComparison.OrdinalIgnoreCase) ? "TLS" : "plaintext";
    }

    private static bool IsLoopback(Uri uri) =>
        uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));
}
