using System.Threading.Channels;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NUnit.Framework;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>The link to a worker over a real Unix socket: whose fault an end was, and who counts as silent.</summary>
public sealed class WorkerClientTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private Service _service = null!;
    private DirectoryInfo _folder = null!;
    private WebApplication _worker = null!;
    private WorkerClient _client = null!;

    [SetUp]
    public async Task StartWorker()
    {
        _service = new Service();
        _folder = Directory.CreateTempSubdirectory("worker-");
        string socket = Path.Combine(_folder.FullName, "w");
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(_service);
        _worker = builder.Build();
        _worker.MapGrpcService<Service>();
        await _worker.StartAsync();
        _client = new WorkerClient("unix:" + socket, "a secret", LinkSecurity.None);
    }

    [TearDown]
    public async Task StopWorker()
    {
        _client.Dispose();
        _service.Let.TrySetResult();
        await _worker.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [TestCase(StepFault.Types.Kind.Peer, "Peer")]
    [TestCase(StepFault.Types.Kind.Plan, "Plan")]
    [TestCase(StepFault.Types.Kind.Step, "Step")]
    [TestCase(null, "Link")]
    public async Task Run_WorkerEndsIt_TellsWhoseFaultAfterTheResultsBefore(StepFault.Types.Kind? kind, string fault)
    {
        _service.FaultAfterOneStep = kind;
        _service.EndsAfterOneStep = kind is null;
        using IStepStream stream = _client.OpenRun();
        await stream.SendAsync(new StepPlan { Epoch = 5, Step = 1 }, CancellationToken.None);
        Assert.That((await stream.Ended.WaitAsync(s_patience)), Is.EqualTo(new StreamEnd(Enum.Parse<StreamFault>(fault), "said the worker")));
        Assert.That((await stream.ReceiveAsync(CancellationToken.None)).Step, Is.EqualTo(1));
        await Assert.ThrowsAsync<ChannelClosedException>(() => stream.ReceiveAsync(CancellationToken.None).AsTask());
        await _service.RunReturned.Task.WaitAsync(s_patience); // closed by the gateway where the worker left it open
    }

    [Test]
    public async Task Run_Finished_AnswersWhatWasSentAndEnds()
    {
        using IStepStream stream = _client.OpenRun();
        await stream.SendAsync(new StepPlan { Epoch = 5, Step = 1 }, CancellationToken.None);
        await stream.SendAsync(new StepPlan { Epoch = 5, Step = 2 }, CancellationToken.None);
        await stream.FinishAsync();
        await stream.Ended.WaitAsync(s_patience);
        Assert.That((await stream.ReceiveAsync(CancellationToken.None)).Step, Is.EqualTo(1));
        Assert.That((await stream.ReceiveAsync(CancellationToken.None)).Step, Is.EqualTo(2));
    }

    [Test]
    public async Task Run_GivenUp_WhoWaitsForAResultWaitsNoLonger()
    {
        using IStepStream stream = _client.OpenRun();
        Task<StepResult> waiting = stream.ReceiveAsync(CancellationToken.None).AsTask();
        stream.GiveUp();
        await Assert.ThrowsAsync<ChannelClosedException>(() => waiting.WaitAsync(s_patience));
    }

    [Test]
    public async Task Ping_WorkerThatHangs_IsSilentAndOneThatAnswersIsNot()
    {
        Assert.That(await _client.PingAsync(s_patience, CancellationToken.None), Is.True);
        _service.Hangs = true;
        Assert.That(await _client.PingAsync(TimeSpan.FromMilliseconds(100), CancellationToken.None), Is.False);
    }

    [Test]
    public async Task Ping_WorkerThatIsGone_IsSilent()
    {
        await _worker.StopAsync();
        Assert.That(await _client.PingAsync(s_patience, CancellationToken.None), Is.False);
    }

    [TestCase("load", false, false)]
    [TestCase("peer", true, false)]
    [TestCase(null, false, true)]
    public async Task Load_Fails_TellsWhetherItWasAPeerOrTheLink(string? trailer, bool blamesPeer, bool lostLink)
    {
        _service.LoadFault = new RpcException(new Status(StatusCode.FailedPrecondition, "no room"), trailer is null ? [] : new Metadata { { "tpserve-fault", trailer } });
        WorkerStartException? fault = await Assert.ThrowsAsync<WorkerStartException>(() => _client.LoadAsync(new LoadRequest { Rank = 3 }, _ => { }, CancellationToken.None));
        Assert.That(fault!.Message, Does.Contain("rank 3").And.Contain("no room"));
        Assert.That((fault.BlamesPeer, fault.LostLink), Is.EqualTo((blamesPeer, lostLink)));
    }

    [Test]
    public async Task Load_Succeeds_PassesProgressOnAndReturnsTheReport()
    {
        List<string> stages = [];
        LoadReport report = await _client.LoadAsync(new LoadRequest(), step => stages.Add(step.Stage), CancellationToken.None);
        Assert.That((stages.Single(), report.WeightBytes), Is.EqualTo(("packing", 42L)));
    }

    [Test]
    public async Task Hold_AnotherGatewayHasIt_IsRefusedWithItsNameAndTakenOnceItHasGone()
    {
        _service.Holder = "gateway host-a, process 5, has it since 12:00:00 UTC";
        WorkerStartException? refused = await Assert.ThrowsAsync<WorkerStartException>(() => _client.HoldAsync(TimeSpan.FromMilliseconds(300), CancellationToken.None).WaitAsync(s_patience));
        Assert.That(refused!.Message, Does.Contain("serves another gateway: gateway host-a, process 5, has it since 12:00:00 UTC"));
        Assert.That((refused.LostLink, _client.IsHeld), Is.EqualTo((false, false)));

        Task holding = _client.HoldAsync(s_patience, CancellationToken.None);
        _service.Holder = null;
        await holding.WaitAsync(s_patience);
        Assert.That(_client.IsHeld, Is.True);
        _service.Let.TrySetResult();
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(10));
        for (int i = 0; _client.IsHeld && i < 2000; i++)
            await pause.WaitForNextTickAsync();
        Assert.That(_client.IsHeld, Is.False, "the worker has ended the call");
    }

    [Test]
    public async Task Calls_CarryTheSecret()
    {
        await _client.HelloAsync(surveyGpus: false, s_patience, CancellationToken.None);
        Assert.That(_service.Secret, Is.EqualTo("a secret"));
    }

    private sealed class Service : WorkerControl.WorkerControlBase
    {
        public StepFault.Types.Kind? FaultAfterOneStep { get; set; }

        public bool EndsAfterOneStep { get; set; }

        public TaskCompletionSource RunReturned { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public RpcException? LoadFault { get; set; }

        public bool Hangs { get; set; }

        /// <summary>Another gateway that has the worker; null = nobody.</summary>
        public string? Holder { get; set; }

        public string? Secret { get; private set; }

        /// <summary>Lets what hangs go on.</summary>
        public TaskCompletionSource Let { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override Task<HelloReply> Hello(HelloRequest request, ServerCallContext context)
        {
            Secret = context.RequestHeaders.GetValue("tpserve-secret");
            return Task.FromResult(new HelloReply());
        }

        public override async Task<PingReply> Ping(PingRequest request, ServerCallContext context)
        {
            if (Hangs)
                await Let.Task;
            return new PingReply();
        }

        public override async Task Hold(HoldRequest request, IServerStreamWriter<HoldReply> responses, ServerCallContext context)
        {
            if (Holder is not null)
                throw new RpcException(new Status(StatusCode.AlreadyExists, Holder));
            await responses.WriteAsync(new HoldReply());
            await Let.Task;
        }

        public override async Task Load(LoadRequest request, IServerStreamWriter<LoadProgress> responses, ServerCallContext context)
        {
            if (LoadFault is not null)
                throw LoadFault;
            await responses.WriteAsync(new LoadProgress { Stage = "packing" });
            await responses.WriteAsync(new LoadProgress { Report = new LoadReport { WeightBytes = 42 } });
        }

        public override async Task Run(IAsyncStreamReader<RunRequest> requests, IServerStreamWriter<StepResult> responses, ServerCallContext context)
        {
            await foreach (RunRequest request in requests.ReadAllAsync())
            {
                if (request.Step is not { } plan)
                    continue;
                await responses.WriteAsync(new StepResult { Epoch = plan.Epoch, Step = plan.Step });
                if (FaultAfterOneStep is { } kind)
                    await responses.WriteAsync(new StepResult { Fault = new StepFault { Kind = kind, Reason = "said the worker" } });
                if (EndsAfterOneStep)
                {
                    RunReturned.TrySetResult();
                    throw new RpcException(new Status(StatusCode.Internal, "said the worker"));
                }
            }
            RunReturned.TrySetResult();
        }
    }
}
