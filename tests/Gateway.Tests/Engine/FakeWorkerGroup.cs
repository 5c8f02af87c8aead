using NUnit.Framework;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>A worker group whose tokens are a pure function of the sequence, and which checks every plan as a rank would.</summary>
internal sealed class FakeWorkerGroup(int kvBlocks = 256, int blockTokens = 4) : IWorkerGroup
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, Running> _sequences = [];
    private readonly SemaphoreSlim _entered = new(0), _permits = new(0);
    private TaskCompletionSource<GroupLife> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Queue<StepPlan> _sent = new();
    private readonly Dictionary<long, StepMasks> _masks = [];
    private TaskCompletionSource<(string, LossCause)> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _untold;
    private (string Why, LossCause Cause) _lostBy = ("it has not begun", LossCause.External);
    private int _waiting;
    private long _epoch, _step;

    /// <summary>The next token after the given ones. Default: what the request's sampling hashes to, a letter.</summary>
    public Func<NewSequence, IReadOnlyList<int>, int> NextToken { get; set; } = Hashed;

    /// <summary>Each step waits for <see cref="Allow"/>.</summary>
    public bool Manual { get; set; }

    /// <summary>Whether the group dies of a step, and how; null = it lives.</summary>
    public Func<StepPlan, LossCause?>? Dies { get; set; }

    /// <summary>Why the engine condemned it.</summary>
    public List<string> Condemned { get; } = [];

    public string? Outage { get; private set; }

    /// <summary>Spoils results, for tests of faults.</summary>
    public Action<StepResult>? Spoil { get; set; }

    public List<StepPlan> Plans { get; } = [];

    public GroupState State { get; private set; } = GroupState.Starting;

    /// <summary>Tokens that spell a text and then end, whatever the prompt is.</summary>
    public static Func<NewSequence, IReadOnlyList<int>, int> Says(string text)
    {
        IReadOnlyList<int> said = TestModel.Tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true);
        return (sequence, tokens) =>
        {
            int at = tokens.Count - sequence.Sampling.PromptTokens;
            return at < said.Count ? said[at] : TestModel.End;
        };
    }

    /// <summary>The logprob that the fake reports for a token at a position.</summary>
    public static float Logprob(int position, int token) => -0.1f - ((position * 31 + token * 7) % 97) / 13f;

    /// <summary>The vector that the fake reports: of the last token, what it says of the tokens' sum and count otherwise.</summary>
    public static float[] Vector(Pooling pooling, IReadOnlyList<int> tokens) => [(int)pooling, tokens[^1], tokens.Sum(), tokens.Count];

    /// <summary>Begins the next life.</summary>
    public void Start()
    {
        lock (_gate)
        {
            _epoch++;
            _step = 0;
            _sequences.Clear();
            _sent.Clear();
            _masks.Clear();
            Outage = null;
            State = GroupState.Ready;
            _ready.SetResult(new GroupLife(_epoch, kvBlocks, blockTokens));
        }
    }

    /// <summary>The present life dies.</summary>
    public void Lose(string why, LossCause cause = LossCause.External)
    {
        lock (_gate)
        {
            State = GroupState.Lost;
            _lostBy = (why, cause);
            _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
            TaskCompletionSource<(string, LossCause)> lost = _lost;
            _lost = new TaskCompletionSource<(string, LossCause)>(TaskCreationOptions.RunContinuationsAsynchronously);
            lost.SetResult((why, cause));
        }
        if (Restarts)
            Start();
    }

    /// <summary>It begins anew as soon as it is lost.</summary>
    public bool Restarts { get; set; }

    /// <summary>Lets this many steps run.</summary>
    public void Allow(int steps = 1) => _permits.Release(steps);

    /// <summary>Waits until one more step has begun.</summary>
    public async Task StepBeganAsync() =>
        Assert.That(await _entered.WaitAsync(TimeSpan.FromSeconds(20)), Is.True, "no step began");

    public bool WantsRestore { get; set; }

    public Task RestoreAsync()
    {
        WantsRestore = false;
        Lose("restored");
        Start();
        return Task.CompletedTask;
    }

    public MoveWish WantsMove { get; set; }

    /// <summary>What each move was told: blocks in use.</summary>
    public List<int> MovedWith { get; } = [];

    /// <summary>A move is refused.</summary>
    public bool RefusesMoves { get; set; }

    public Task<bool> MoveAsync(int usedBlocks, TimeSpan recompute)
    {
        Assert.That(_sent, Is.Empty, "steps in flight");
        WantsMove = MoveWish.None;
        MovedWith.Add(usedBlocks);
        if (RefusesMoves)
            return Task.FromResult(false);
        lock (_gate)
            _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
        Start();
        return Task.FromResult(true);
    }

    public async Task<GroupLife> WaitReadyAsync(CancellationToken cancellation)
    {
        Task<GroupLife> ready;
        lock (_gate)
        {
            if (_untold is { } why)
            {
                _untold = null;
                throw new GroupUnavailableException(why);
            }
            ready = _ready.Task;
            _waiting++;
        }
        try
        {
            return await ready.WaitAsync(cancellation);
        }
        finally
        {
            lock (_gate)
                _waiting--;
        }
    }

    public Task SendAsync(StepPlan plan, CancellationToken cancellation)
    {
        lock (_gate)
        {
            if (State != GroupState.Ready)
                throw new WorkerLostException(_lostBy.Why, _lostBy.Cause);
            Plans.Add(plan.Clone());
            _sent.Enqueue(plan);
            Assert.That(_sent, Has.Count.LessThanOrEqualTo(2), "steps in flight");
        }
        _entered.Release();
        return Task.CompletedTask;
    }

    public Task SendMasksAsync(StepMasks masks, CancellationToken cancellation)
    {
        lock (_gate)
        {
            if (State != GroupState.Ready)
                throw new WorkerLostException(_lostBy.Why, _lostBy.Cause);
            Assert.That((masks.Epoch, masks.Step), Is.EqualTo((_epoch, _sent.Peek().Step)), "masks of the oldest step in flight");
            _masks.Add(masks.Step, masks);
        }
        return Task.CompletedTask;
    }

    public async Task<StepResult> ReceiveAsync(CancellationToken cancellation)
    {
        Task<(string, LossCause)> lost = _lost.Task;
        if (Manual)
        {
            using CancellationTokenSource leave = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            await Task.WhenAny(_permits.WaitAsync(leave.Token), lost);
            await leave.CancelAsync();
            cancellation.ThrowIfCancellationRequested();
        }
        if (Dies?.Invoke(_sent.Peek()) is { } cause)
            Lose("it died of it", cause);
        if (lost.IsCompleted)
        {
            (string why, LossCause from) = await lost;
            throw new WorkerLostException(why, from);
        }
        StepResult result = Compute(_sent.Dequeue());
        Spoil?.Invoke(result);
        return result;
    }

    public void Condemn(long epoch, string reason)
    {
        Condemned.Add(reason);
        Lose(reason, LossCause.Worker);
    }

    /// <summary>The circuit opens: whoever waits is told.</summary>
    public void Break(string why)
    {
        lock (_gate)
        {
            (State, Outage) = (GroupState.Broken, why);
            if (_waiting == 0)
                _untold = why;
            TaskCompletionSource<GroupLife> ready = _ready;
            _ready = new TaskCompletionSource<GroupLife>(TaskCreationOptions.RunContinuationsAsynchronously);
            ready.SetException(new GroupUnavailableException(why));
            _ = ready.Task.Exception; // where nobody waits, nobody misses it
        }
    }

    public IAsyncEnumerable<TracedStep> TraceAsync(int steps, CancellationToken cancellation) => throw new NotSupportedException("no test of the engine traces");

    public GetTopologyResponse Topology() => new()
    {
        Epoch = _epoch,
        State = State,
        DeviceReason = "--device cpu",
        Ranks =
        {
            new RankInfo
            {
                Rank = 0, Address = "unix:/tmp/rank0", Pid = 100, Device = "cpu test", Isa = "avx2", Backend = "fake", Transport = "shm", TransportReason = "same host", AllReduceMicroseconds = 2.5,
                Paths = { new PathInfo { Peer = 1, RoundTripMicroseconds = 4.5, BytesPerSecond = 2e11 } },
                Heads = new IndexRange { End = 2 }, KvHeads = new IndexRange { End = 1 }, MlpLeaves = new IndexRange { End = 1 }, VocabRows = new IndexRange { End = 132 },
                WeightBytes = 1000, KvBytes = 2000, StepMicroseconds = 7,
            },
            new RankInfo
            {
                Rank = 1, Address = "unix:/tmp/rank1", Pid = 101, Device = "cpu test", Isa = "avx2", Backend = "fake", Transport = "shm", TransportReason = "same host",
                VocabRows = new IndexRange { Start = 132, End = 264 },
            },
        },
    };

    private static int Hashed(NewSequence sequence, IReadOnlyList<int> tokens)
    {
        ulong hash = sequence.Sampling.Temperature == 0 ? 17 : sequence.Sampling.Seed * 31 + (ulong)sequence.Sampling.OutputIndex;
        foreach (int token in tokens)
            hash = (hash ^ (ulong)token) * 1099511628211 % 1_000_000_007;
        return 'a' + (int)(hash % 26);
    }

    private StepResult Compute(StepPlan plan)
    {
        Assert.That((plan.Epoch, plan.Step), Is.EqualTo((_epoch, ++_step)), "epoch and step of a plan");
        foreach (ulong finished in plan.Finished)
            Assert.That(_sequences.Remove(finished), Is.True, "a plan ends an unknown sequence");
        foreach (NewSequence added in plan.NewSequences)
            _sequences.Add(added.SequenceId, new Running(added));

        Assert.That(_masks.ContainsKey(plan.Step), Is.EqualTo(plan.Sequences.Any(rows => rows.AllowedFollows)), "masks that follow a step");
        foreach (TokenMask mask in _masks.GetValueOrDefault(plan.Step)?.Masks ?? [])
            plan.Sequences.Single(rows => rows.SequenceId == mask.SequenceId).Allowed = mask.Allowed;
        StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step, StepMicroseconds = 7 };
        foreach (SequenceStep rows in plan.Sequences)
        {
            Running sequence = _sequences[rows.SequenceId];
            sequence.Blocks.AddRange(rows.NewBlocks);
            Assert.That(rows.StartPosition, Is.EqualTo(sequence.Computed), "start of a sequence's rows");
            result.Sequences.Add(sequence.Answer(rows, NextToken));
            Assert.That(sequence.Computed, Is.LessThanOrEqualTo(Math.Min(sequence.Tokens.Count, sequence.Blocks.Count * blockTokens)));
        }
        Assert.That(_sequences.Values.SelectMany(sequence => sequence.Blocks), Is.All.InRange(0, kvBlocks - 1));
        return result;
    }

    private sealed class Running(NewSequence whole)
    {
        public List<int> Tokens { get; } = [.. whole.TokenIds];

        public List<int> Blocks { get; } = [];

        public int Computed { get; private set; } = whole.ComputedTokens;

        public SequenceResult Answer(SequenceStep rows, Func<NewSequence, IReadOnlyList<int>, int> next)
        {
            SequenceResult answer = new() { SequenceId = rows.SequenceId };
            if (whole.PromptLogprobs >= 0)
                for (int i = rows.StartPosition; i < Math.Min(rows.StartPosition + rows.Tokens, whole.Sampling.PromptTokens); i++)
                    answer.PromptLogprobs.Add(i == 0 ? new TokenLogprobs() : Logprobs(i, Tokens[i], whole.PromptLogprobs));
            Computed += rows.Tokens;
            if (whole.Pooling != Pooling.Unspecified && Computed == Tokens.Count)
                answer.Embedding.AddRange(Vector(whole.Pooling, Tokens));
            for (int right = 0; rows.Sample; right++)
            {
                int token = next(whole, Tokens);
                if (rows.Forced && right < rows.DraftIds.Count)
                    token = rows.DraftIds[right];
                else if (rows.Allowed.Length > 0 && !Allows(rows.Allowed, token))
                    token = Enumerable.Range(0, TestModel.Vocabulary).First(id => Allows(rows.Allowed, id));
                answer.TokenIds.Add(token);
                if (whole.TopLogprobs >= 0)
                    answer.Logprobs.Add(Logprobs(Tokens.Count, token, whole.TopLogprobs));
                Tokens.Add(token);
                if (right == rows.DraftIds.Count || rows.DraftIds[right] != token)
                    break;
                Computed++;
            }
            return answer;
        }

        private static bool Allows(Google.Protobuf.ByteString mask, int token) => token >> 3 < mask.Length && (mask[token >> 3] >> (token & 7) & 1) != 0;

        // The token itself is second; likelier and less likely ones are its neighbours.
        private static TokenLogprobs Logprobs(int position, int token, int top)
        {
            TokenLogprobs logprobs = new() { Logprob = Logprob(position, token), Rank = 2 };
            int[] ids = [(token + 1) % 256, token, (token + 2) % 256, (token + 3) % 256];
            for (int i = 0; i < Math.Min(top, ids.Length); i++)
            {
                logprobs.TopIds.Add(ids[i]);
                logprobs.TopLogprobs.Add(Logprob(position, token) + (1 - i) * 0.05f);
            }
            return logprobs;
        }
    }
}
