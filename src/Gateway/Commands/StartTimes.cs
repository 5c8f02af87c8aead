using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace TpServe.Gateway.Commands;

/// <summary>Where a start's time goes until the server listens: "runtime 0.081 s, settings 0.052 s, …".</summary>
internal sealed class StartTimes
{
    private readonly StringBuilder _text = new();
    private readonly DateTime _start = Process.GetCurrentProcess().StartTime.ToUniversalTime();
    private DateTime _since;

    public StartTimes() => _since = _start;

    /// <summary>Since the process was started.</summary>
    public TimeSpan Elapsed => DateTime.UtcNow - _start;

    /// <summary>A stage has ended; the next begins now.</summary>
    public void Ended(string stage)
    {
        DateTime now = DateTime.UtcNow;
        _text.Append(CultureInfo.InvariantCulture, $"{(_text.Length > 0 ? ", " : "")}{stage} {(now - _since).TotalSeconds:F3} s");
        _since = now;
    }

    /// <summary>What has ended so far.</summary>
    public override string ToString() => _text.ToString();
}
