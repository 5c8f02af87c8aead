using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Collectives.Ring;
using TpServe.Protos.Worker;

namespace TpServe.Worker.Tests;

/// <summary>The worker's calls, without a network.</summary>
public sealed class WorkerServiceTests
{
    /// <summary>The server carries the next call over the same stream: a read that is still pending would take that call's message.</summary>
    [Test]
    public async Task Run_StepFails_EndsWithoutAPendingRead()
    {
        using RankHost rank = new(new GroupSecret("a secret"), new RingMailboxes());
        WorkerService service = new(rank, new WorkerOptions(), null!, NullLogger<WorkerService>.Instance);
        OnePlan plans = new();
        RpcException? failed = await Assert.ThrowsAsync<RpcException>(async () => await service.Run(plans, new NoResults(), new Call()).WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.That(failed!.Trailers.GetValue("tpserve-fault"), Is.EqualTo("plan")); // nothing is loaded
        Assert.That(plans.Pending, Is.Zero);
    }

    /// <summary>Has one plan, and then keeps its reader waiting as a gateway does that has nothing to plan.</summary>
    private sealed class OnePlan : IAsyncStreamReader<StepPlan>
    {
        private int _pending, _read;

        public StepPlan Current { get; } = new() { Epoch = 1, Step = 1 };

        public int Pending => _pending;

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (_read++ == 0)
                return true;
            Interlocked.Increment(ref _pending);
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
                return false;
            }
            finally
            {
                Interlocked.Decrement(ref _pending);
            }
        }
    }

    private sealed class NoResults : IServerStreamWriter<StepResult>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(StepResult message) => throw new InvalidOperationException("no step can succeed here.");
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
