using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>How long a thread ran, and was kept from running, as Linux counts it; nothing elsewhere.</summary>
/// <remarks>
/// Threads   made and asked by the thread that it is about.
/// Cost      a read of some bytes, two microseconds: for a step now and then.
/// Source    Documentation/scheduler/sched-stats.rst: time on the processor and time waiting on a run queue in nanoseconds, times it was run.
/// </remarks>
internal sealed class ProcessorTimes : IDisposable
{
    private readonly SafeFileHandle? _file;
    private readonly byte[] _text = new byte[96];
    private long[] _before = [];

    public ProcessorTimes()
    {
        try
        {
            _file = File.OpenHandle("/proc/thread-self/schedstat");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // Another system, or a kernel that does not count.
        }
    }

    /// <summary>Counts from now on.</summary>
    public void Begin() => _before = Read();

    /// <summary>Puts what has passed since the last call into a result.</summary>
    public void AddTo(StepResult result)
    {
        long[] now = Read();
        if (now.Length == 3 && _before.Length == 3)
        {
            result.RanMicroseconds = (now[0] - _before[0]) / 1000;
            result.StolenMicroseconds = (now[1] - _before[1]) / 1000;
            result.StolenTimes = now[2] - _before[2];
        }
        _before = now;
    }

    public void Dispose() => _file?.Dispose();

    private long[] Read()
    {
        if (_file is null)
            return [];
        try
        {
            string[] fields = Encoding.ASCII.GetString(_text, 0, RandomAccess.Read(_file, _text, 0)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            return [.. fields.Select(field => long.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : 0)];
        }
        catch (IOException)
        {
            return [];
        }
    }
}
