using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace TpServe.Gateway.Access;

/// <summary>A certificate, key or authority of the public interfaces cannot be read; the message says which and why.</summary>
public sealed class CertificateException(string message, Exception inner) : Exception(message, inner);

/// <summary>TLS of the public interfaces: the server's certificate, read anew when its file changes, and whose clients' certificates are taken.</summary>
/// <remarks>
/// Kestrel does the work; of ours is only that files are looked at every few seconds, since certificates of a few weeks are renewed under a running server, and that
/// clients' certificates are checked against one authority, not the system's. A renewal that cannot be read leaves the certificate of before in use.
/// Threads  any.
/// </remarks>
public sealed class ServerCertificate
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(5);

    private readonly string _certificate, _key;
    private readonly X509Certificate2Collection? _authorities;
    private readonly TimeProvider _clock;
    private readonly Lock _gate = new();
    private SslStreamCertificateContext _context;
    private DateTime _written;
    private long _looked;

    /// <param name="certificate">PEM: the server's certificate, then those that lead to its authority.</param>
    /// <param name="key">PEM: its key, not encrypted.</param>
    /// <param name="clientAuthority">PEM: who must have signed a client's certificate; empty = clients need none.</param>
    /// <param name="clock">When files are looked at.</param>
    /// <exception cref="CertificateException">One of them cannot be read.</exception>
    public ServerCertificate(string certificate, string key, string clientAuthority, TimeProvider clock)
    {
        ArgumentNullException.ThrowIfNull(clientAuthority);
        ArgumentNullException.ThrowIfNull(clock);
        (_certificate, _key, _clock) = (certificate, key, clock);
        (_context, _written) = Read();
        _looked = clock.GetTimestamp();
        if (clientAuthority.Length == 0)
            return;
        try
        {
            _authorities = [];
            _authorities.ImportFromPemFile(clientAuthority);
            if (_authorities.Count == 0)
                throw new CryptographicException("it holds no certificate.");
        }
        catch (Exception fault) when (IsOfFile(fault))
        {
            throw new CertificateException($"'{clientAuthority}' is no authority's certificate in PEM: {fault.Message}", fault);
        }
    }

    /// <summary>Has an address speak TLS.</summary>
    public void Use(ListenOptions listen) => listen.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = _ => ValueTask.FromResult(Handshake()) });

    private SslServerAuthenticationOptions Handshake()
    {
        SslServerAuthenticationOptions options = new() { ServerCertificateContext = Current() };
        if (_authorities is null)
            return options;
        options.ClientCertificateRequired = true;
        options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        options.CertificateChainPolicy.CustomTrustStore.AddRange(_authorities);
        return options;
    }

    private SslStreamCertificateContext Current()
    {
        lock (_gate)
        {
            if (_clock.GetElapsedTime(_looked) < s_period)
                return _context;
            _looked = _clock.GetTimestamp();
            try
            {
                if (Written() != _written)
                    (_context, _written) = Read();
            }
            catch (CertificateException)
            {
                // Half of a renewal: the next look finds the other half.
            }
            return _context;
        }
    }

    private (SslStreamCertificateContext Context, DateTime Written) Read()
    {
        try
        {
            DateTime written = Written();
            using X509Certificate2 pair = X509Certificate2.CreateFromPemFile(_certificate, _key);
            X509Certificate2Collection chain = [];
            chain.ImportFromPemFile(_certificate);
            return (SslStreamCertificateContext.Create(new X509Certificate2(pair), chain, offline: true), written);
        }
        catch (Exception fault) when (IsOfFile(fault))
        {
            throw new CertificateException($"'{_certificate}' and '{_key}' are no certificate and its key in PEM: {fault.Message}", fault);
        }
    }

    private DateTime Written() => File.GetLastWriteTimeUtc(_certificate) is var one && File.GetLastWriteTimeUtc(_key) is var other && one > other ? one : other;

    private static bool IsOfFile(Exception fault) => fault is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException;
}
