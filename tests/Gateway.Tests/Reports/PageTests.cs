using System.Text.RegularExpressions;
using System.Xml.Linq;
using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Reports.Pages;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

public sealed partial class PageTests
{
    [Test]
    public void Render_AReport_NeedsNoNetworkAndNoScript()
    {
        string page = ReportPage.Render(SampleReport.Create());
        Assert.That(page, Does.StartWith("<!DOCTYPE html>").And.Contain("Serve with --tp 2.").And.Contain("prefers-color-scheme:dark").And.Contain("tp 9 was not measured: it did not start"));
        Assert.That(page, Does.Not.Contain("<script").And.Not.Contain("http://").And.Not.Contain("https://").And.Not.Contain("src=").And.Not.Contain("@import").And.Not.Contain("url("));
        Assert.That(Svg().Matches(page), Has.Count.EqualTo(6));
        foreach (Match svg in Svg().Matches(page))
            Assert.That(() => XDocument.Parse(svg.Value), Throws.Nothing);
    }

    [TestCase("<script>alert(1)</script>")]
    [TestCase("\"><img src=x onerror=alert(1)>")]
    [TestCase("'&<b>")]
    public void Render_HostileTexts_AreAllEscaped(string hostile)
    {
        TpReport report = SampleReport.Create();
        SampleReport.FillTexts(report, hostile);
        string page = ReportPage.Render(report);
        Assert.That(page, Does.Not.Contain(hostile).And.Not.Contain("<script").And.Not.Contain("<img").And.Not.Contain("<b>"));
        Assert.That(page, Does.Contain(System.Net.WebUtility.HtmlEncode(hostile)));
    }

    [Test]
    public void Render_NothingMeasured_IsAPageAllTheSame()
    {
        TpReport report = new() { Recommendation = "Nothing was measured, so nothing is recommended.", Variants = { new ReportVariant { Name = "tp 1", Fault = "no" } } };
        Assert.That(ReportPage.Render(report), Does.Contain("Nothing was measured").And.EndWith("</html>\n"));
    }

    [Test]
    public void Bars_Stacked_HaveHeightsInTheRatioOfTheirValues()
    {
        XElement svg = XDocument.Parse(Chart.Bars("t", "s", ["a"], [new ChartSeries("x", [3]), new ChartSeries("y", [1]), new ChartSeries("z", [double.NaN])], stacked: true).ToString()).Root!;
        XElement[] bars = [.. svg.Elements("rect").Where(rect => rect.Element("title") is not null)];
        Assert.That(bars, Has.Length.EqualTo(2));
        double Of(XElement bar, string name) => double.Parse(bar.Attribute(name)!.Value, System.Globalization.CultureInfo.InvariantCulture);
        Assert.That(Of(bars[0], "height") / Of(bars[1], "height"), Is.EqualTo(3).Within(0.01));
        Assert.That(Of(bars[1], "y") + Of(bars[1], "height"), Is.EqualTo(Of(bars[0], "y")).Within(0.11), "one stands on the other");
        Assert.That(bars[0].Element("title")!.Value, Is.EqualTo("a, x: 3 s"));
    }

    [Test]
    public void Wrapped_LongName_BreaksAtItsSpaces()
    {
        Assert.That(Chart.Wrapped("tp 2, partition 1,3 · 0", 12), Is.EqualTo(new[] { "tp 2,", "partition", "1,3 · 0" }));
        Assert.That(Chart.Wrapped("tp 1 · 0", 12), Is.EqualTo(new[] { "tp 1 · 0" }));
        Assert.That(Chart.Wrapped("partition", 3), Is.EqualTo(new[] { "partition" }));
    }

    [Test]
    public void Axis_AnyValue_HoldsItWithFewRoundMarks() => Gen.Double[-12, 12].Sample(power =>
    {
        double largest = Math.Pow(10, power);
        Axis axis = Axis.For(largest);
        Assert.That(axis.Top, Is.GreaterThanOrEqualTo(largest * (1 - 1e-9)));
        Assert.That(axis.Marks().Count(), Is.InRange(2, 8));
        Assert.That(axis.At(axis.Top, 100), Is.EqualTo(100));
    }, iter: 200, threads: 1);

    [TestCase(0, 1)]
    [TestCase(double.NaN, 1)]
    [TestCase(7.3, 8)]
    [TestCase(60, 60)]
    public void Axis_Known_EndsAtARoundNumber(double largest, double top) => Assert.That(Axis.For(largest).Top, Is.EqualTo(top));

    [TestCase(1234.5, "1234")]
    [TestCase(123.45, "123")]
    [TestCase(12.345, "12.3")]
    [TestCase(0.012345, "0.0123")]
    [TestCase(2, "2")]
    [TestCase(0, "0")]
    [TestCase(double.NaN, "–")]
    public void Short_Numbers_KeepThreeDigits(double value, string text) => Assert.That(Figures.Short(value), Is.EqualTo(text));

    [Test]
    public void Csv_CellsWithCommasAndQuotes_AreQuoted() => Assert.That(
        CsvTables.Table(["a", "b"], [["1,5", "say \"hi\""], [null, 0.1], [true, "two\nlines"]]), Is.EqualTo("a,b\r\n\"1,5\",\"say \"\"hi\"\"\"\r\n,0.1\r\ntrue,\"two\nlines\"\r\n"));

    [Test]
    public void Csv_OfAReport_HasARowForEachThing()
    {
        Dictionary<string, string[]> tables = CsvTables.Of(SampleReport.Create()).ToDictionary(table => table.Name, table => table.Content.Split("\r\n", StringSplitOptions.RemoveEmptyEntries));
        Assert.That(tables.ToDictionary(table => table.Key, table => table.Value.Length), Is.EqualTo(new Dictionary<string, int> { ["variants.csv"] = 3, ["throughput.csv"] = 5, ["rank_times.csv"] = 7, ["ranks.csv"] = 4, ["collectives.csv"] = 1, ["wires.csv"] = 1 }));
        foreach (string[] table in tables.Values)
            Assert.That(table.Select(row => row.Split(',').Length), Is.All.EqualTo(table[0].Split(',').Length));
        Assert.That(tables["throughput.csv"][4], Does.StartWith("tp 2,32,500,500,500,10,"));
    }

    [GeneratedRegex("<svg.*?</svg>", RegexOptions.Singleline)]
    private static partial Regex Svg();
}
