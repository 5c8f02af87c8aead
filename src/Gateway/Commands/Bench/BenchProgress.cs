using System.Globalization;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>A bar on standard error while requests end, where that is a terminal; drawn at most ten times a second.</summary>
internal sealed class BenchProgress(int total) : IDisposable
{
    private const int Width = 30;
    private const double Period = 0.1;

    private readonly bool _isShown = !Console.IsErrorRedirected;
    private readonly double _begin = BenchRun.Now();
    private readonly Lock _lock = new();
    private double _drawn;
    private int _done, _failed;
    private long _tokens;

    /// <summary>One more has ended.</summary>
    public void Add(BenchRecord record)
    {
        lock (_lock)
        {
            _done++;
            _failed += record.Failure is null ? 0 : 1;
            _tokens += record.OutputTokens;
            if (_isShown && (BenchRun.Now() - _drawn > Period || _done == total))
                Draw();
        }
    }

    private void Draw()
    {
        _drawn = BenchRun.Now();
        double seconds = Math.Max(1e-3, _drawn - _begin);
        int filled = Width * _done / total;
        Console.Error.Write(string.Create(CultureInfo.InvariantCulture,
            $"\r{new string('█', filled)}{new string('░', Width - filled)} {_done}/{total}  {_done / seconds:0.0} requests/s  {_tokens / seconds:0} tokens/s{(_failed > 0 ? $"  {_failed} failed" : "")}\e[K"));
    }

    public void Dispose()
    {
        if (_isShown)
            Console.Error.WriteLine();
    }
}
