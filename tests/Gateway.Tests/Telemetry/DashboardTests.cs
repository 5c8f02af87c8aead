using System.Text.Json;
using System.Text.RegularExpressions;
using NUnit.Framework;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Telemetry;

/// <summary>The dashboard and the alert rules ask only for what a server tells.</summary>
public sealed partial class DashboardTests
{
    // Of Prometheus itself.
    private static readonly HashSet<string> s_words = ["by", "sum", "min", "max", "rate", "increase", "delta", "histogram_quantile", "and", "label_values", "model_name"];

    [Test]
    public async Task Queries_OfDashboardAndRules_NameMetricsAndLabelsOfARealScrape()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("Hello!") };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, start: false, settings: ApiFixture.Settings with { RequestTimeout = TimeSpan.FromMilliseconds(50) });
        await api.PostAsync("/v1/completions", """{"prompt":"a"}"""); // nothing runs yet: it comes to its deadline
        group.Start();
        await api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":2}""");
        Scrape scrape = await Scrape.OfAsync(api);
        ILookup<string, HashSet<string>> labels = scrape.Samples.ToLookup(sample => sample.Name, sample => sample.Labels.Keys.ToHashSet());

        string folder = Path.Combine(TestData.Repository, "deploy", "grafana");
        string[] queries = [.. Dashboard(Path.Combine(folder, "dashboards", "tpserve.json")), .. RuleLine().Matches(File.ReadAllText(Path.Combine(folder, "alerts.yml"))).Select(match => match.Groups[1].Value)];
        Assert.That(queries, Has.Length.GreaterThan(30));
        foreach (string query in queries)
        {
            string[] metrics = [.. Metric().Matches(query).Select(match => match.Value)];
            Assert.That(metrics, Is.Not.Empty, query);
            foreach (string metric in metrics)
                Assert.That(labels.Contains(metric), Is.True, $"{metric} of: {query}");
            foreach (string label in Selector().Matches(query).SelectMany(match => LabelName().Matches(match.Groups[1].Value)).Concat(Grouping().Matches(query).SelectMany(match => Word().Matches(match.Groups[1].Value))).Select(match => match.Groups[1].Value))
                Assert.That(metrics.Any(metric => labels[metric].Any(known => known.Contains(label))), Is.True, $"label {label} of: {query}");
            string rest = Selector().Replace(Metric().Replace(query, " "), " ");
            foreach (Match word in Word().Matches(Grouping().Replace(Range().Replace(rest, " "), " by ")))
                Assert.That(s_words, Does.Contain(word.Value), query);
        }
        foreach (string name in scrape.Types.Keys)
            Assert.That(queries.Any(query => query.Contains(name, StringComparison.Ordinal)), Is.True, $"{name} is shown nowhere");
    }

    private static IEnumerable<string> Dashboard(string file)
    {
        using JsonDocument dashboard = JsonDocument.Parse(File.ReadAllText(file));
        foreach (JsonElement panel in dashboard.RootElement.GetProperty("panels").EnumerateArray())
            foreach (JsonElement target in panel.GetProperty("targets").EnumerateArray())
                yield return target.GetProperty("expr").GetString()!;
        foreach (JsonElement variable in dashboard.RootElement.GetProperty("templating").GetProperty("list").EnumerateArray())
            if (variable.GetProperty("type").GetString() == "query")
                yield return variable.GetProperty("query").GetString()!;
    }

    [GeneratedRegex(@"^\s+expr: (.*)$", RegexOptions.Multiline)]
    private static partial Regex RuleLine();

    [GeneratedRegex(@"tpserve:[a-z0-9_]+")]
    private static partial Regex Metric();

    [GeneratedRegex(@"\{([^}]*)\}")]
    private static partial Regex Selector();

    [GeneratedRegex(@"([a-z_]+)\s*(?:=~|!~|!=|=)")]
    private static partial Regex LabelName();

    [GeneratedRegex(@"\bby \(([^)]*)\)")]
    private static partial Regex Grouping();

    [GeneratedRegex(@"\[[^\]]*\]")]
    private static partial Regex Range();

    [GeneratedRegex(@"\b([a-z_]+)\b")]
    private static partial Regex Word();
}
