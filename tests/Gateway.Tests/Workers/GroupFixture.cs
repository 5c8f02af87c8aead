using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Tests.Engine;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>A worker group over fake workers, on a clock that stands still unless a test moves it.</summary>
internal sealed class GroupFixture : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);
    private static readonly Lazy<(ModelConfig Config, ShardWork Work)> s_model = new(() =>
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        return (checkpoint.Config, new ShardWork(checkpoint.Config, checkpoint.Tensors.Values));
    });

    /// <param name="policy">Its patience.</param>
    /// <param name="local">The workers are processes of this host.</param>
    /// <param name="degree">How many.</param>
    /// <param name="prepare">Told of the workers before the group begins.</param>
    /// <param name="rebalance">What is done about uneven ranks.</param>
    /// <param name="replan">The plan of a split; null = one like the first.</param>
    public GroupFixture(
        GroupPolicy? policy = null, bool local = true, int degree = 2, Action<FakeWorkers>? prepare = null, Rebalance rebalance = Rebalance.Off, Func<Partition, GroupPlan>? replan = null)
    {
        Workers = new FakeWorkers(local);
        prepare?.Invoke(Workers);
        Identity = Original = ModelIdentity.Of(TestData.SmolLm2);
        GroupModel model = new(TestData.SmolLm2, Original, () => Identity ?? throw new ModelLoadException("model.gguf: there is no such file."));
        Group = new WorkerGroup(
            new GatewayOptions(), policy ?? new GroupPolicy(), Plan(degree), seats =>
            {
                Replanned.Add(seats);
                return Plan(seats.Count);
            }, model, Workers, Observer, Time, NullLogger<WorkerGroup>.Instance, NewBalancer(rebalance, replan ?? (split => Plan(degree, split))));
        Group.Start();
    }

    public ManualTime Time { get; } = new();

    public FakeWorkers Workers { get; }

    public WorkerGroup Group { get; }

    public Observed Observer { get; } = new();

    /// <summary>Seats for which a plan was asked.</summary>
    public List<IReadOnlyList<int>> Replanned { get; } = [];

    /// <summary>What the files were at the start.</summary>
    public ModelIdentity Original { get; }

    /// <summary>What they are now; null = gone.</summary>
    public ModelIdentity? Identity { get; set; }

    public async Task<GroupLife> ReadyAsync() => await Group.WaitReadyAsync(CancellationToken.None).WaitAsync(s_patience);

    /// <summary>Sends a step of the present life.</summary>
    public async Task SendAsync(long step, long epoch) => await Group.SendAsync(new StepPlan { Epoch = epoch, Step = step }, CancellationToken.None).WaitAsync(s_patience);

    public async Task<StepResult> ReceiveAsync() => await Group.ReceiveAsync(CancellationToken.None).WaitAsync(s_patience);

    /// <summary>What a step of a dead epoch ends with.</summary>
    public async Task<WorkerLostException> LostAsync() => (await Assert.ThrowsAsync<WorkerLostException>(ReceiveAsync))!;

    /// <summary>Moves the clock in small steps until something holds: what runs meanwhile may set further timers.</summary>
    public async Task AdvanceUntilAsync(Func<bool> holds, TimeSpan limit)
    {
        TimeSpan step = TimeSpan.FromMilliseconds(Math.Max(50, limit.TotalMilliseconds / 1000));
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(2)); // for the pool to run what the timers woke
        for (TimeSpan passed = TimeSpan.Zero; !holds(); passed += step)
        {
            Assert.That(passed, Is.LessThan(limit), "it did not come to pass");
            await pause.WaitForNextTickAsync();
            Time.Advance(step);
        }
    }

    public async ValueTask DisposeAsync() => await Group.DisposeAsync().AsTask().WaitAsync(s_patience);

    /// <summary>The plan of a split.</summary>
    public static GroupPlan Plan(int degree, Partition? split = null, int maxModelLen = 0) => GroupPlan.Create(
        s_model.Value.Config, new GatewayOptions { Tp = degree, MaxModelLen = maxModelLen }, DevicePlan.Cpu(degree, "test"), freeBytes: 8L << 30, cores: 2, _ => 1, chosen: split);

    private Balancer NewBalancer(Rebalance mode, Func<Partition, GroupPlan> planFor)
    {
        BalanceLimits limits = new();
        return new Balancer(new BalancePolicy(s_model.Value.Config, s_model.Value.Work, limits, Time), limits, mode, s_model.Value.Config, planFor, Time, NullLogger<Balancer>.Instance);
    }

    /// <summary>Keeps what the group told.</summary>
    internal sealed class Observed : IGroupObserver
    {
        public List<(string Reason, TimeSpan? RetryAfter)> Breaks { get; } = [];

        public List<string> Losses { get; } = [];

        public void Loading(int rank, string stage, long doneBytes, long totalBytes)
        {
        }

        public void Ready(GetTopologyResponse topology)
        {
        }

        public void Lost(long epoch, string reason) => Losses.Add(reason);

        public void Broken(string reason, TimeSpan? retryAfter) => Breaks.Add((reason, retryAfter));
    }
}
