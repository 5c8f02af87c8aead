using System.Net;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TpServe.Links;

namespace TpServe.Worker;

/// <summary>Kestrel's part of TLS: who does not show the group's certificate gets no further, and a line in the log says so.</summary>
internal static partial class TlsEndpoints
{
    /// <summary>As long as the ring's connections have for it.</summary>
    private static readonly TimeSpan s_handshakeTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Has an address speak TLS alone.</summary>
    public static void UseGroupCertificate(this ListenOptions listen, GroupCertificate certificate)
    {
        ILogger log = listen.ApplicationServices.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(TlsEndpoints).FullName!);
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = s_handshakeTimeout,
            OnConnection = context => ValueTask.FromResult(certificate.ForServer(fault =>
            {
                if (fault is not null)
                    LogUntrusted(log, context.Connection.RemoteEndPoint, fault);
            })),
        });
    }

    [LoggerMessage(2040, LogLevel.Warning, "A connection from {Peer} was refused: it {Fault}")]
    private static partial void LogUntrusted(ILogger log, EndPoint? peer, string fault);
}
