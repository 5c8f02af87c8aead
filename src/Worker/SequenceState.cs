using System.Runtime.InteropServices;
using Google.Protobuf.Collections;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;
using LoraAdapter = TpServe.Model.Adapters.LoraAdapter;
using TokenLogprobs = TpServe.Model.Sampling.TokenLogprobs;

namespace TpServe.Worker;

/// <summary>What a rank knows of one running sequence: its tokens, how many are computed, where their keys and values lie.</summary>
internal sealed class SequenceState
{
    private readonly List<int> _blocks = [];
    private int[] _tokens;

    /// <summary>A sequence as the gateway first tells of it.</summary>
    public SequenceState(NewSequence sequence)
    {
        Id = sequence.SequenceId;
        _tokens = [.. sequence.TokenIds];
        Count = _tokens.Length;
        Computed = Drafted = sequence.ComputedTokens;
        Drafts = sequence.Drafts;
        LongRope = sequence.LongRope;
        PromptTokens = sequence.Sampling.PromptTokens;
        TopLogprobs = sequence.TopLogprobs;
        PromptLogprobs = sequence.PromptLogprobs;
        Sampling = Settings(sequence.Sampling);
        Pooled = sequence.Pooling switch
        {
            Pooling.Unspecified => null,
            Pooling.Mean => new PooledStates(Checkpoint.Config.Pooling.Mean, PromptTokens),
            Pooling.First => new PooledStates(Checkpoint.Config.Pooling.First, PromptTokens),
            _ => new PooledStates(Checkpoint.Config.Pooling.Last, PromptTokens),
        };
    }

    public ulong Id { get; }

    /// <summary>Tokens known: prompt and generated.</summary>
    public int Count { get; private set; }

    /// <summary>Of these, how many are the prompt.</summary>
    public int PromptTokens { get; }

    /// <summary>Tokens whose keys and values are in the cache.</summary>
    public int Computed { get; private set; }

    /// <summary>The draft model keeps up with it.</summary>
    public bool Drafts { get; }

    /// <summary>Tokens whose keys and values the draft model has, or is taken to have; guesses among them until the step they were made for has ended.</summary>
    public int Drafted { get; set; }

    /// <summary>Guesses laid behind the tokens.</summary>
    public int Guesses { get; private set; }

    /// <summary>LongRoPE: rotated by the factors of sequences beyond the original context.</summary>
    public bool LongRope { get; }

    /// <summary>The adapter its rows go through; null = none.</summary>
    public LoraAdapter? Lora { get; init; }

    public SamplingSettings Sampling { get; }

    /// <summary>What the row of the present step may choose, where that follows.</summary>
    public FollowingMask Mask { get; } = new();

    /// <summary>Likeliest tokens to report with a sampled one; −1 = none, not even its own.</summary>
    public int TopLogprobs { get; }

    /// <summary>Likeliest tokens to report with each prompt token; −1 = none.</summary>
    public int PromptLogprobs { get; }

    /// <summary>Its prompt's hidden states on their way to its vector; null = it generates.</summary>
    public PooledStates? Pooled { get; }

    /// <summary>What the last computed row said of the next prompt token, which a later step reports with that token.</summary>
    public TokenLogprobs? NextPromptLogprobs { get; set; }

    /// <summary>The tokens so far, and after them the guesses: a slice beyond Count holds the first of those.</summary>
    public ReadOnlyMemory<int> TokensUpTo(int count) => _tokens.AsMemory(0, count);

    public ReadOnlySpan<int> Blocks => CollectionsMarshal.AsSpan(_blocks);

    public void AddBlocks(RepeatedField<int> blocks) => _blocks.AddRange(blocks);

    /// <summary>So many tokens more are computed. What the draft model has computed beyond them were guesses that were wrong.</summary>
    public void Advance(int tokens)
    {
        Computed += tokens;
        Drafted = Math.Min(Drafted, Computed);
        Guesses = 0;
    }

    /// <summary>One token more. True where it is what was guessed.</summary>
    public bool Append(int token)
    {
        Reserve(Count + 1);
        bool right = Guesses > 0 && _tokens[Count] == token;
        Guesses = right ? Guesses - 1 : 0;
        _tokens[Count++] = token;
        return right;
    }

    /// <summary>Lays guesses behind the tokens and guesses so far; they are none of the tokens until they are appended.</summary>
    public void Guess(params ReadOnlySpan<int> tokens)
    {
        Reserve(Count + Guesses + tokens.Length);
        tokens.CopyTo(_tokens.AsSpan(Count + Guesses));
        Guesses += tokens.Length;
    }

    private void Reserve(int tokens)
    {
        if (tokens > _tokens.Length)
            Array.Resize(ref _tokens, Math.Max(64, 2 * tokens));
    }

    private static SamplingSettings Settings(SamplingParameters sampling) => new()
    {
        Temperature = sampling.Temperature,
        TopK = sampling.TopK,
        TopP = sampling.TopP,
        MinP = sampling.MinP,
        Seed = sampling.Seed,
        OutputIndex = sampling.OutputIndex,
        PresencePenalty = sampling.PresencePenalty,
        FrequencyPenalty = sampling.FrequencyPenalty,
        RepetitionPenalty = sampling.RepetitionPenalty,
        // By id, so that the order of the map on the wire cannot matter.
        LogitBias = [.. sampling.LogitBias.OrderBy(bias => bias.Key)],
        AllowedTokenIds = [.. sampling.AllowedTokenIds],
        EndTokenIds = [.. sampling.EndTokenIds],
        MinTokens = sampling.MinTokens,
    };
}
