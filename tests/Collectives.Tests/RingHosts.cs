using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TpServe.Collectives.Hosted;
using TpServe.Collectives.Ring;
using TpServe.Links;
using TpServe.Testing;
using TpServe.Worker;

namespace TpServe.Collectives.Tests;

/// <summary>One small Kestrel for each rank, as the worker process will have: half of them on TCP, half on Unix sockets; with a certificate all of them on TCP.</summary>
internal sealed class RingHosts : IDisposable
{
    public const string Secret = "a secret of the tests";
    private const int Most = 5;
    private static readonly Lazy<RingHosts> s_shared = new(() => new RingHosts(Most));
    private static readonly Lazy<RingHosts> s_sharedTls = new(() => new RingHosts(Most, NewCertificate()));
    private static long s_epochs = 1000;
    private readonly bool _ownsFolder = true;
    private readonly string _folder;
    private readonly WebApplication[] _applications;

    public RingHosts(int count, params GroupCertificate[] certificates)
    {
        _folder = Directory.CreateTempSubdirectory("tpserve-ring-").FullName;
        Mailboxes = new RingMailboxes[count];
        Addresses = new string[count];
        _applications = new WebApplication[count];
        for (int rank = 0; rank < count; rank++)
        {
            GroupCertificate? certificate = certificates.Length > 0 ? certificates[rank % certificates.Length] : null;
            Mailboxes[rank] = new RingMailboxes(new LinkSecurity(certificate, Insecure: false));
            string? socket = rank % 2 == 1 && certificate is null ? Path.Combine(_folder, $"{rank}.sock") : null;
            _applications[rank] = Start(Mailboxes[rank], socket, certificate);
            Addresses[rank] = socket is not null
                ? $"unix:{socket}"
                : _applications[rank].Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        }
    }

    private RingHosts(string folder, int rank, int degree)
    {
        _folder = folder;
        _ownsFolder = false;
        Mailboxes = [.. Enumerable.Range(0, degree).Select(_ => new RingMailboxes())];
        Addresses = [.. Enumerable.Range(0, degree).Select(r => $"unix:{folder}/{r}.sock")];
        _applications = [Start(Mailboxes[rank], $"{folder}/{rank}.sock", certificate: null)];
    }

    /// <summary>The host of one rank, where the others are in other processes: all on Unix sockets in a folder.</summary>
    public static RingHosts OfOneRank(string folder, int rank, int degree) => new(folder, rank, degree);

    /// <summary>Hosts that all tests use, started once; every group has an epoch of its own, so their groups follow each other like a worker's.</summary>
    public static RingHosts Shared => s_shared.Value;

    /// <summary>As above, over TLS.</summary>
    public static RingHosts SharedTls => s_sharedTls.Value;

    /// <summary>A certificate that nothing else has.</summary>
    public static GroupCertificate NewCertificate(TimeProvider? time = null)
    {
        using TemporaryFolder folder = new();
        GroupCertificate.Write(folder.Of("tls"), "test", days: 30, time ?? TimeProvider.System);
        return GroupCertificate.Read(folder.Of("tls"), time);
    }

    /// <summary>By rank.</summary>
    public RingMailboxes[] Mailboxes { get; }

    /// <summary>By rank.</summary>
    public string[] Addresses { get; }

    /// <summary>An epoch that no group of this process has had.</summary>
    public static long NextEpoch() => Interlocked.Increment(ref s_epochs);

    /// <summary>Stops the shared hosts, if any test has started them.</summary>
    public static void StopShared()
    {
        foreach (Lazy<RingHosts> shared in new[] { s_shared, s_sharedTls })
            if (shared.IsValueCreated)
                shared.Value.Dispose();
    }

    /// <summary>Joins as one rank of the first <paramref name="degree"/> hosts.</summary>
    public ICommunicator Join(int rank, int degree, TimeSpan timeout, long epoch, int blockBytes = RingExchange.DefaultBlockBytes, TimeSpan? patience = null,
        IReadOnlyList<int>? hosts = null, WireFormat wire = WireFormat.Float32) =>
        RingCommunicator.Join(Mailboxes[rank], Addresses[..degree], rank, Secret, timeout, epoch, blockBytes, patience ?? timeout, default, hosts, wire);

    /// <summary>Joins as one rank of hosts that are told apart by number alone.</summary>
    public ICommunicator JoinHosted(int[] hosts, string prefix, int rank, TimeSpan timeout, long epoch, TimeSpan patience, WireFormat wire = WireFormat.Float32) =>
        HostedCommunicator.Join(Mailboxes[rank], Addresses[..hosts.Length], hosts, prefix, rank, Secret, timeout, epoch, patience, wire);

    public void Dispose()
    {
        foreach (WebApplication application in _applications)
        {
            using CancellationTokenSource patience = new(TimeSpan.FromSeconds(5));
            application.StopAsync(patience.Token).GetAwaiter().GetResult();
            application.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        if (_ownsFolder)
            Directory.Delete(_folder, recursive: true);
    }

    private static WebApplication Start(RingMailboxes mailboxes, string? socket, GroupCertificate? certificate)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(options =>
        {
            if (socket is null)
                options.Listen(IPAddress.Loopback, 0, listen =>
                {
                    listen.Protocols = HttpProtocols.Http2;
                    if (certificate is not null)
                        listen.UseGroupCertificate(certificate);
                });
            else
                options.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(new RingService(mailboxes, Secret));
        builder.Services.AddSingleton(new RingDoor(mailboxes));
        builder.Services.AddSingleton<IConnectionListenerFactory, RingPort>();
        WebApplication application = builder.Build();
        application.MapGrpcService<RingService>();
        application.StartAsync().GetAwaiter().GetResult();
        return application;
    }
}
