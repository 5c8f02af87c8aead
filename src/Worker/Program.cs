// One worker process = one rank = one device. Read on: WorkerService, RankHost, then the Model room.
using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;
using Serilog;
using Serilog.Events;
using TpServe.Collectives.Ring;
using TpServe.Worker;

// A question, not a rank: what can be computed on here?
if (args is [DevicesCommand.Name, .. string[] rest])
    return DevicesCommand.Run(rest, Console.Out, Console.Error);

WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(args);

// 1. Settings: wrong ones stop the process here, all reported together.
WorkerOptions options;
GroupSecret secret;
try
{
    options = WorkerOptions.Read(builder.Configuration);
    secret = Supervision.ReadSecret(options);
}
catch (Exception fault) when (fault is OptionsValidationException or InvalidOperationException or IOException)
{
    await Console.Error.WriteLineAsync($"tpserve worker: {fault.Message}");
    return 1;
}
builder.Host.UseSerilog((_, log) => log
    .MinimumLevel.Is(Enum.Parse<LogEventLevel>(options.LogLevel.Replace("trace", "verbose", StringComparison.Ordinal), ignoreCase: true))
    .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
    .MinimumLevel.Override("Grpc", LogEventLevel.Warning)
    .WriteTo.Async(queue => queue.Console(formatProvider: System.Globalization.CultureInfo.InvariantCulture)));

// 2. Where the gateway and the peers reach it: a Unix socket for one host, a port across hosts.
builder.WebHost.ConfigureKestrel(kestrel =>
{
    kestrel.Limits.MaxRequestBodySize = null;
    if (options.Listen.StartsWith("unix:", StringComparison.Ordinal))
    {
        kestrel.ListenUnixSocket(options.Listen["unix:".Length..], listen => listen.Protocols = HttpProtocols.Http2);
        return;
    }
    string[] hostAndPort = options.Listen.Split(':');
    IPAddress address = hostAndPort[0] == "localhost" ? IPAddress.Loopback : IPAddress.Parse(hostAndPort[0]);
    kestrel.Listen(address, int.Parse(hostAndPort[1], System.Globalization.CultureInfo.InvariantCulture), listen => listen.Protocols = HttpProtocols.Http2);
});

// 3. The rank, and what may be asked of it.
// The gateway's step stream stays open as long as the gateway lives: a worker that is asked to stop waits for it no longer than this.
builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(2));
builder.Services.AddSingleton(options);
builder.Services.AddSingleton(secret);
builder.Services.AddSingleton<RankHost>();
builder.Services.AddSingleton<RingMailboxes>();
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
await app.RunAsync();
return 0;
