using System.Globalization;
using System.Text.RegularExpressions;
using NUnit.Framework;
using TpServe.Gateway.Tests.Api;

namespace TpServe.Gateway.Tests.Telemetry;

/// <summary>What a scraper gets of /metrics, read as Prometheus reads it.</summary>
internal sealed partial class Scrape
{
    private Scrape(string text)
    {
        Text = text;
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith('#'))
            {
                if (TypeLine().Match(line) is { Success: true } type)
                    Assert.That(Types.TryAdd(type.Groups[1].Value, type.Groups[2].Value), Is.True, $"two metrics of one name: {line}");
                continue;
            }
            Match sample = Sample().Match(line);
            Assert.That(sample.Success, Is.True, $"no sample: {line}");
            Dictionary<string, string> labels = Label().Matches(sample.Groups["labels"].Value).ToDictionary(label => label.Groups[1].Value, label => label.Groups[2].Value);
            Samples.Add((sample.Groups["name"].Value, labels, double.Parse(sample.Groups["value"].Value, CultureInfo.InvariantCulture)));
        }
    }

    public string Text { get; }

    /// <summary>Name to type, as the comments say.</summary>
    public Dictionary<string, string> Types { get; } = [];

    public List<(string Name, Dictionary<string, string> Labels, double Value)> Samples { get; } = [];

    public static async Task<Scrape> OfAsync(ApiFixture api) => new(await api.Http.GetStringAsync("/metrics"));

    /// <summary>The only sample of that name and those labels.</summary>
    public double Value(string name, params (string Name, string Value)[] labels) =>
        Samples.Single(sample => sample.Name == name && labels.All(label => sample.Labels.GetValueOrDefault(label.Name) == label.Value)).Value;

    [GeneratedRegex("^# TYPE (\\S+) (counter|gauge|histogram)$")]
    private static partial Regex TypeLine();

    [GeneratedRegex("^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\\{(?<labels>.*)\\})? (?<value>[-+0-9.eEInfNa]+)( [0-9]+)?$")]
    private static partial Regex Sample();

    [GeneratedRegex("([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\\]|\\\\.)*)\"")]
    private static partial Regex Label();
}
