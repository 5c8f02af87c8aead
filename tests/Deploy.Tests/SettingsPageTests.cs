using NUnit.Framework;
using TpServe.Gateway.Settings;
using TpServe.Worker;

namespace TpServe.Deploy.Tests;

/// <summary>docs/SETTINGS.md is what the two programs print, and .env.example names nothing that stops a server which inherits it.</summary>
public sealed class SettingsPageTests
{
    [Test]
    public void Page_InTheRepository_IsWhatTheTablesSay() =>
        Assert.That(DeployFiles.Read("docs/SETTINGS.md"), Is.EqualTo(SettingsPage.Render() + WorkerSettings.Page()), "make settings writes it anew");

    [Test]
    public void EnvironmentExample_EveryVariable_IsASettingOrKnownAsAnothers()
    {
        Dictionary<string, string> example = Interpolation.ReadEnvironment(new DeployFiles().EnvironmentExample);
        IEnumerable<string> names = example.Keys.Where(name => name.StartsWith(Setting.VariablePrefix, StringComparison.Ordinal));
        Assert.That(names.Where(name => !SettingsTable.IsForeign(name) && SettingsTable.All.All(setting => setting.Variable != name)), Is.Empty);
        Assert.That(WorkerSettings.Table.Select(setting => setting.Alias).Where(name => !SettingsTable.IsForeign(name) && SettingsTable.All.All(setting => setting.Variable != name)), Is.Empty);
    }

    [Test]
    public void Services_OfTheKubernetesExample_AreNoSettings()
    {
        // Kubernetes puts these into every container of the namespace; the service's name stands in deploy/kubernetes/service.yaml.
        Assert.That(DeployFiles.Read("deploy/kubernetes/service.yaml"), Does.Contain("name: tpserve-api"));
        foreach (string variable in new[] { "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_PROTO", "PORT_8080_TCP_PORT", "PORT_8080_TCP_ADDR" })
            Assert.That(SettingsTable.IsForeign("TPSERVE_API_" + variable), Is.True, variable);
    }
}
