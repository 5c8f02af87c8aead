namespace TpServe.Benchmarks;

/// <summary>What is asked of a server or of its peer: a prompt of so many tokens, then so many more, in so many sequences at once.</summary>
/// <remarks>
/// One sequence: the rate of the prompt until its first token has come, and of the tokens after that. Several: the rate of all together while all of them decode.
/// </remarks>
/// <param name="Sequences">At once.</param>
/// <param name="PromptTokens">Of each.</param>
/// <param name="DecodeTokens">Of each, after the first; 0 = only the prompt counts.</param>
internal sealed record Workload(int Sequences, int PromptTokens, int DecodeTokens)
{
    /// <summary>A prompt of 128 tokens and 64 after it.</summary>
    public static Workload Usual { get; } = new(1, 128, 64);

    /// <summary>What it measures, in the order of the rates.</summary>
    public IReadOnlyList<string> Phases =>
        Sequences > 1 ? [$"decode x{Sequences}"]
        : DecodeTokens == 0 ? [$"prefill {PromptTokens}"]
        : [$"prefill {PromptTokens}", PromptTokens == Usual.PromptTokens ? "decode" : $"decode @{PromptTokens}"];

    /// <summary>True where a phase decodes one sequence after a short prompt: then every weight is read once a token, and little else.</summary>
    public static bool ReadsWeights(string phase) => phase == "decode";

    /// <summary>Runs it on a server: tokens a second of each phase.</summary>
    public async Task<double[]> RunAsync(ServedModel server)
    {
        TokenStream[] streams = await Task.WhenAll(Enumerable.Range(0, Sequences).Select(sequence =>
            server.StreamAsync([.. Enumerable.Range(0, PromptTokens).Select(i => 1000 + (i * 37 + sequence * 1009) % 5000)], DecodeTokens + 1)));
        if (Array.Find(streams, stream => stream.Tokens.Count != DecodeTokens + 1) is { } wrong)
            throw new InvalidOperationException($"{wrong.Tokens.Count} tokens came instead of {DecodeTokens + 1}.");
        if (Sequences == 1)
        {
            (double start, double first, double last) = (streams[0].Start, streams[0].Times[0], streams[0].Times[^1]);
            return DecodeTokens == 0 ? [PromptTokens / (first - start)] : [PromptTokens / (first - start), DecodeTokens / (last - first)];
        }
        double begin = streams.Max(stream => stream.Times[0]), end = streams.Min(stream => stream.Times[^1]);
        if (end <= begin)
            throw new InvalidOperationException($"{Sequences} sequences of {DecodeTokens} tokens never decoded all at once; more tokens are needed.");
        return [streams.Sum(stream => stream.Times.Count(time => time > begin && time <= end)) / (end - begin)];
    }
}
