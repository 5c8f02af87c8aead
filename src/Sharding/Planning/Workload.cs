using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>What a plan is to be good at.</summary>
public enum PlanObjective
{
    /// <summary>The time of one request, from its prompt to its last token.</summary>
    Latency,

    /// <summary>Tokens a second over all requests.</summary>
    Throughput,
}

/// <summary>The work that a plan is made for.</summary>
/// <param name="Objective">What counts.</param>
/// <param name="PromptTokens">Tokens of a prompt.</param>
/// <param name="OutputTokens">Tokens generated for it.</param>
/// <param name="Batch">Requests that decode together.</param>
/// <param name="ContextTokens">Tokens of KV cache that each of them must have room for; at least prompt and output.</param>
/// <param name="ChunkTokens">Most prompt tokens of a step.</param>
public sealed record Workload(PlanObjective Objective, int PromptTokens, int OutputTokens, int Batch, int ContextTokens, int ChunkTokens)
{
    private const int MostTokens = 1 << 24, MostBatch = 1 << 14;

    /// <summary>One request of 512 and 128 tokens.</summary>
    public static Workload Latency { get; } = new(PlanObjective.Latency, 512, 128, 1, 640, 512);

    /// <summary>32 such requests at once.</summary>
    public static Workload Throughput { get; } = Latency with { Objective = PlanObjective.Throughput, Batch = 32 };

    /// <summary>How often the prompt's steps count in what is minimised.</summary>
    internal double PrefillWeight => Objective == PlanObjective.Latency ? 1 : Batch;

    /// <summary>How often a decode step counts.</summary>
    internal double DecodeWeight => OutputTokens;

    /// <summary>The steps of one prompt: all that they share is a kind, so one of count c stands for c equal ones.</summary>
    internal IReadOnlyList<StepKind> Prefill(ModelConfig config)
    {
        List<StepKind> steps = [];
        for (int first = 0; first < PromptTokens; first += ChunkTokens)
        {
            int rows = Math.Min(ChunkTokens, PromptTokens - first);
            steps.Add(new StepKind(rows, first + rows == PromptTokens ? 1 : 0, PrefillKeys(config, first, rows), Decodes: false));
        }
        return steps;
    }

    /// <summary>A decode step in the middle of the output.</summary>
    internal IReadOnlyList<StepKind> Decode(ModelConfig config)
    {
        double context = PromptTokens + ((OutputTokens + 1) / 2.0), keys = 0;
        for (int layer = 0; layer < config.Layers; layer++)
            keys += Slides(config, layer) ? Math.Min(context, config.SlidingWindow) : context;
        return [new StepKind(Batch, Batch, keys * Batch, Decodes: true)];
    }

    /// <exception cref="ShardingException">Names field, value and limit.</exception>
    internal void Check()
    {
        Within("prompt tokens", PromptTokens, MostTokens);
        Within("output tokens", OutputTokens, MostTokens);
        Within("batch", Batch, MostBatch);
        Within("chunk tokens", ChunkTokens, MostTokens);
        if (PromptTokens / ChunkTokens > 4096)
            throw new ShardingException($"workload: a prompt of {PromptTokens} tokens in chunks of {ChunkTokens} is more than 4096 steps.");
        if (ContextTokens < PromptTokens + OutputTokens)
            throw new ShardingException($"workload: a context of {ContextTokens} tokens is less than a prompt of {PromptTokens} and an output of {OutputTokens}.");

        static void Within(string field, int value, int most)
        {
            if (value < 1 || value > most)
                throw new ShardingException($"workload: {field} {value} is not in 1..{most}.");
        }
    }

    /// <summary>Σ over layers and rows of the keys a row sees: itself and what is before it, as far as the layer's window.</summary>
    private static double PrefillKeys(ModelConfig config, int first, int rows)
    {
        double all = Arithmetic(first + 1, first + rows), windowed = all;
        if (config.SlidingWindow > 0 && first + rows > config.SlidingWindow)
        {
            int growing = Math.Max(0, config.SlidingWindow - first);
            windowed = (growing > 0 ? Arithmetic(first + 1, config.SlidingWindow) : 0) + ((double)(rows - growing) * config.SlidingWindow);
        }
        double keys = 0;
        for (int layer = 0; layer < config.Layers; layer++)
            keys += Slides(config, layer) ? windowed : all;
        return keys;

        static double Arithmetic(double from, double to) => (from + to) * (to - from + 1) / 2;
    }

    private static bool Slides(ModelConfig config, int layer) => config.SlidingWindow > 0 && layer < config.SlidingLayers.Count && config.SlidingLayers[layer];
}

/// <summary>A step as costs see it.</summary>
/// <param name="Rows">Tokens.</param>
/// <param name="Samples">Rows whose next token is drawn: those of the head.</param>
/// <param name="Keys">Σ over layers and rows of the keys that a row attends to.</param>
/// <param name="Decodes">Whether every row is of a sequence of its own, so that attention reads the cache once for each.</param>
internal sealed record StepKind(int Rows, int Samples, double Keys, bool Decodes);

/// <summary>What a plan must keep to.</summary>
public sealed record PlanLimits
{
    /// <summary>Fewest ranks; 1.</summary>
    public int MinDegree { get; init; } = 1;

    /// <summary>Most ranks.</summary>
    public int MaxDegree { get; init; } = Partition.MaxDegree;

    /// <summary>Tokens of KV cache that every rank must hold; 0 = the workload's batch × context.</summary>
    public long KvTokens { get; init; }

    /// <summary>How many other plans are kept.</summary>
    public int Alternatives { get; init; } = 5;

    /// <summary>The even split of like devices is taken where it is as good as the best within this share.</summary>
    public double EvenWithin { get; init; } = 0.005;
}
