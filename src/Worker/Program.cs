// One worker process = one rank = one device. Read on: WorkerService, RankHost, then the Model room.
using System.Collections;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Serilog;
using Serilog.Events;
using TpServe.Collectives.Ring;
using TpServe.Links;
using TpServe.Worker;

// A question, not a rank: what can be computed on here?
try
{
    if (args is [DevicesCommand.Name, .. string[] rest])
        return DevicesCommand.Run(rest, Console.Out, Console.Error);
    if (args is [WorkerSettings.Help or WorkerSettings.PageCommand])
    {
        await Console.Out.WriteAsync(args[0] == WorkerSettings.Help ? WorkerSettings.HelpText() : WorkerSettings.Page());
        return 0;
    }
}
catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
{
    return Fail("standard output cannot be written: " + fault.GetBaseException().Message);
}

// 1. Settings: wrong ones stop the process here, all reported together.
(WorkerOptions options, IReadOnlyList<string> faults) = WorkerSettings.Read(
    args,
    Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(item => KeyValuePair.Create((string)item.Key, item.Value as string ?? "")),
    new[] { AppContext.BaseDirectory, Environment.CurrentDirectory }.Select(folder => Path.Combine(folder, "appsettings.json")));
if (faults.Count > 0)
    return Fail("wrong settings: " + string.Join(" ", faults));
GroupSecret secret;
LinkSecurity links;
try
{
    secret = Supervision.ReadSecret(options);
    links = LinkSecurity.Read(options.Tls, options.InsecureLinks);
}
catch (Exception fault) when (fault is InvalidOperationException or IOException or UnauthorizedAccessException or LinkException)
{
    return Fail(fault.Message);
}
Environment.SetEnvironmentVariable("DOTNET_hostBuilder__reloadConfigOnChange", "false"); // settings hold for life; watching files costs an inotify instance
WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
builder.Host.UseSerilog((_, log) => log
    .MinimumLevel.Is(Enum.Parse<LogEventLevel>(options.LogLevel.Replace("trace", "verbose", StringComparison.Ordinal), ignoreCase: true))
    .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
    .MinimumLevel.Override("Grpc", LogEventLevel.Warning)
    .MinimumLevel.Override("Microsoft.Extensions.Hosting", LogEventLevel.Fatal) // a failed start is one line, below
    .WriteTo.Async(queue => queue.Console(formatProvider: System.Globalization.CultureInfo.InvariantCulture)));

// 2. Where the gateway and the peers reach it: a Unix socket for one host, a port across hosts, with TLS where the group has a certificate.
builder.WebHost.UseKestrelHttpsConfiguration();
builder.WebHost.ConfigureKestrel(kestrel =>
{
    kestrel.Limits.MaxRequestBodySize = null;
    if (options.Listen.Socket is null)
    {
        // A gateway whose host vanishes closes no connection: only an unanswered ping tells that another one may have the worker.
        kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(10);
        kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(20);
    }
    if (options.Listen.Socket is { } socket)
        kestrel.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2);
    foreach (IPEndPoint endpoint in options.Listen.EndPoints)
        kestrel.Listen(endpoint, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            if (links.Certificate is { } certificate)
                listen.UseGroupCertificate(certificate);
        });
});

// 3. The rank, and what may be asked of it.
// The gateway's step stream stays open as long as the gateway lives: a worker that is asked to stop waits for it no longer than this.
builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(2));
builder.Services.AddSingleton(options);
builder.Services.AddSingleton(secret);
builder.Services.AddSingleton<RankHost>();
builder.Services.AddSingleton(new GatewayHold(TimeProvider.System));
builder.Services.AddSingleton(new RingMailboxes(links));
builder.Services.AddSingleton<RingDoor>();
builder.Services.AddSingleton<IConnectionListenerFactory, RingPort>();
builder.Services.AddSingleton(provider => new RingService(provider.GetRequiredService<RingMailboxes>(), secret.Value));
builder.Services.AddGrpc(grpc =>
{
    grpc.Interceptors.Add<SecretInterceptor>();
    grpc.MaxReceiveMessageSize = 256 << 20;
    grpc.MaxSendMessageSize = 256 << 20;
});
WebApplication app = builder.Build();
app.MapGrpcService<WorkerService>();
app.MapGrpcService<RingService>();
if (options.Supervised)
    Supervision.EndWithInput(app.Lifetime, grace: TimeSpan.FromSeconds(1));
try
{
    await app.RunAsync();
    return 0;
}
catch (Exception fault) when (fault is IOException or SocketException)
{
    string why = (fault.GetBaseException() as SocketException)?.SocketErrorCode switch
    {
        SocketError.AddressAlreadyInUse when options.Listen.Socket is not null => "there is such a file already; remove it where no process uses it.",
        SocketError.AddressAlreadyInUse => "another process listens there.",
        SocketError.AddressNotAvailable => "this host has no such address.",
        SocketError.AccessDenied => "this user may not listen there.",
        _ => fault.GetBaseException().Message,
    };
    return Fail($"--listen {options.Listen.Text} cannot be listened on: {why}");
}

static int Fail(string reason)
{
    try
    {
        Console.Error.WriteLine("tpserve worker: " + reason.ReplaceLineEndings(" "));
    }
    catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
    {
        // Nobody has it open: the exit code tells.
    }
    return 1;
}
