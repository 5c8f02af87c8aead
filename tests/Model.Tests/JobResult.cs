using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

/// <summary>What a job gave. Logprobs are filled on rank 0 only.</summary>
internal sealed class JobResult
{
    public List<int> Tokens { get; } = [];

    public List<TokenLogprobs> Logprobs { get; } = [];

    /// <summary>By row: the distribution after prompt position i, asked about token i + 1 (about token 0 after the last).</summary>
    public List<TokenLogprobs> Rows { get; } = [];

    /// <summary>The prompt's pooled hidden states, where they are asked for.</summary>
    public float[] Vector { get; set; } = [];

    /// <summary>Everything as text with exact bits, so that two results can be compared by one assertion.</summary>
    public override string ToString() =>
        $"tokens {string.Join(",", Tokens)}\nlogprobs {string.Join("; ", Logprobs.Select(Exact))}\nprompt {string.Join("; ", Rows.Select(Exact))}\nvector {string.Join(",", Vector.Select(value => $"{BitConverter.SingleToInt32Bits(value):x8}"))}";

    private static string Exact(TokenLogprobs p) =>
        $"{BitConverter.SingleToInt32Bits(p.Logprob):x8} {p.Rank} [{string.Join(",", p.TopIds.Zip(p.TopLogprobs, (id, v) => $"{id}:{BitConverter.SingleToInt32Bits(v):x8}"))}]";
}
