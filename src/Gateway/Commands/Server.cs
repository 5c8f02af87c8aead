using System.Net;
using System.Net.Sockets;
using System.Reflection;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;
using TpServe.ChatTemplates;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Access;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Api;
using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Commands.Models;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Telemetry;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Tokenization;

namespace TpServe.Gateway.Commands;

/// <summary>One life of the server, from settings to a clean end.</summary>
internal static partial class Server
{
    private const int LeastPoolThreads = 32;
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(6);

    /// <summary>1. settings, 2. workers' processes and the model, 3. plan, 4. services, 5. shards, 6. serve until asked to stop or the first start fails.</summary>
    /// <returns>Exit code: 0 after a requested stop, 1 where the server could not start; then one line on standard error says why.</returns>
    public static async Task<int> RunAsync(SettingSources sources, IReadOnlyList<GivenSetting> flags, CancellationToken cancellation)
    {
        // Pings of workers and the engine share the pool with the tokenization of whatever clients send: it must not take a second to find a thread for them.
        ThreadPool.SetMinThreads(LeastPoolThreads, LeastPoolThreads);
        // Settings hold for a server's life: their files are not watched, which costs an inotify instance each.
        Environment.SetEnvironmentVariable("DOTNET_hostBuilder__reloadConfigOnChange", "false");
        GatewayOptions options = new();
        StartTimes times = new();
        times.Ended("runtime");
        try
        {
            // 1. Settings: appsettings.json, environment, flags; every fault is reported together. Models that they name are found or fetched.
            options = GatewaySettings.Require(sources, flags);

            times.Ended("settings");
            NamedModels named = await NamedModels.ResolveAsync(options, sources.Environment, mayDownload: true, cancellation);
            options = named.Options;
            if (named.Lines.Count > 0)
                times.Ended("hub");

            // 2. Workers, whose runtimes come up while the model's facts are read and the services built; its weights are their business.
            LinkSecurity links = LinkSecurity.Read(options.Tls, options.InsecureLinks);
            using IWorkerSource source = SourceOf(options, links);
            LocalWorkers? local = source as LocalWorkers;
            local?.StartAhead(DeviceSurvey.WorkersAhead(options));
            times.Ended("worker processes");
            string path = EmbeddedModel.PathOr(options.Model);
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(path);
            using DraftSource? draft = DraftSource.Open(options.Draft, checkpoint);
            times.Ended("model");
            Task<ServingModel> serving = Task.Run(() => ModelOf(checkpoint, options.ServedModelNames), cancellation);

            // 3. How many ranks on what, and who owns what.
            IReadOnlyList<HelloReply> hosts = await DeviceSurvey.RunAsync(options, local, cancellation);
            times.Ended("devices");
            DevicePlan devices = DevicePlanner.Create(options, hosts);
            // Before anything is loaded: what all ranks together may take, however many there are later.
            long freeBytes = hosts[0].FreeBytes;
            GroupPlan plan = PlanFor(devices, seats: null);
            local?.EndSpare(plan.Degree);
            string version = typeof(Server).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown";
            using TerminalLines terminal = new(Console.Out);
            Banner banner = new(terminal, options, links, TimeProvider.System, times.Elapsed);
            bool isMeasured = MeasuredPartition.IsFor(options, plan);
            banner.Starting(checkpoint, draft?.Checkpoint, plan, version, isMeasured);
            banner.Found(named.Lines);
            times.Ended("plan");

            // 4. Services and addresses.
            WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
            ServerLog.AddTo(builder, options.LogLevel, options.LogFormat == "json");
            ServerCertificate? certificate = options.ServerCert.Length == 0 ? null : new(options.ServerCert, options.ServerKey, options.ClientCa, TimeProvider.System);
            builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
            {
                new ConnectionLimits { Connections = options.MaxConnections }.Apply(kestrel);
                kestrel.ConfigureEndpointDefaults(listen => certificate?.Use(listen));
                kestrel.Listen(Endpoints.Parse(options.Http), listen => listen.Protocols = HttpProtocols.Http1);
                kestrel.Listen(Endpoints.Parse(options.Grpc), listen => listen.Protocols = HttpProtocols.Http2);
            });
            builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = StopTimeout);
            builder.Services.AddSingleton<IGroupObserver>(banner);
            LoraRegistry loras = new(options.MaxLoras, options.LoraDir);
            GroupModel model = GroupModel.At(path, options.Draft) with { Loras = () => loras.Messages };
            builder.Services.AddSingleton(provider => new WorkerGroup(
                options, PolicyOf(options), plan, seats => PlanFor(devices.Of(seats), seats), model, source, banner, TimeProvider.System, provider.GetRequiredService<ILogger<WorkerGroup>>(),
                BalancerFor(provider.GetRequiredService<ILogger<Balancer>>()), isMeasured ? SplitOf(provider.GetRequiredService<ILogger<MeasuredPartition>>()) : null));
            builder.Services.AddSingleton<IWorkerGroup>(provider => provider.GetRequiredService<WorkerGroup>());
            builder.Services.AddSingleton<IHostLifetime>(provider => new DrainingLifetime(
                provider.GetRequiredService<InferenceEngine>(), provider.GetRequiredService<IHostApplicationLifetime>(), options.DrainTimeout, provider.GetRequiredService<ILogger<DrainingLifetime>>()));
            ServingModel served = (await serving) with { Loras = loras };
            AddLoras(loras, options.Loras, served.Names);
            builder.Services.AddTpServeTelemetry(builder.Configuration);
            banner.Ends(EndTokens.Describe(served.Generation.EosTokenIds, served.Tokenizer));
            builder.Services.AddTpServeApi(served with { Files = served.Files with { Identity = model.Identity.Content } }, SettingsOf(options, plan, checkpoint.Config.Rope, draft?.Checkpoint.Name ?? ""));
            WebApplication app = builder.Build();
            await using Ending ending = new(app);
            app.MapTpServeApi();
            times.Ended("services");

            // 5.–6. Listen first: a port in use must be known before minutes of loading.
            await app.StartAsync(cancellation);
            times.Ended("listening");
            LogListening(app.Logger, times);
            WorkerGroup group = app.Services.GetRequiredService<WorkerGroup>();
            ServingSettings settings = app.Services.GetRequiredService<ServingSettings>();
            Task rehearsal = Task.Run(async () => LogRehearsed(app.Logger, await Rehearsal.RunAsync(served, settings, certificate is null ? Endpoints.Parse(options.Http) : new IPEndPoint(IPAddress.Loopback, 0), cancellation) ?? "done"), cancellation);
            group.Start(rehearsal);
            Task stopped = app.WaitForShutdownAsync(cancellation);
            if (await Task.WhenAny(stopped, group.Failed) == group.Failed)
            {
                await app.StopAsync(CancellationToken.None);
                return Fail((await group.Failed).Message);
            }
            await stopped;
            return 0;

            Balancer BalancerFor(ILogger<Balancer> log)
            {
                BalanceLimits limits = new() { After = options.RebalanceAfter };
                BalancePolicy policy = new(checkpoint.Config, new ShardWork(checkpoint.Config, checkpoint.Tensors.Values), limits, TimeProvider.System);
                return new Balancer(policy, limits, options.Rebalance, checkpoint.Config, split => PlanFor(devices, null, split), TimeProvider.System, log);
            }

            MeasuredPartition SplitOf(ILogger<MeasuredPartition> log) => new(
                checkpoint, options, new GroupProfiler(checkpoint, options, ProfileCache.FolderOf(options.ProfileCache, sources.Environment), isFresh: false, log),
                (seats, split) => PlanFor(devices.Of(seats), seats, split), banner.Split, log);

            GroupPlan PlanFor(DevicePlan own, IReadOnlyList<int>? seats, Partition? split = null) => GroupPlan.Create(
                checkpoint.Config, options, own, freeBytes, Environment.ProcessorCount, shard => GpuMemory.WeightBytes(checkpoint, shard), seats,
                options.Workers.Count == 0 ? null : [.. (seats ?? [.. Enumerable.Range(0, hosts.Count)]).Select(seat => hosts[seat])], draft?.Facts, split);
        }
        catch (OptionsValidationException fault)
        {
            return Fail("wrong settings: " + string.Join(" ", fault.Failures));
        }
        catch (Exception fault) when (fault is ModelLoadException or ShardingException or DeviceException or WorkerStartException or TokenizerException or ChatTemplateException or LinkException or KeyFileException or CertificateException)
        {
            return Fail(fault.Message);
        }
        catch (Exception fault) when (fault is IOException or SocketException)
        {
            // An address in use, or of another host; what listened is disposed by now.
            (string Flag, string Address)[] addresses = [("--http", options.Http), ("--grpc", options.Grpc)];
            return Fail(addresses.Select(one => Endpoints.Fault(one.Address) is { Length: > 0 } why ? $"{one.Flag} {one.Address} cannot be listened on: {why}" : null)
                .FirstOrDefault(reason => reason is not null) ?? fault.Message);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return 0;
        }
    }

    /// <summary>Disposes the application, and waits no longer for it than an end may take: its log cannot be flushed to a terminal that nobody reads.</summary>
    private sealed class Ending(WebApplication app) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync() => await Task.WhenAny(Task.Run(() => app.DisposeAsync().AsTask()), Task.Delay(EndTimeout));
    }

    /// <exception cref="ModelLoadException">One is no adapter that is served, or has a name of the model.</exception>
    private static void AddLoras(LoraRegistry loras, IReadOnlyList<string> named, IEnumerable<string> taken)
    {
        foreach (string[] one in named.Select(text => text.Split('=', 2)))
            if (taken.Contains(one[0]))
                throw new ModelLoadException($"--lora {one[0]}: the model has that name.");
            else
                loras.AddAtStart(one[0], one[1]);
    }

    private static ServingModel ModelOf(ModelCheckpoint checkpoint, IReadOnlyList<string> names)
    {
        Tokenizer tokenizer = Tokenizer.Create(checkpoint.Tokenizer);
        return new ServingModel
        {
            Name = names.Count == 0 ? checkpoint.Name : names[0],
            OtherNames = [.. names.Skip(1)],
            Config = checkpoint.Config,
            Generation = checkpoint.Generation with { EosTokenIds = EndTokens.Of(checkpoint, tokenizer) },
            Pooling = checkpoint.Pooling,
            Tokenizer = tokenizer,
            ChatTemplate = checkpoint.Tokenizer.ChatTemplate is { } text ? ChatTemplate.Parse(text) : null,
            BosToken = checkpoint.Tokenizer.BosToken,
            EosToken = checkpoint.Tokenizer.EosToken,
            Files = ModelFiles.Of(checkpoint),
        };
    }

    private static ServingSettings SettingsOf(GatewayOptions options, GroupPlan plan, RopeConfig rope, string draftModel) => new()
    {
        LongRopeBeyond = rope.Scaling == RopeScaling.LongRope ? rope.OriginalMaxPositions : 0,
        MaxModelLen = plan.MaxModelLen,
        MaxStepTokens = options.MaxStepTokens,
        ChunkTokens = options.ChunkTokens,
        MaxSequences = options.MaxRunning,
        QueueLimit = options.QueueLimit,
        QueueTokens = options.QueueTokens,
        PrefixCache = options.PrefixCache,
        DraftTokens = options.Speculation == Speculation.Ngram || plan.Draft is not null ? options.DraftTokens : 0,
        LooksUp = options.Speculation == Speculation.Ngram || plan.Draft is null,
        Draft = plan.Draft is { } draft ? new DraftSettings(draft.MaxModelLen, RequestLimits.DraftTokens) : null,
        DraftModel = draftModel,
        Wire = plan.Degree == 1 ? Protos.Worker.Wire.F32 : options.Wire,
        ReportFolder = options.Report,
        CorsOrigins = options.CorsOrigins,
        Hosts = options.AllowedHosts.Count > 0 || Endpoints.AreLoopback(options.Http, options.Grpc) ? options.AllowedHosts : null,
        KeysFile = options.Keys,
        Responses = new ResponseStoreSettings { Count = options.Responses, Bytes = options.ResponseBytes, Age = options.ResponseAge },
        RequestTimeout = options.RequestTimeout,
        Engine = new EngineSettings { Recoveries = options.Recoveries, ResumeWindow = options.ResumeWindow, ResumeBytes = options.ResumeBytes, StepTimeout = options.StepTimeout },
    };

    private static GroupPolicy PolicyOf(GatewayOptions options) => new()
    {
        OnRankLoss = options.OnRankLoss,
        SuspectAfter = options.SuspectAfter,
        StepTimeout = options.StepTimeout,
        LoadTimeout = options.LoadTimeout,
        CrashLimit = options.CrashLimit,
        CrashWindow = options.CrashWindow,
    };

    internal static IWorkerSource SourceOf(GatewayOptions options, LinkSecurity links) =>
        options.Workers.Count == 0 ? new LocalWorkers(options.LogLevel) : new ExternalWorkers(options.Workers, options.SecretFile, links, options.ConnectTimeout);

    [LoggerMessage(1060, LogLevel.Debug, "Listening: {Times}")]
    private static partial void LogListening(Microsoft.Extensions.Logging.ILogger log, StartTimes times);

    [LoggerMessage(1061, LogLevel.Debug, "First requests rehearsed: {Outcome}")]
    private static partial void LogRehearsed(Microsoft.Extensions.Logging.ILogger log, string outcome);

    private static int Fail(string reason)
    {
        UsageFault.Tell(reason);
        return 1;
    }
}
