using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace TpServe.Worker;

/// <summary>Where a load's time goes: "model 0.021 s, joining 0.004 s, …", in the order of its stages.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class LoadStages
{
    private readonly StringBuilder _text = new();
    private long _since = Stopwatch.GetTimestamp();

    /// <summary>A stage has ended; the next begins now.</summary>
    public void Ended(string stage)
    {
        long now = Stopwatch.GetTimestamp();
        _text.Append(CultureInfo.InvariantCulture, $"{(_text.Length > 0 ? ", " : "")}{stage} {Stopwatch.GetElapsedTime(_since, now).TotalSeconds:F3} s");
        _since = now;
    }

    /// <summary>What has ended so far.</summary>
    public override string ToString() => _text.ToString();
}
