namespace TpServe.Gateway.Reports.Pages;

/// <summary>A scale from 0 with marks at round numbers.</summary>
/// <param name="Top">Its end.</param>
/// <param name="Step">Between marks.</param>
internal readonly record struct Axis(double Top, double Step)
{
    private const int MostMarks = 6;

    /// <summary>The smallest one that holds a value, with marks at 1, 2 or 5 times a power of ten.</summary>
    public static Axis For(double largest)
    {
        if (!(largest > 0) || double.IsInfinity(largest))
            return new Axis(1, 0.5);
        double power = Math.Pow(10, Math.Floor(Math.Log10(largest / MostMarks)));
        double step = new[] { 1.0, 2, 5, 10 }.Select(times => times * power).First(candidate => largest / candidate <= MostMarks);
        return new Axis(step * Math.Ceiling((largest / step) - 1e-9), step);
    }

    /// <summary>Its marks.</summary>
    public IEnumerable<double> Marks()
    {
        int count = (int)Math.Round(Top / Step);
        for (int i = 0; i <= count; i++)
            yield return i * Step;
    }

    /// <summary>The place of a value on so many pixels.</summary>
    public double At(double value, double pixels) => value / Top * pixels;
}
