using System.Text.Json.Nodes;
using NUnit.Framework;

namespace TpServe.Deploy.Tests;

/// <summary>deploy/grafana: a compose file that fits docker-compose.yml, and files that are where it mounts them from.</summary>
public sealed class MonitoringTests
{
    private static readonly JsonObject s_compose = Yaml.Load(DeployFiles.Read("deploy/grafana/compose.yml"));

    [Test]
    public void Compose_AsItIs_FitsTheServersAndNamesFilesThatAreThere()
    {
        Assert.That(Schemas.Compose(s_compose), Is.Empty);
        JsonObject servers = Yaml.Load(DeployFiles.Read("docker-compose.yml"))["services"]!.AsObject();
        foreach ((string name, JsonNode? service) in s_compose["services"]!.AsObject())
        {
            if (service!["image"] is null)
            {
                Assert.That(servers.ContainsKey(name), Is.True, $"{name} only adds to a server");
                continue;
            }
            Assert.That(service["profiles"]!.AsArray().Select(profile => profile!.ToString()), Is.EqualTo(new[] { "monitoring" }));
            Assert.That(service["image"]!.ToString(), Does.Match(":v?[0-9]+\\.[0-9]+"), "a release of its own");
            Assert.That(service["ports"]!.AsArray().Select(port => port!.ToString()), Has.All.StartsWith("127.0.0.1:"));
            foreach (JsonNode? volume in service["volumes"]!.AsArray().Where(volume => volume!["type"]!.ToString() == "bind"))
                Assert.That(Path.Exists(DeployFiles.PathOf(volume!["source"]!.ToString())), Is.True, $"{volume["source"]}");
        }
    }

    [Test]
    public void Prometheus_Scrapes_WhatTheServersListenOn()
    {
        JsonObject prometheus = Yaml.Load(DeployFiles.Read("deploy/grafana/prometheus.yml"));
        string target = prometheus["scrape_configs"]![0]!["static_configs"]![0]!["targets"]![0]!.ToString();
        Assert.That(target.Split(':')[0], Is.EqualTo(s_compose["services"]!["tpserve"]!["networks"]!["default"]!["aliases"]![0]!.ToString()));
        Assert.That(ComposeCheck.Environment(new DeployFiles(), "tpserve")["Gateway__Http"], Does.EndWith(":" + target.Split(':')[1]));
        foreach (JsonNode? rule in Yaml.Load(DeployFiles.Read("deploy/grafana/alerts.yml"))["groups"]![0]!["rules"]!.AsArray())
            Assert.That((rule!["alert"] is not null, rule["expr"] is not null, rule["annotations"]!["summary"] is not null, rule["labels"]!["severity"] is not null), Is.EqualTo((true, true, true, true)), rule.ToJsonString());
    }
}
