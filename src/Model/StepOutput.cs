using TpServe.Model.Sampling;

namespace TpServe.Model;

/// <summary>What a step found. Reused: valid until the next step.</summary>
public sealed class StepOutput
{
    private int[] _tokenIds = [];
    private int _count;

    /// <summary>The chosen token of each of the batch's samples, on every rank; <see cref="Sampler.NotFinite"/> where a row's arithmetic failed.</summary>
    public ReadOnlySpan<int> TokenIds => _tokenIds.AsSpan(0, _count);

    /// <summary>Logprobs of each of the batch's samples, null where not asked for; rank 0 only, empty elsewhere.</summary>
    public IReadOnlyList<TokenLogprobs?> Logprobs => SampleLogprobs;

    /// <summary>Logprobs of each of the batch's prompt rows; rank 0 only, empty elsewhere.</summary>
    public IReadOnlyList<TokenLogprobs> PromptLogprobs => RowLogprobs;

    internal List<TokenLogprobs?> SampleLogprobs { get; } = [];

    internal List<TokenLogprobs> RowLogprobs { get; } = [];

    /// <summary>Room for the choices of <paramref name="samples"/> rows.</summary>
    internal Span<int> Reset(int samples)
    {
        SampleLogprobs.Clear();
        RowLogprobs.Clear();
        if (_tokenIds.Length < samples)
            _tokenIds = new int[Math.Max(samples, 2 * _tokenIds.Length)];
        _count = samples;
        return _tokenIds.AsSpan(0, samples);
    }
}
