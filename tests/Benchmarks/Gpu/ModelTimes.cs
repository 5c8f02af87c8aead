using System.Diagnostics;
using TpServe.Checkpoint.Config;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Benchmarks.Gpu;

/// <summary>Decode and prefill of one whole model on one device, as the worker runs it: upload, forward pass, candidates, sampling.</summary>
internal sealed class ModelTimes : IDisposable
{
    private const int BlockTokens = 16;
    private readonly ModelConfig _config;
    private readonly DenseTransformer _model;
    private readonly KvCache _cache;
    private readonly ModelRank _rank;
    private readonly StepBatch _batch = new(BlockTokens);
    private long _step;

    public ModelTimes(ModelConfig config, ITensorBackend ops, ICommunicator comm, int maxRows, int contextTokens)
    {
        _config = config;
        using SyntheticLlama checkpoint = new(config);
        ShardPlan plan = new(config, Partition.Even(config, 1), 0);
        long start = Stopwatch.GetTimestamp();
        _model = WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(contextTokens, MaxStepTokens: Math.Max(contextTokens, maxRows)));
        _cache = new KvCache(config, plan, ElementType.Float16, BlockTokens, maxRows * ((contextTokens + BlockTokens - 1) / BlockTokens), ops);
        _rank = new ModelRank(_model, _cache, plan, ops, comm);
        LoadSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Seconds from the checkpoint to a rank that is ready.</summary>
    public double LoadSeconds { get; }

    /// <summary>Bytes of the packed weights.</summary>
    public long WeightBytes => _model.WeightBytes;

    /// <summary>Bytes a decode step reads: every weight but the embedding's other rows, and the keys and values so far.</summary>
    public double DecodeBytes(int rows, int context) =>
        WeightBytes * (1 - (double)_config.Vocab * _config.Hidden / Parameters) + 2.0 * 2 * rows * context * _config.Layers * _config.KvHeads * _config.HeadDim;

    /// <summary>Multiply-adds of a prompt, times two: matrices (the head on one row) and attention.</summary>
    public double PrefillFlops(int tokens) =>
        2.0 * tokens * (Parameters - 2.0 * _config.Vocab * _config.Hidden) + 2.0 * _config.Vocab * _config.Hidden
        + 2.0 * tokens * tokens * _config.Layers * _config.Heads * _config.HeadDim;

    private double Parameters =>
        2.0 * _config.Vocab * _config.Hidden
        + _config.Layers * ((double)_config.Hidden * _config.HeadDim * (2 * _config.Heads + 2 * _config.KvHeads) + 3.0 * _config.Hidden * _config.Intermediate);

    /// <summary>Seconds of decode steps of so many rows at a context of so many tokens.</summary>
    public List<double> Decode(int rows, int context, int warmUp, int steps) => Time(warmUp + steps, warmUp, step =>
    {
        for (int row = 0; row < rows; row++)
            Add(row, [(step * 31 + row * 7) % _config.Vocab], context - 1);
    });

    /// <summary>Seconds to the first token of a prompt of so many tokens, in one step.</summary>
    public List<double> Prefill(int tokens, int warmUp, int rounds) => Time(warmUp + rounds, warmUp, round =>
        Add(0, [.. Enumerable.Range(0, tokens).Select(i => (i * 37 + round) % _config.Vocab)], 0));

    public void Dispose()
    {
        _cache.Dispose();
        _model.Dispose();
    }

    private void Add(int sequence, ReadOnlySpan<int> tokens, int position)
    {
        int blocks = (position + tokens.Length + BlockTokens - 1) / BlockTokens, perSequence = _cache.Blocks / Math.Max(1, _cache.Blocks / blocks);
        int[] table = [.. Enumerable.Range(0, blocks).Select(block => (sequence * perSequence + block) % _cache.Blocks)];
        int row = _batch.AddSequence(tokens, position, table);
        _batch.Samples.Add(new SampleRow(row + tokens.Length - 1, SamplingSettings.Greedy, new int[position + tokens.Length], position + tokens.Length, -1));
    }

    private List<double> Time(int count, int warmUp, Action<int> lay)
    {
        List<double> seconds = [];
        for (int i = 0; i < count; i++)
        {
            _batch.Clear(++_step);
            lay(i);
            long start = Stopwatch.GetTimestamp();
            _rank.Run(_batch); // waits: the sampled tokens come back to the host
            if (i >= warmUp)
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return seconds;
    }
}
