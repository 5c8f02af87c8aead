namespace TpServe.Gateway.Engine;

/// <summary>What steps take, measured as they run, and how many tokens of prompts a step may compute beside the rows of running streams.</summary>
/// <remarks>
/// A step's time is taken as that of a step that only decodes, plus a share for each token beside. Chunks change no bit, so their size may follow: a step
/// that carries a chunk takes at most <see cref="Stretch"/> times one that carries none, and a prompt never makes running streams stutter.
/// Threads  one caller at a time.
/// </remarks>
internal sealed class StepPace
{
    /// <summary>How much longer a step with a chunk may take.</summary>
    private const double Stretch = 2.5;

    /// <summary>Tokens beside running streams before anything is measured.</summary>
    private const int FirstChunk = 32;

    /// <summary>Fewest tokens beside running streams: fewer would waste the pass over the weights.</summary>
    private const int LeastChunk = 8;

    private const double Memory = 0.8;

    private double? _decodeSeconds, _secondsOfToken;

    /// <summary>Prompt tokens a second, where measured.</summary>
    public double? CatchUpTokensPerSecond => _secondsOfToken is > 0 and { } seconds ? 1 / seconds : null;

    /// <summary>What it takes to compute tokens anew; nothing before it is measured.</summary>
    public TimeSpan CatchUp(long tokens) => TimeSpan.FromSeconds(tokens * (_secondsOfToken ?? 0));

    /// <summary>Seconds of a step that only decodes, where measured.</summary>
    public double? DecodeSeconds => _decodeSeconds;

    /// <summary>Most tokens of prompts beside the rows of running streams.</summary>
    public int CatchUpTokens => _decodeSeconds is { } decode && _secondsOfToken is > 0 and { } token
        ? (int)Math.Clamp((Stretch - 1) * decode / token, LeastChunk, int.MaxValue)
        : FirstChunk;

    /// <summary>Most tokens of prompts in a step that carries nothing else: it stays well below what a step may take.</summary>
    public int LoneTokens(TimeSpan mostOfStep) =>
        _secondsOfToken is > 0 and { } token ? (int)Math.Clamp(mostOfStep.TotalSeconds / 4 / token, LeastChunk, int.MaxValue) : int.MaxValue;

    /// <summary>A step has run.</summary>
    /// <param name="singleRows">Rows of sequences that computed one token.</param>
    /// <param name="catchUpTokens">Tokens of the others.</param>
    /// <param name="seconds">Time it took on the slowest rank.</param>
    public void Observe(int singleRows, int catchUpTokens, double seconds)
    {
        if (catchUpTokens == 0)
            _decodeSeconds = Mean(_decodeSeconds, seconds);
        else if (singleRows == 0 || _decodeSeconds is not null)
            _secondsOfToken = Mean(_secondsOfToken, Math.Max(0, seconds - (singleRows > 0 ? _decodeSeconds!.Value : 0)) / catchUpTokens);
    }

    private static double Mean(double? old, double value) => old is { } before ? Memory * before + (1 - Memory) * value : value;
}
