using TpServe.Checkpoint.Config;

namespace TpServe.Model;

/// <summary>One sequence's hidden states on their way to one vector: its last one, its first one, or the mean of all.</summary>
/// <remarks>
/// Shapes   states [hidden] after the final norm.
/// Numerics a mean is summed in float64 in the order of the positions and rounded once, so that its bits depend on the tokens alone and not on chunks or batch.
/// Threads  the rank's thread; filled on rank 0 only.
/// </remarks>
/// <param name="pooling">Which states count.</param>
/// <param name="tokens">Tokens of the sequence.</param>
public sealed class PooledStates(Pooling pooling, int tokens)
{
    private double[] _sums = [];
    private int _added;

    /// <summary>Whether the state of the token at this position counts.</summary>
    public bool Wants(int position) => pooling switch
    {
        Pooling.Mean => position < tokens,
        Pooling.First => position == 0,
        _ => position == tokens - 1,
    };

    /// <summary>Takes in the next state that counts; they come in the order of their positions.</summary>
    public void Add(ReadOnlySpan<float> state)
    {
        if (_added++ == 0)
            _sums = new double[state.Length];
        for (int i = 0; i < state.Length; i++)
            _sums[i] += state[i];
    }

    /// <summary>The vector, once all states that count are in.</summary>
    /// <exception cref="InvalidOperationException">Some are missing.</exception>
    public float[] Vector()
    {
        int wanted = pooling == Pooling.Mean ? tokens : 1;
        if (_added != wanted)
            throw new InvalidOperationException($"{_added} of {wanted} hidden states are pooled.");
        return [.. _sums.Select(sum => (float)(sum / wanted))];
    }
}

/// <summary>One row of the step whose hidden state counts towards its sequence's vector.</summary>
/// <param name="Row">Row of the step.</param>
/// <param name="Into">Where rank 0 adds it.</param>
public readonly record struct PooledRow(int Row, PooledStates Into);
