using System.Net.Http;
using System.Security.Authentication;

namespace TpServe.Links;

/// <summary>One end's knowledge of TLS with one peer: tells a peer that must not be trusted, or cannot be spoken to, from one that is not there.</summary>
/// <remarks>
/// A peer that refuses this end's certificate says nothing: in TLS 1.3 the handshake is over for this end by then, and the connection just closes. One that does so
/// again and again has refused it; once, it may have died.
/// Threads  any; calls that fail are asked about one after another.
/// </remarks>
public sealed class PeerTrust(LinkSecurity links)
{
    /// <summary>RFC 9113, §7: with it a peer that asks for TLS ends a connection that has none.</summary>
    private const long InadequateSecurity = 0xc;

    private const int RefusalsToBelieve = 3;

    private volatile string? _fault;
    private int _trusted; // connections whose peer was trusted, since a call failed
    private int _closed; // calls in a row whose connection was closed after that

    /// <summary>Whether the last call that failed had a connection that was closed as soon as it was encrypted, for which trying again may tell more.</summary>
    public bool WasClosedEarly => Volatile.Read(ref _closed) > 0;

    /// <summary>Has HTTP speak TLS to https addresses.</summary>
    public void Secure(SocketsHttpHandler handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        if (links.Certificate is { } certificate)
            handler.SslOptions = certificate.ForClient(fault =>
            {
                _fault = fault;
                Interlocked.Increment(ref _trusted);
            });
    }

    /// <summary>Why a call failed, as it follows the peer's name, where trying again does not help; null where it may.</summary>
    /// <param name="failed">What broke the call; null where the peer has answered it.</param>
    public string? Fault(Exception? failed)
    {
        bool connected = Interlocked.Exchange(ref _trusted, 0) > 0;
        if (failed is not null && _fault is { } judged)
            return judged;
        _closed = failed is not null && connected ? _closed + 1 : 0;
        if (_closed >= RefusalsToBelieve)
            return $"closes every connection once it is encrypted, so it does not take this end's certificate (its log says why): {LinkSecurity.TlsFlag} must name the same one there";
        for (Exception? cause = failed; cause is not null; cause = cause.InnerException)
            if (cause is AuthenticationException)
                return $"speaks no TLS: it must be started with {LinkSecurity.TlsFlag} too";
            else if (cause is HttpProtocolException { ErrorCode: InadequateSecurity })
                return $"asks for TLS: give {LinkSecurity.TlsFlag} DIR and write https";
        return null;
    }
}
