using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace TpServe.Gateway.Access;

/// <summary>What one connection, and all together, may take before a request is a request; docs/SECURITY.md has the table.</summary>
/// <remarks>Kestrel enforces them. Streams that are opened and reset at once ("rapid reset") count until their handlers have ended: beyond twice the streams of a connection it is ended.</remarks>
public sealed record ConnectionLimits
{
    /// <summary>Connections at once, HTTP and gRPC together; one more is closed. Default 4096.</summary>
    public int Connections { get; init; } = 4096;

    /// <summary>Bytes of a body. Default 4 MiB.</summary>
    public long BodyBytes { get; init; } = 4 << 20;

    /// <summary>Headers of a request. Default 64.</summary>
    public int Headers { get; init; } = 64;

    /// <summary>Bytes of all headers together. Default 32 KiB.</summary>
    public int HeaderBytes { get; init; } = 32 << 10;

    /// <summary>Bytes of the request line. Default 8 KiB.</summary>
    public int RequestLineBytes { get; init; } = 8 << 10;

    /// <summary>How long the headers may take to come. Default 15 s.</summary>
    public TimeSpan HeaderTime { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a connection may lie idle. Default 130 s.</summary>
    public TimeSpan IdleTime { get; init; } = TimeSpan.FromSeconds(130);

    /// <summary>Bytes a second that a body must come with. Default 240.</summary>
    public double BodyBytesPerSecond { get; init; } = 240;

    /// <summary>Bytes a second that an answer must be taken with, once it is more than the buffers hold. Default 4096: the 64 KiB that are buffered give a reader who reads nothing 16 s.</summary>
    public double AnswerBytesPerSecond { get; init; } = 4096;

    /// <summary>How long it may be less. Default 10 s.</summary>
    public TimeSpan Grace { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Calls at once on one HTTP/2 connection. Default 256.</summary>
    public int StreamsOfConnection { get; init; } = 256;

    /// <summary>After how long a silent HTTP/2 connection is pinged, and how long it may take to answer. Default 60 s, 20 s.</summary>
    public (TimeSpan After, TimeSpan Within) Ping { get; init; } = (TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20));

    /// <summary>Hands them to Kestrel.</summary>
    public void Apply(KestrelServerOptions kestrel)
    {
        ArgumentNullException.ThrowIfNull(kestrel);
        kestrel.AddServerHeader = false;
        KestrelServerLimits limits = kestrel.Limits;
        limits.MaxConcurrentConnections = Connections;
        limits.MaxConcurrentUpgradedConnections = 0;
        limits.MaxRequestBodySize = BodyBytes;
        limits.MaxRequestHeaderCount = Headers;
        limits.MaxRequestHeadersTotalSize = HeaderBytes;
        limits.MaxRequestLineSize = RequestLineBytes;
        limits.RequestHeadersTimeout = HeaderTime;
        limits.KeepAliveTimeout = IdleTime;
        limits.MinRequestBodyDataRate = new MinDataRate(BodyBytesPerSecond, Grace);
        limits.MinResponseDataRate = new MinDataRate(AnswerBytesPerSecond, Grace);
        limits.Http2.MaxStreamsPerConnection = StreamsOfConnection;
        limits.Http2.MaxRequestHeaderFieldSize = RequestLineBytes;
        (limits.Http2.KeepAlivePingDelay, limits.Http2.KeepAlivePingTimeout) = Ping;
    }
}
