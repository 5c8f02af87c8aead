namespace TpServe.Gateway.Scheduling;

/// <summary>Seconds of a pass by the rows it computes: the median of the last measurements of each number of rows, straight lines between those.</summary>
/// <remarks>
/// A median, because one pass in many is compiled, interrupted or swapped out. Beyond the most rows measured the last line goes on; below the fewest it is level.
/// Threads  one caller at a time.
/// </remarks>
internal sealed class PassTimes
{
    private const int Kept = 9;

    private readonly SortedList<int, (double[] Last, int Count)> _byRows = [];

    /// <summary>Something was measured.</summary>
    public bool IsMeasured => _byRows.Count > 0;

    /// <summary>A pass of so many rows was measured.</summary>
    public bool Has(int rows) => _byRows.ContainsKey(rows);

    /// <summary>A pass has run; one that took no time was not measured.</summary>
    public void Observe(int rows, double seconds)
    {
        if (!(seconds > 0) || !double.IsFinite(seconds))
            return;
        (double[] last, int count) = _byRows.TryGetValue(rows, out (double[], int) known) ? known : (new double[Kept], 0);
        last[count % Kept] = seconds;
        _byRows[rows] = (last, count + 1);
    }

    /// <summary>Of a pass of so many rows; 0 where nothing is measured.</summary>
    public double Of(int rows)
    {
        if (_byRows.Count == 0)
            return 0;
        int above = 0; // first measured number of rows that is no less
        while (above < _byRows.Count && _byRows.Keys[above] < rows)
            above++;
        if (above == 0 || _byRows.Count == 1)
            return Median(Math.Min(above, _byRows.Count - 1));
        if (above < _byRows.Count && _byRows.Keys[above] == rows)
            return Median(above);
        int right = Math.Min(above, _byRows.Count - 1), left = right - 1;
        double slope = (Median(right) - Median(left)) / (_byRows.Keys[right] - _byRows.Keys[left]);
        if (above == _byRows.Count)
            return Median(right) + Math.Max(0, slope) * (rows - _byRows.Keys[right]);
        return Median(left) + slope * (rows - _byRows.Keys[left]);
    }

    /// <summary>The middle one, the lower of two.</summary>
    private double Median(int index)
    {
        (double[] last, int count) = _byRows.Values[index];
        Span<double> sorted = stackalloc double[Kept];
        int held = Math.Min(count, Kept);
        last.AsSpan(0, held).CopyTo(sorted);
        sorted[..held].Sort();
        return sorted[(held - 1) / 2];
    }
}
