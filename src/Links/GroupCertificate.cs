using System.Globalization;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TpServe.Links;

/// <summary>The certificate and key that all processes of a group hold: each shows it, and takes nothing but it from the other end.</summary>
/// <remarks>
/// Pinned by the SHA-256 of the whole certificate; who issued it, and for which names, does not matter. Other certificates that lie beside it are taken too, so
/// that a group can pass from one to the next. TLS 1.3 alone is spoken, and no session is resumed: every connection proves the key anew.
/// Threads  any.
/// </remarks>
public sealed class GroupCertificate
{
    /// <summary>The certificate, PEM.</summary>
    public const string CertificateFile = "tls.crt";

    /// <summary>Its private key, PEM, not encrypted.</summary>
    public const string KeyFile = "tls.key";

    private const string CertificatePattern = "*.crt";
    private const int MostFileBytes = 64 << 10;
    private static readonly TimeSpan s_clocksDiffer = TimeSpan.FromDays(1);

    private readonly SslStreamCertificateContext _context;
    private readonly HashSet<string> _accepted;
    private readonly TimeProvider _time;

    private GroupCertificate(string folder, X509Certificate2 own, IEnumerable<string> accepted, TimeProvider time)
    {
        Folder = folder;
        Fingerprint = FingerprintOf(own);
        Expires = own.NotAfter.ToUniversalTime();
        _accepted = [Fingerprint, .. accepted];
        _context = SslStreamCertificateContext.Create(own, additionalCertificates: null, offline: true);
        _time = time;
    }

    /// <summary>Where it was read from.</summary>
    public string Folder { get; }

    /// <summary>SHA-256, in hexadecimal.</summary>
    public string Fingerprint { get; }

    /// <summary>Until when it holds.</summary>
    public DateTime Expires { get; }

    /// <summary>Makes a key and a certificate that it signs itself, in files that only this user may read.</summary>
    /// <param name="folder">Made where it is missing.</param>
    /// <param name="name">Common name, for whoever looks at it.</param>
    /// <param name="days">How long it holds; from a day ago on, for clocks differ.</param>
    /// <param name="time">The clock.</param>
    /// <exception cref="LinkException">There is one already, or the folder cannot be written.</exception>
    public static void Write(string folder, string name, int days, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(time);
        string certificateFile = Path.Combine(folder, CertificateFile), keyFile = Path.Combine(folder, KeyFile);
        foreach (string file in new[] { certificateFile, keyFile })
            if (Path.Exists(file))
                throw new LinkException($"'{file}' exists, and is not overwritten: the group that uses it would be cut off.");
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        X500DistinguishedNameBuilder subject = new();
        subject.AddCommonName(name);
        CertificateRequest request = new(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        DateTimeOffset now = time.GetUtcNow();
        using X509Certificate2 certificate = request.CreateSelfSigned(now - s_clocksDiffer, now.AddDays(days));
        try
        {
            if (!Directory.Exists(folder) && OperatingSystem.IsWindows())
                Directory.CreateDirectory(folder);
            else if (!Directory.Exists(folder))
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new LinkException($"'{folder}' cannot be made: {fault.Message}", fault);
        }
        SecretFile.Write(keyFile, key.ExportPkcs8PrivateKeyPem());
        SecretFile.Write(certificateFile, certificate.ExportCertificatePem());
    }

    /// <summary>Reads a folder that <see cref="Write"/> has filled.</summary>
    /// <exception cref="LinkException">A file is missing, is none, or does not fit the other; the certificate does not hold now.</exception>
    public static GroupCertificate Read(string folder, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (!Directory.Exists(folder))
            throw new LinkException($"'{folder}' is no folder; tpserve secret --tls DIR makes one.");
        string certificateFile = Path.Combine(folder, CertificateFile), keyFile = Path.Combine(folder, KeyFile);
        string certificateText = ReadText(certificateFile), keyText = ReadText(keyFile);
        List<string> accepted = [];
        foreach (string file in Directory.EnumerateFiles(folder, CertificatePattern).Where(file => Path.GetFileName(file) != CertificateFile))
            accepted.Add(FingerprintOf(Parse(file, () => X509Certificate2.CreateFromPem(ReadText(file)))));
        X509Certificate2 own = Parse(certificateFile, () => X509Certificate2.CreateFromPem(certificateText, keyText));
        if (OperatingSystem.IsWindows())
            own = X509CertificateLoader.LoadPkcs12(own.Export(X509ContentType.Pkcs12), null); // its TLS takes no key that is in memory alone
        time ??= TimeProvider.System;
        return Validity(own, time) is { } fault
            ? throw new LinkException($"'{certificateFile}' {fault}; tpserve secret --tls DIR writes a new one, for every host.")
            : new GroupCertificate(folder, own, accepted, time);
    }

    /// <summary>What is wrong with what the other end shows, as it follows its name; null where it is the group's.</summary>
    public string? Fault(X509Certificate? shown)
    {
        if (shown is null)
            return "shows no certificate";
        X509Certificate2 certificate = shown as X509Certificate2 ?? new X509Certificate2(shown);
        string fingerprint = FingerprintOf(certificate);
        return _accepted.Contains(fingerprint) ? Validity(certificate, _time) is { } fault ? $"shows a certificate that {fault}" : null
            : $"shows another certificate than the group's: SHA-256 {Short(fingerprint)}, and here it is {Short(Fingerprint)}";
    }

    /// <summary>What TLS needs to connect.</summary>
    /// <param name="judged">Told of each connection's fault, or null where it is the group's.</param>
    public SslClientAuthenticationOptions ForClient(Action<string?> judged) => new()
    {
        TargetHost = "tpserve", // of no meaning, and asked for
        EnabledSslProtocols = SslProtocols.Tls13,
        ClientCertificateContext = _context,
        AllowTlsResume = false,
        CertificateChainPolicy = NoChain(),
        RemoteCertificateValidationCallback = (_, certificate, _, _) => Judge(certificate, judged),
    };

    /// <summary>What TLS needs to accept a connection.</summary>
    /// <param name="judged">As for <see cref="ForClient"/>.</param>
    public SslServerAuthenticationOptions ForServer(Action<string?> judged) => new()
    {
        EnabledSslProtocols = SslProtocols.Tls13,
        ServerCertificateContext = _context,
        ClientCertificateRequired = true,
        AllowTlsResume = false,
        CertificateChainPolicy = NoChain(),
        RemoteCertificateValidationCallback = (_, certificate, _, _) => Judge(certificate, judged),
    };

    /// <inheritdoc/>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"SHA-256 {Short(Fingerprint)}{(_accepted.Count > 1 ? $" (and {_accepted.Count - 1} more)" : "")}, until {Expires:yyyy-MM-dd}");

    private bool Judge(X509Certificate? certificate, Action<string?> judged)
    {
        string? fault = Fault(certificate);
        judged(fault);
        return fault is null;
    }

    /// <summary>Nothing is looked up: neither issuers nor revocations.</summary>
    private static X509ChainPolicy NoChain() => new() { RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true, TrustMode = X509ChainTrustMode.CustomRootTrust };

    private static string? Validity(X509Certificate2 certificate, TimeProvider time)
    {
        DateTime now = time.GetUtcNow().UtcDateTime;
        return now > certificate.NotAfter.ToUniversalTime() ? string.Create(CultureInfo.InvariantCulture, $"expired on {certificate.NotAfter.ToUniversalTime():yyyy-MM-dd HH:mm} UTC")
            : now < certificate.NotBefore.ToUniversalTime() ? string.Create(CultureInfo.InvariantCulture, $"does not hold before {certificate.NotBefore.ToUniversalTime():yyyy-MM-dd HH:mm} UTC")
            : null;
    }

    private static string FingerprintOf(X509Certificate2 certificate) => certificate.GetCertHashString(HashAlgorithmName.SHA256);

    private static string Short(string fingerprint) => fingerprint[..16] + "…";

    private static X509Certificate2 Parse(string file, Func<X509Certificate2> parse)
    {
        try
        {
            return parse();
        }
        catch (Exception fault) when (fault is CryptographicException or ArgumentException)
        {
            throw new LinkException($"'{file}' holds no certificate in PEM form, or one that does not fit its key: {fault.Message}", fault);
        }
    }

    private static string ReadText(string file)
    {
        try
        {
            FileInfo info = new(file);
            if (!info.Exists)
                throw new LinkException($"'{file}' does not exist; tpserve secret --tls DIR writes it.");
            return info.Length > MostFileBytes
                ? throw new LinkException(string.Create(CultureInfo.InvariantCulture, $"'{file}' has {info.Length} bytes; a certificate or key has at most {MostFileBytes}."))
                : File.ReadAllText(file);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new LinkException($"'{file}' cannot be read: {fault.Message}", fault);
        }
    }
}

/// <summary>The certificate of the group cannot be written, read or used.</summary>
public sealed class LinkException(string message, Exception? inner = null) : Exception(message, inner);
