using System.Text.Json.Nodes;
using NUnit.Framework;
using TpServe.Gateway;

namespace TpServe.Deploy.Tests;

/// <summary>docker-compose.yml and .env.example are right, and the check that says so finds faults.</summary>
public sealed class ComposeTests
{
    private static readonly DeployFiles s_files = new();

    [Test]
    public void Compose_AsItIs_HasNoFault() => Assert.That(ComposeCheck.Faults(s_files), Is.Empty);

    [TestCase("    read_only: true\n    # Compiled", "    read_onyl: true\n    # Compiled", "NoAdditionalPropertiesAllowed")] // a key of a volume
    [TestCase("  stop_grace_period: 40s", "  stop_grace: 40s", "NoAdditionalPropertiesAllowed")]
    [TestCase("  restart: unless-stopped", "  restart: [unless-stopped]", "restart: StringExpected")]
    [TestCase("count: all", "count: all\n              gpus: 1", "NoAdditionalPropertiesAllowed")]
    [TestCase("Gateway__Tp:", "Gateway__Degree:", "Gateway__Degree is no setting")]
    [TestCase("Gateway__KvDtype:", "Gateway__Workers:", "Workers is a list")]
    [TestCase("Worker__Listen:", "Worker__Address:", "Worker__Address is no setting")]
    [TestCase("--transport ring", "--transpot ring", "no flag --transpot")]
    [TestCase("command: serve", "command: server", "'tpserve server' is no command")]
    [TestCase("test: [CMD, tpserve, health]", "test: [CMD, curl, localhost]", "'curl' is not in the image")]
    [TestCase("test: [CMD, tpserve, health]", "test: [CMD, tpserve, health, --quick]", "no flag --quick")]
    [TestCase("entrypoint: [tpserve-worker]", "entrypoint: [tpserve-rank]", "'tpserve-rank' is not in the image")]
    [TestCase("${TPSERVE_TP:-}", "${TPSERVE_TP}", "TPSERVE_TP has no default")]
    [TestCase("${TPSERVE_KV_DTYPE:-f16}", "${TPSERVE_KV_DTYPE:-f32}", "TPSERVE_KV_DTYPE is 'f16' in .env.example")]
    [TestCase("${TPSERVE_SHM_SIZE:-1gb}", "${TPSERVE_SHARED:-1gb}", "TPSERVE_SHARED is not explained")]
    [TestCase("${TPSERVE_SHM_SIZE:-1gb}", "1gb", "TPSERVE_SHM_SIZE of .env.example is not used")]
    [TestCase("Gateway__Http: 0.0.0.0:8080", "Gateway__Http: 0.0.0.0:8090", "port 8080 is published but nothing listens")]
    [TestCase("Gateway__Http: 0.0.0.0:8080", "Gateway__Http: 127.0.0.1:8080", "listened on at 127.0.0.1:8080 only")]
    [TestCase("${TPSERVE_WORKER_BIND:-127.0.0.1}:", "${TPSERVE_WORKER_BIND:-0.0.0.0}:", "beyond loopback")]
    [TestCase(":-https://worker:9001}", ":-https://worker:9002}", "nothing listens on that port")]
    [TestCase("https://127.0.0.1:9001\", --secret", "https://127.0.0.1:9002\", --secret", "health check asks port 9002")]
    [TestCase("target: /models", "target: /data", "path /data is not in the image")]
    [TestCase("Gateway__SecretFile: /run/secrets/group-secret", "Gateway__SecretFile: /run/secrets/secret", "neither a secret")]
    [TestCase("    - group-secret\n", "    - other\n", "secret other is not declared")]
    [TestCase("source: group-key", "source: other-key", "secret other-key is not declared")]
    [TestCase("    Worker__Tls: /run/secrets/tls\n", "", "links are not encrypted")]
    [TestCase("      Gateway__Tls: /run/secrets/tls\n", "", "links are not encrypted")]
    [TestCase("Worker__Tls: /run/secrets/tls", "Worker__Tls: /run/secrets/certificate", "neither a secret")]
    [TestCase("dockerfile: deploy/Dockerfile", "dockerfile: Dockerfile", "build file Dockerfile does not exist")]
    [TestCase("RUNTIME_IMAGE: $", "BASE_IMAGE: $", "build argument BASE_IMAGE")]
    [TestCase("${TPSERVE_USER:-1654:1654}", "root", "user 'root'")]
    [TestCase("${TPSERVE_USER:-1654:1654}", "\"0:0\"", "user '0:0'")]
    [TestCase("  cap_drop: [ALL]", "  privileged: true", "privileged")]
    [TestCase("  cap_drop: [ALL]", "  cap_drop: [ALL]\n  cap_add: [SYS_ADMIN]", "capabilities are kept")]
    [TestCase("  read_only: true\n  cap", "  cap", "not read-only")]
    [TestCase("  init: true", "  init: true\n  ipc: host", "ipc is shared")]
    public void Compose_Changed_IsFoundFaulty(string from, string to, string fault)
    {
        Assert.That(s_files.Compose, Does.Contain(from), "the control must change something");
        string changed = s_files.Compose.Replace(from, to, StringComparison.Ordinal);
        Assert.That(ComposeCheck.Faults(s_files with { Compose = changed }), Has.Some.Contains(fault));
    }

    [Test]
    public void Compose_Profiles_AreThoseThatTheExampleNames()
    {
        JsonObject services = Yaml.Load(s_files.Compose)["services"]!.AsObject();
        string[] profiles = [.. services.SelectMany(service => service.Value!["profiles"]!.AsArray()).Select(profile => profile!.ToString()).Distinct()];
        Assert.That(profiles, Is.EquivalentTo(new[] { "gpu", "cpu", "multihost", "multihost-cpu" }));
        Assert.That(Interpolation.ReadEnvironment(s_files.EnvironmentExample)["COMPOSE_PROFILES"], Is.AnyOf(profiles));
        foreach (string profile in profiles)
            Assert.That(s_files.EnvironmentExample.Split('\n').First(line => line.Contains("Profiles that", StringComparison.Ordinal)), Does.Contain(profile));
    }

    [Test]
    public void Compose_EveryContainerOfOneProfile_HasHostPortsOfItsOwn()
    {
        JsonObject services = ((JsonObject)Interpolation.Fill(Yaml.Load(s_files.Compose), new Dictionary<string, string>())!)["services"]!.AsObject();
        foreach (string profile in new[] { "gpu", "cpu", "multihost", "multihost-cpu" })
        {
            string[] ports = [.. services.Where(service => service.Value!["profiles"]!.AsArray().Any(one => one!.ToString() == profile))
                .SelectMany(service => service.Value!["ports"]!.AsArray()).Select(port => port!.ToString().Split(':')[^2])];
            Assert.That(ports, Is.Unique.And.Not.Empty, profile);
        }
    }

    [Test]
    public void Compose_GpuService_SeesEveryGpuAndTakesItsDegreeFromOneVariable()
    {
        JsonObject service = Yaml.Load(s_files.Compose)["services"]!["tpserve"]!.AsObject();
        JsonNode device = service["deploy"]!["resources"]!["reservations"]!["devices"]![0]!;
        Assert.That(device["count"]!.ToString(), Is.EqualTo("all"));
        Assert.That(device["capabilities"]!.AsArray().Select(one => one!.ToString()), Does.Contain("gpu"));
        Assert.That(service["environment"]!["Gateway__Tp"]!.ToString(), Is.EqualTo("${TPSERVE_TP:-}"));
        Assert.That(service["ulimits"]!["memlock"]!.GetValue<long>(), Is.EqualTo(-1));
    }

    [TestCase("tpserve-cpu", true)]
    [TestCase("gateway", true)]
    [TestCase("worker-cpu", true)]
    [TestCase("tpserve", false)]
    [TestCase("worker", false)]
    public void Compose_ServiceWithoutReservation_GetsNoGpuByTheImagesWish(string name, bool none)
    {
        JsonNode service = Yaml.Load(s_files.Compose)["services"]![name]!;
        Assert.That(service["deploy"] is null, Is.EqualTo(none));
        Assert.That(ComposeCheck.Environment(s_files, name)["NVIDIA_VISIBLE_DEVICES"], Is.EqualTo(none ? "void" : "all"));
    }

    [Test]
    public void Compose_StopGracePeriod_IsLongerThanTheServerTakesToEnd()
    {
        Assert.That(new GatewayOptions().DrainTimeout, Is.LessThanOrEqualTo(TimeSpan.FromSeconds(30)), "and its workers end within 10 s more");
        Assert.That(s_files.Compose, Does.Contain("stop_grace_period: 40s"));
    }

    [Test]
    public void Example_EveryVariable_IsExplainedAboveIt()
    {
        string[] lines = s_files.EnvironmentExample.Split('\n');
        for (int i = 1; i < lines.Length; i++)
            if (lines[i].Contains('=', StringComparison.Ordinal) && !lines[i].StartsWith('#'))
                Assert.That(lines[i - 1], Does.StartWith("#").Or.Contain("="), lines[i]);
    }

    [Test]
    public void Example_FilledIn_GivesTheSameAsNoFile()
    {
        JsonObject written = Yaml.Load(s_files.Compose);
        Dictionary<string, string> example = Interpolation.ReadEnvironment(s_files.EnvironmentExample);
        Assert.That(Interpolation.Fill(written, example)!.ToJsonString(), Is.EqualTo(Interpolation.Fill(written, new Dictionary<string, string>())!.ToJsonString()));
    }
}
