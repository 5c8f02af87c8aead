using System.Threading.Channels;
using NUnit.Framework;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>Workers that run nowhere: they load at once, answer every step, and die as a test says.</summary>
internal sealed class FakeWorkers(bool local = true) : IWorkerSource
{
    private readonly Lock _gate = new();
    private readonly List<FakeWorker> _opened = [];

    public TimeSpan Patience => TimeSpan.FromSeconds(1);

    /// <summary>What a worker's load does before it reports; by seat and request.</summary>
    public Func<FakeWorker, LoadRequest, Task> OnLoad { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>What a worker's device takes.</summary>
    public Func<FakeWorker, MeasureRequest, MeasureReply> OnMeasure { get; set; } = (_, _) => throw new AssertionException("nobody measures here");

    /// <summary>The process that answers as a worker.</summary>
    public Func<FakeWorker, int> PidOf { get; set; } = worker => worker.Id;

    /// <summary>Told of each worker before it is used.</summary>
    public Action<FakeWorker> OnOpen { get; set; } = _ => { };

    /// <summary>Whether a seat can be opened now.</summary>
    public Func<int, bool> CanOpen { get; set; } = _ => true;

    /// <summary>Every worker ever opened, in order.</summary>
    public IReadOnlyList<FakeWorker> Opened
    {
        get
        {
            lock (_gate)
                return [.. _opened];
        }
    }

    /// <summary>The seat's worker of now.</summary>
    public FakeWorker this[int seat] => Opened.Last(worker => worker.Seat == seat);

    public HeldWorker Open(int seat)
    {
        if (!CanOpen(seat))
            throw new WorkerStartException($"seat {seat} is closed.");
        lock (_gate)
        {
            FakeWorker worker = new(this, seat, 100 + _opened.Count);
            _opened.Add(worker);
            OnOpen(worker);
            return new HeldWorker(seat, worker, local ? worker : null);
        }
    }

    public void Dispose()
    {
    }
}

/// <summary>One worker: link, process and step stream.</summary>
internal sealed class FakeWorker(FakeWorkers owner, int seat, int pid) : IWorkerLink, IWorkerProcess
{
    private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _woken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public int Seat => seat;

    public int Id => pid;

    public string Address => $"unix:/fake/{pid}";

    public string Tail => "its last words";

    public Task<int> Exited => _exited.Task;

    /// <summary>Answers pings.</summary>
    public bool Answers { get; set; } = true;

    /// <summary>Leaves the epoch when it is asked to.</summary>
    public bool Leaves { get; set; } = true;

    /// <summary>What its arithmetic takes in each step, and its collectives with their waiting, in microseconds.</summary>
    public (int Compute, int Collective) Takes { get; set; }

    public List<LoadRequest> Loads { get; } = [];

    public List<long> Revoked { get; } = [];

    public FakeStream? Stream { get; private set; }

    public bool IsDisposed { get; private set; }

    /// <summary>Completes when a revocation reaches it.</summary>
    public Task Woken => _woken.Task;

    public Task<HelloReply> HelloAsync(bool surveyGpus, TimeSpan timeout, CancellationToken cancellation) =>
        Task.FromResult(new HelloReply { Pid = owner.PidOf(this), Version = "1", HostId = "a/b/c", RingAddress = Address, ShmSegments = 64 });

    /// <summary>How often it was taken.</summary>
    public int Holds { get; private set; }

    /// <summary>The gateway that has it is another one.</summary>
    public bool IsTaken { get; set; }

    public bool IsHeld { get; set; }

    public Task HoldAsync(TimeSpan timeout, CancellationToken cancellation)
    {
        if (IsTaken)
            throw new WorkerStartException($"worker {Address} serves another gateway: it has it.");
        Holds++;
        IsHeld = true;
        return Task.CompletedTask;
    }

    public Task<MeasureReply> MeasureAsync(MeasureRequest request, TimeSpan timeout, CancellationToken cancellation) => Task.FromResult(owner.OnMeasure(this, request));

    public Task<MeasureLinkReply> MeasureLinkAsync(MeasureLinkRequest request, TimeSpan timeout, CancellationToken cancellation) =>
        Task.FromResult(new MeasureLinkReply { LatencySeconds = 1e-6, SmallBytesPerSecond = 1e9, LargeBytesPerSecond = 1e9 });

    public async Task<LoadReport> LoadAsync(LoadRequest request, Action<LoadProgress> progress, CancellationToken cancellation)
    {
        Loads.Add(request);
        await owner.OnLoad(this, request).WaitAsync(cancellation);
        return new LoadReport { Transport = "shm", Backend = "fake", Reused = Loads.Count > 1 };
    }

    public IStepStream OpenRun() => Stream = new FakeStream(this);

    public Task<bool> PingAsync(TimeSpan timeout, CancellationToken cancellation) => Task.FromResult(Answers && !IsDisposed);

    public Task RevokeAsync(long epoch, string reason, TimeSpan timeout)
    {
        Revoked.Add(epoch);
        _woken.TrySetResult();
        return Task.CompletedTask;
    }

    public Task<OpenIpcReply> OpenIpcAsync(OpenIpcRequest request, TimeSpan timeout, CancellationToken cancellation) => throw new AssertionException("nobody computes on a GPU here");

    public Task<ProveIpcReply> ProveIpcAsync(ProveIpcRequest request, TimeSpan timeout, CancellationToken cancellation) => throw new AssertionException("nobody computes on a GPU here");

    /// <summary>The process ends, and its stream with it.</summary>
    public void Exit(int code)
    {
        _exited.TrySetResult(code);
        Stream?.End(StreamFault.Link, "the link broke");
    }

    public void Kill() => Exit(137);

    public void Dispose()
    {
        IsDisposed = true;
        Stream?.End(StreamFault.Link, "closed");
    }

    public ValueTask DisposeAsync()
    {
        Exit(0);
        return ValueTask.CompletedTask;
    }
}

/// <summary>Answers each plan that is to be answered with its epoch and step, unless it is told to hold its answers.</summary>
internal sealed class FakeStream(FakeWorker worker) : IStepStream
{
    private readonly Channel<StepResult> _results = Channel.CreateUnbounded<StepResult>();
    private readonly TaskCompletionSource<StreamEnd> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<StreamEnd> Ended => _ended.Task;

    /// <summary>Plans stay unanswered.</summary>
    public bool Holds { get; set; }

    public List<long> Steps { get; } = [];

    /// <summary>Of each plan, whether every rank was to answer.</summary>
    public List<bool> AllAnswer { get; } = [];

    public Task SendAsync(StepPlan plan, CancellationToken cancellation)
    {
        Steps.Add(plan.Step);
        AllAnswer.Add(plan.AllAnswer);
        if (!Holds && (worker.Loads[^1].Rank == 0 || plan.AllAnswer))
            Answer(new StepResult { Epoch = plan.Epoch, Step = plan.Step, StepMicroseconds = worker.Id, IdleMicroseconds = 3, ComputeMicroseconds = worker.Takes.Compute, CollectiveMicroseconds = worker.Takes.Collective });
        return Task.CompletedTask;
    }

    /// <summary>What was sent for steps under way.</summary>
    public List<StepMasks> Masks { get; } = [];

    public Task SendAsync(StepMasks masks, CancellationToken cancellation)
    {
        Masks.Add(masks);
        return Task.CompletedTask;
    }

    public void Answer(StepResult result) => _results.Writer.TryWrite(result);

    public ValueTask<StepResult> ReceiveAsync(CancellationToken cancellation) => _results.Reader.ReadAsync(cancellation);

    public Task FinishAsync()
    {
        if (worker.Leaves)
            End(StreamFault.Link, "finished");
        return Task.CompletedTask;
    }

    public void End(StreamFault fault, string reason)
    {
        _ended.TrySetResult(new StreamEnd(fault, reason));
        _results.Writer.TryComplete();
    }

    public void GiveUp() => _results.Writer.TryComplete();

    public void Dispose() => End(StreamFault.Link, "closed");
}
