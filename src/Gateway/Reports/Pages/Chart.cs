using System.Globalization;

namespace TpServe.Gateway.Reports.Pages;

/// <summary>A series of a chart: its name, and one value for each group; NaN = none.</summary>
internal sealed record ChartSeries(string Name, IReadOnlyList<double> Values);

/// <summary>Plots as SVG. Colours come from the page's style sheet, so that they follow light and dark; every bar names its value.</summary>
internal static class Chart
{
    private const double Width = 640, Height = 300, Left = 64, Right = 12, Top = 34, Bottom = 44;
    private const int Colours = 6;
    private const double LetterWidth = 6.4; // of the page's 11 pixel font, for the legend
    private static double PlotWidth => Width - Left - Right;
    private static double PlotHeight => Height - Top - Bottom;

    /// <summary>Bars side by side, or on one another.</summary>
    /// <param name="title">What it shows, for those who do not see it too.</param>
    /// <param name="unit">Of the vertical axis.</param>
    /// <param name="groups">Names below the bars.</param>
    /// <param name="series">With as many values as there are groups.</param>
    /// <param name="stacked">Whether bars of a group stand on one another.</param>
    public static Markup Bars(string title, string unit, IReadOnlyList<string> groups, IReadOnlyList<ChartSeries> series, bool stacked)
    {
        double largest = groups.Select((_, group) => series.Select(one => Positive(one.Values[group])).Aggregate(0.0, (sum, value) => stacked ? sum + value : Math.Max(sum, value))).DefaultIfEmpty(0).Max();
        Axis axis = Axis.For(largest);
        Markup svg = Frame(title, unit, axis);
        Legend(svg, [.. series.Select(one => one.Name)]);
        double room = PlotWidth / Math.Max(1, groups.Count), gap = room * 0.16;
        double width = (room - (2 * gap)) / (stacked ? 1 : Math.Max(1, series.Count));
        for (int group = 0; group < groups.Count; group++)
        {
            double below = 0;
            for (int i = 0; i < series.Count; i++)
            {
                double value = Positive(series[i].Values[group]);
                if (value == 0)
                    continue;
                double height = axis.At(value, PlotHeight), x = Left + (group * room) + gap + (stacked ? 0 : i * width);
                svg.Open("rect", ("class", $"c{i % Colours}"), ("x", Pixel(x)), ("y", Pixel(Top + PlotHeight - axis.At(below, PlotHeight) - height)), ("width", Pixel(Math.Max(1, width - 1))), ("height", Pixel(height)))
                    .Element("title", $"{groups[group]}, {series[i].Name}: {Figures.Short(value)} {unit}").Close("rect");
                if (!stacked && series.Count * groups.Count <= 18)
                    svg.Element("text", Figures.Short(value), ("class", "value"), ("x", Pixel(x + (width / 2))), ("y", Pixel(Top + PlotHeight - height - 4)), ("text-anchor", "middle"));
                below += stacked ? value : 0;
            }
            string[] lines = [.. Wrapped(groups[group], (int)(room / LetterWidth))];
            for (int line = 0; line < lines.Length; line++)
                svg.Element("text", lines[line], ("x", Pixel(Left + ((group + 0.5) * room))), ("y", Pixel(Height - Bottom + 14 + (12 * line))), ("text-anchor", "middle"));
        }
        return svg.Close("svg").Line();
    }

    /// <summary>A text in lines of at most so many letters, where its spaces allow.</summary>
    internal static IEnumerable<string> Wrapped(string text, int letters)
    {
        string line = "";
        foreach (string word in text.Split(' '))
            if (line.Length == 0)
                line = word;
            else if (line.Length + 1 + word.Length <= letters)
                line += " " + word;
            else
            {
                yield return line;
                line = word;
            }
        yield return line;
    }

    /// <summary>Points over resources, and the ideal: as many times faster as there are more resources. A series' line goes through its best point at each amount.</summary>
    /// <param name="title">What it shows.</param>
    /// <param name="unit">Of the horizontal axis.</param>
    /// <param name="series">Names with their points.</param>
    public static Markup SpeedUps(string title, string unit, IReadOnlyList<(string Name, IReadOnlyList<(double Resources, double SpeedUp)> Points)> series)
    {
        double most = series.SelectMany(one => one.Points).SelectMany(point => new[] { point.Resources, point.SpeedUp }).DefaultIfEmpty(1).Max();
        Axis axis = Axis.For(most);
        Markup svg = Frame(title, "speed-up", axis);
        Legend(svg, [.. series.Select(one => one.Name)]);
        double X(double resources) => Left + axis.At(resources, PlotWidth);
        double Y(double speedUp) => Top + PlotHeight - axis.At(speedUp, PlotHeight);
        foreach (double mark in axis.Marks())
            svg.Element("text", Figures.Short(mark), ("x", Pixel(X(mark))), ("y", Pixel(Height - Bottom + 18)), ("text-anchor", "middle"));
        svg.Element("text", unit, ("x", Pixel(Left + PlotWidth)), ("y", Pixel(Height - 8)), ("text-anchor", "end"));
        svg.Open("line", ("class", "ideal"), ("x1", Pixel(X(0))), ("y1", Pixel(Y(0))), ("x2", Pixel(X(axis.Top))), ("y2", Pixel(Y(axis.Top)))).Element("title", "ideal").Close("line");
        for (int i = 0; i < series.Count; i++)
        {
            (double Resources, double SpeedUp)[] points = [.. series[i].Points.OrderBy(point => point.Resources)];
            string path = string.Join(' ', points.GroupBy(point => point.Resources).Select(same => same.MaxBy(point => point.SpeedUp)).Select(point => $"{Pixel(X(point.Resources))},{Pixel(Y(point.SpeedUp))}"));
            svg.Open("polyline", ("class", $"l{i % Colours}"), ("points", path)).Close("polyline");
            foreach ((double resources, double speedUp) in points)
                svg.Open("circle", ("class", $"c{i % Colours}"), ("cx", Pixel(X(resources))), ("cy", Pixel(Y(speedUp))), ("r", 4))
                    .Element("title", $"{series[i].Name}: {Figures.Short(speedUp)} at {Figures.Short(resources)} {unit}").Close("circle");
        }
        return svg.Close("svg").Line();
    }

    private static Markup Frame(string title, string unit, Axis axis)
    {
        Markup svg = new Markup().Open("svg", ("viewBox", $"0 0 {Pixel(Width)} {Pixel(Height)}"), ("role", "img"), ("aria-label", title)).Element("title", title);
        foreach (double mark in axis.Marks())
        {
            double y = Top + PlotHeight - axis.At(mark, PlotHeight);
            svg.Open("line", ("class", "grid"), ("x1", Pixel(Left)), ("y1", Pixel(y)), ("x2", Pixel(Width - Right)), ("y2", Pixel(y))).Close("line")
                .Element("text", Figures.Short(mark), ("x", Pixel(Left - 6)), ("y", Pixel(y + 4)), ("text-anchor", "end"));
        }
        return svg.Element("text", unit, ("x", 4), ("y", Pixel(Top - 18)));
    }

    private static void Legend(Markup svg, IReadOnlyList<string> names)
    {
        double x = Width - Right - names.Sum(Room);
        for (int i = 0; i < names.Count; i++)
        {
            svg.Open("rect", ("class", $"c{i % Colours}"), ("x", Pixel(x)), ("y", 6), ("width", 10), ("height", 10)).Close("rect")
                .Element("text", names[i], ("x", Pixel(x + 14)), ("y", 15));
            x += Room(names[i]);
        }

        static double Room(string name) => 28 + (LetterWidth * name.Length);
    }

    private static double Positive(double value) => value > 0 && !double.IsInfinity(value) ? value : 0;

    private static string Pixel(double value) => Math.Round(value, 1).ToString(CultureInfo.InvariantCulture);
}

/// <summary>Numbers for people.</summary>
internal static class Figures
{
    /// <summary>Three digits that say something, and no more: 1234, 123, 12.3, 1.23, 0.0123.</summary>
    public static string Short(double value)
    {
        if (value == 0 || !double.IsFinite(value))
            return value == 0 ? "0" : "–";
        int decimals = Math.Clamp(2 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 9);
        string text = value.ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        return decimals > 0 ? text.TrimEnd('0').TrimEnd('.') : text;
    }

    /// <summary>A share in percent.</summary>
    public static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:F1} %");

    /// <summary>Bytes in MiB.</summary>
    public static string Mebibytes(double bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576:F1} MiB");
}
