using System.Text.RegularExpressions;
using NUnit.Framework;

namespace TpServe.Deploy.Tests;

/// <summary>docs/DEPLOY.md names nothing that does not exist, and marks what no test tries.</summary>
public sealed partial class GuideTests
{
    private static readonly DeployFiles s_files = new();

    [Test]
    public void Guide_AsItIs_HasNoFault() => Assert.That(Faults(s_files), Is.Empty);

    [TestCase("TPSERVE_TP", "TPSERVE_DEGREE", "TPSERVE_DEGREE")]
    [TestCase("--profile cpu", "--profile laptop", "laptop")]
    [TestCase("up -d gateway", "up -d server", "server")]
    [TestCase("Gateway__MaxStepTokens", "Gateway__StepTokens", "Gateway__StepTokens is no setting")]
    [TestCase("tpserve drain #", "tpserve finish #", "tpserve finish")]
    [TestCase("adr/0006-one", "adr/0007-one", "adr/0007")]
    [TestCase("# ¹ one worker per GPU", "# one worker per GPU", "not marked")]
    [TestCase("`/health/live`", "`/health/alive`", "/health/alive")]
    public void Guide_Changed_IsFoundFaulty(string from, string to, string fault)
    {
        Assert.That(s_files.Guide, Does.Contain(from));
        Assert.That(Faults(s_files with { Guide = s_files.Guide.Replace(from, to, StringComparison.Ordinal) }), Has.Some.Contains(fault));
    }

    private static IEnumerable<string> Faults(DeployFiles files)
    {
        string guide = files.Guide;
        Dictionary<string, string> example = Interpolation.ReadEnvironment(files.EnvironmentExample);
        foreach (string variable in Variable().Matches(guide).Select(match => match.Value).Where(name => !example.ContainsKey(name)))
            yield return $"{variable} is not in .env.example";
        foreach (string fault in KnownSettings.NamedIn(guide).Select(KnownSettings.Fault).OfType<string>())
            yield return fault;
        foreach (string link in Link().Matches(guide).Select(match => match.Groups[1].Value).Where(link => !link.StartsWith("https://", StringComparison.Ordinal)))
            if (!File.Exists(DeployFiles.PathOf(Path.Combine("docs", link))))
                yield return $"{link} does not exist";
        foreach (string file in NamedFile().Matches(guide).Select(match => match.Groups[1].Value))
            if (!File.Exists(DeployFiles.PathOf(file)) && !Directory.Exists(DeployFiles.PathOf(file)) && !File.Exists(DeployFiles.PathOf("deploy/kubernetes/" + file)))
                yield return $"{file} does not exist";

        System.Text.Json.Nodes.JsonObject services = Yaml.Load(files.Compose)["services"]!.AsObject();
        System.Text.Json.Nodes.JsonObject observers = Yaml.Load(DeployFiles.Read("deploy/grafana/compose.yml"))["services"]!.AsObject();
        HashSet<string> profiles = [.. services.Concat(observers.Where(service => service.Value!["profiles"] is not null)).SelectMany(service => service.Value!["profiles"]!.AsArray()).Select(profile => profile!.ToString())];
        foreach (string profile in Profile().Matches(guide).Select(match => match.Groups[1].Value).Where(profile => !profiles.Contains(profile)))
            yield return $"profile {profile} does not exist";
        foreach (string service in UpService().Matches(guide).Select(match => match.Groups[1].Value).Where(service => !services.ContainsKey(service)))
            yield return $"service {service} does not exist";
        foreach (string command in Tpserve().Matches(guide).Select(match => match.Groups[1].Value).Where(command => !CommandLine.Commands.Contains(command)))
            yield return $"tpserve {command} does not exist";
        string api = DeployFiles.Read("src/Gateway/Api/TpServeApi.cs");
        foreach (string route in Route().Matches(guide).Select(match => match.Value).Where(route => !api.Contains($"Map(s_get, \"{route}\"", StringComparison.Ordinal)))
            yield return $"{route} is not served";

        // What no test runs says so itself.
        foreach (string line in guide.Split('\n').Where(line => line.StartsWith("docker ", StringComparison.Ordinal) || line.StartsWith("kubectl ", StringComparison.Ordinal)))
            if (!line.Contains('¹', StringComparison.Ordinal))
                yield return $"'{line}' is not marked as not tried";
    }

    [GeneratedRegex("TPSERVE_[A-Z_]+")]
    private static partial Regex Variable();

    [GeneratedRegex(@"\]\(([^)]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("`((?:deploy|tests)/[A-Za-z./]+|[a-z]+\\.yaml)`")]
    private static partial Regex NamedFile();

    [GeneratedRegex("--profile ([a-z-]+)")]
    private static partial Regex Profile();

    [GeneratedRegex("up -d ([a-z-]+)")]
    private static partial Regex UpService();

    [GeneratedRegex("(?:exec tpserve |`)tpserve ([a-z]+)")]
    private static partial Regex Tpserve();

    [GeneratedRegex("/health/[a-z]+")]
    private static partial Regex Route();
}
