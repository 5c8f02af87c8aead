using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Collectives.Ring;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

/// <summary>The worker's calls, without a network.</summary>
public sealed class WorkerServiceTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    /// <summary>The server carries the next call over the same stream: a read that were still pending when this one returns would take that call's message.</summary>
    [Test]
    public async Task Run_StepFails_AnswersWithTheFaultOnceAndReturnsWhenTheGatewayCloses()
    {
        using RankHost rank = new(new GroupSecret("a secret"), new RingMailboxes());
        WorkerService service = new(rank, new GatewayHold(TimeProvider.System), new WorkerOptions(), null!, NullLogger<WorkerService>.Instance);
        TwoPlans plans = new();
        Results results = new();
        Task run = service.Run(plans, results, new Call());
        StepFault fault = (await results.First.WaitAsync(s_patience)).Fault;
        Assert.That((fault.Kind, fault.Reason), Is.EqualTo((StepFault.Types.Kind.Plan, "no shard is loaded.")));
        Assert.That(run.IsCompleted, Is.False, "it is being read from");
        plans.Close();
        await run.WaitAsync(s_patience);
        Assert.That(results.Count, Is.EqualTo(1), "the second plan was sent before the gateway knew");
    }

    /// <summary>Has two plans, and then keeps its reader waiting until the gateway closes the stream.</summary>
    private sealed class TwoPlans : IAsyncStreamReader<RunRequest>
    {
        private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _read;

        public RunRequest Current => new() { Step = new StepPlan { Epoch = 1, Step = _read } };

        public void Close() => _closed.TrySetResult();

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (++_read <= 2)
                return true;
            await _closed.Task;
            return false;
        }
    }

    private sealed class Results : IServerStreamWriter<StepResult>
    {
        private readonly TaskCompletionSource<StepResult> _first = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public WriteOptions? WriteOptions { get; set; }

        public Task<StepResult> First => _first.Task;

        public int Count { get; private set; }

        public Task WriteAsync(StepResult message)
        {
            Count++;
            _first.TrySetResult(message);
            return Task.CompletedTask;
        }
    }

    private sealed class Call : ServerCallContext
    {
        protected override string MethodCore => "Run";

        protected override string HostCore => "";

        protected override string PeerCore => "";

        protected override DateTime DeadlineCore => DateTime.MaxValue;

        protected override Metadata RequestHeadersCore => [];

        protected override CancellationToken CancellationTokenCore => CancellationToken.None;

        protected override Metadata ResponseTrailersCore => [];

        protected override Status StatusCore { get; set; }

        protected override WriteOptions? WriteOptionsCore { get; set; }

        protected override AuthContext AuthContextCore => new("", []);

        protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) => throw new NotSupportedException();

        protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;
    }
}
