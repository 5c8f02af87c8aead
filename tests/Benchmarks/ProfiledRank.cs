using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Benchmarks;

/// <summary>A kind of step: so many sequences, each computing so many tokens after so many others. The last token of each is sampled, greedily.</summary>
/// <param name="Name">For people.</param>
/// <param name="Sequences">Sequences in the step.</param>
/// <param name="Tokens">Tokens that each computes.</param>
/// <param name="Context">Tokens of each that lie in the cache before.</param>
internal sealed record StepKind(string Name, int Sequences, int Tokens, int Context)
{
    /// <summary>Pairs of a token and one it attends to, over all sequences.</summary>
    public double Pairs => Sequences * (Tokens * (double)Context + Tokens * (Tokens + 1.0) / 2);
}

/// <summary>What was measured of one kind of step on one rank.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Typical">Where the time of a typical step goes.</param>
/// <param name="Milliseconds">The steps, with the clocks on.</param>
/// <param name="Unclocked">The steps between them that ran with the clocks off.</param>
internal sealed record StepProfile(StepKind Kind, StepTimes Typical, Spread Milliseconds, Spread Unclocked);

/// <summary>One rank of a group inside this process, with a clock around each operation of its backend and its communicator.</summary>
/// <remarks>
/// The cache: sequence 0 is filled by prefilling random tokens in chunks; each further sequence has copies of its first blocks, in blocks of its own.
/// A step is repeated at the same positions, so that every repetition finds the same context.
/// Threads   the rank's thread; every rank of the group runs the same kinds in the same order.
/// </remarks>
internal sealed class ProfiledRank : IDisposable
{
    private const int BlockTokens = 16, ChunkTokens = 512;
    private static readonly TimeSpan s_measured = TimeSpan.FromSeconds(3), s_patience = TimeSpan.FromSeconds(120);
    private readonly OperationClock _clock = new();
    private readonly ProfilingBackend _ops;
    private readonly DenseTransformer _model;
    private readonly KvCache _cache;
    private readonly ModelRank _rank;
    private readonly ShardPlan _plan;
    private readonly Meeting _meeting;
    private readonly StepBatch _batch = new(BlockTokens);
    private readonly int[] _tokens;
    private readonly int[][] _tables;
    private int _filled;
    private int _copied = 1;
    private long _step;

    /// <summary>Loads the rank's part of the model.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="plan">The rank's part.</param>
    /// <param name="backend">The rank's device; the caller's to dispose.</param>
    /// <param name="group">The rank's group; the caller's to dispose.</param>
    /// <param name="kinds">What will be run.</param>
    /// <param name="meeting">Where the ranks agree on repetitions.</param>
    public ProfiledRank(ModelCheckpoint checkpoint, ShardPlan plan, CpuBackend backend, ICommunicator group, IReadOnlyList<StepKind> kinds, Meeting meeting)
    {
        _plan = plan;
        _meeting = meeting;
        int longest = kinds.Max(kind => kind.Context + kind.Tokens), most = kinds.Max(kind => kind.Sequences);
        int first = Blocks(longest), further = Blocks(kinds.Where(kind => kind.Sequences > 1).Max(kind => kind.Context + kind.Tokens));
        _tables = [.. Enumerable.Range(0, most).Select(sequence => sequence == 0
            ? Enumerable.Range(0, first).ToArray() : [.. Enumerable.Range(first + ((sequence - 1) * further), further)])];
        Random random = new(1);
        _tokens = [.. Enumerable.Range(0, longest).Select(_ => random.Next(1000, 6000))];
        _ops = new ProfilingBackend(backend, _clock, checkpoint.Config.Layers);
        ProfilingCommunicator comm = new(group, _clock);
        _model = WeightLoader.Load(checkpoint, plan, _ops, comm, new ModelLimits(longest, ChunkTokens));
        _cache = new KvCache(checkpoint.Config, plan, ElementType.Float16, BlockTokens, first + ((most - 1) * further), _ops);
        _rank = new ModelRank(_model, _cache, plan, _ops, comm);
        group.Barrier(s_patience);
    }

    /// <summary>Bytes of the rank's packed weights.</summary>
    public long WeightBytes => _model.WeightBytes;

    /// <summary>Runs a kind of step until its times are known.</summary>
    public StepProfile Measure(StepKind kind)
    {
        Fill(kind);
        Run(kind, isOn: false); // a first step rents its scratch
        double seconds = Run(kind, isOn: false).Milliseconds / 1e3;
        int repetitions = _meeting.Agree(_plan.Rank, (int)Math.Clamp(s_measured.TotalSeconds / seconds, 8, 400), s_patience);
        List<StepTimes> clocked = [];
        List<double> unclocked = [];
        for (int i = 0; i < repetitions; i++)
            if (i % 4 == 3)
                unclocked.Add(Run(kind, isOn: false).Milliseconds);
            else
                clocked.Add(Run(kind, isOn: true));
        StepTimes typical = StepTimes.Typical(clocked);
        int dim = _model.Config.HeadDim;
        ref OperationTimes attention = ref typical.Operations[(int)Operation.Attention];
        attention.Bytes = 2.0 * kind.Sequences * (kind.Context + kind.Tokens) * _plan.LocalKvHeads * dim * _cache.Type.SizeBytes() * _model.Config.Layers;
        attention.Flops = 4.0 * kind.Pairs * _plan.LocalHeads * dim * _model.Config.Layers;
        return new StepProfile(kind, typical, Spread.Of(clocked.Select(step => step.Milliseconds)), Spread.Of(unclocked));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _cache.Dispose();
        _model.Dispose();
    }

    private static int Blocks(int tokens) => (tokens + BlockTokens - 1) / BlockTokens;

    /// <summary>Brings what comes before the step into the cache.</summary>
    private void Fill(StepKind kind)
    {
        while (_filled < kind.Context)
        {
            int count = Math.Min(ChunkTokens, kind.Context - _filled);
            _batch.Clear(++_step);
            _batch.AddSequence(_tokens.AsSpan(_filled, count), _filled, _tables[0]);
            _rank.Run(_batch);
            _filled += count;
        }
        if (_copied >= kind.Sequences)
            return;
        _batch.Clear(++_step);
        for (; _copied < kind.Sequences; _copied++)
            for (int block = 0; block < _tables[_copied].Length; block++)
                _batch.Copies.Add((_tables[0][block], _tables[_copied][block]));
        _batch.AddSequence(_tokens.AsSpan(0, 1), 0, _tables[0]);
        _rank.Run(_batch);
    }

    private StepTimes Run(StepKind kind, bool isOn)
    {
        _batch.Clear(++_step);
        for (int sequence = 0; sequence < kind.Sequences; sequence++)
        {
            int row = _batch.AddSequence(_tokens.AsSpan(kind.Context, kind.Tokens), kind.Context, _tables[sequence]);
            _batch.Samples.Add(new SampleRow(row + kind.Tokens - 1, SamplingSettings.Greedy, _tokens.AsMemory(0, kind.Context + kind.Tokens), kind.Context + kind.Tokens, -1));
        }
        _filled = Math.Max(_filled, kind.Sequences == 1 ? kind.Context + kind.Tokens : 0);
        _ops.BeginStep();
        _clock.BeginStep(isOn);
        StepOutput output = _rank.Run(_batch);
        StepTimes times = _clock.EndStep();
        if (output.TokenIds[0] < 0)
            throw new InvalidOperationException($"{kind.Name}: the logits are not finite.");
        return times;
    }

    /// <summary>Where the ranks' threads agree on a number: rank 0's.</summary>
    internal sealed class Meeting(int ranks) : IDisposable
    {
        private readonly Barrier _barrier = new(ranks);
        private int _number;

        /// <summary>Rank 0's number, once every rank has come.</summary>
        /// <exception cref="TimeoutException">One has not.</exception>
        public int Agree(int rank, int number, TimeSpan patience)
        {
            if (rank == 0)
                Volatile.Write(ref _number, number);
            if (!_barrier.SignalAndWait(patience))
                throw new TimeoutException($"Rank {rank} has waited {patience.TotalSeconds:F0} s for the others.");
            return Volatile.Read(ref _number);
        }

        /// <inheritdoc/>
        public void Dispose() => _barrier.Dispose();
    }
}
