using System.Globalization;

namespace TpServe.Benchmarks.Gpu;

/// <summary>The one table of a run: what was measured, the figure, the target, whether it is met.</summary>
internal sealed class Table
{
    private readonly List<string[]> _rows = [["measured", "figure", "target", "verdict"]];

    /// <summary>Rows that miss their target.</summary>
    public int Missed { get; private set; }

    /// <summary>Adds a figure without a target.</summary>
    public void Add(string what, string figure) => _rows.Add([what, figure, "", ""]);

    /// <summary>Adds a figure with a target.</summary>
    public void Add(string what, string figure, string target, bool met)
    {
        _rows.Add([what, figure, target, met ? "met" : "MISSED"]);
        Missed += met ? 0 : 1;
    }

    /// <summary>Median with range, scaled.</summary>
    public static string Spread(IReadOnlyCollection<double> values, double factor, string unit) => string.Create(
        CultureInfo.InvariantCulture, $"{Median(values) * factor:G4} {unit} ({values.Min() * factor:G4}-{values.Max() * factor:G4})");

    /// <summary>The middle value.</summary>
    public static double Median(IReadOnlyCollection<double> values) => values.Order().ElementAt(values.Count / 2);

    /// <summary>Prints all rows in aligned columns.</summary>
    public void Print()
    {
        int[] widths = [.. Enumerable.Range(0, 4).Select(column => _rows.Max(row => row[column].Length))];
        foreach (string[] row in _rows)
            Console.WriteLine(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }
}
