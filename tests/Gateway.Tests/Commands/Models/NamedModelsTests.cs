using NUnit.Framework;
using Spectre.Console;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Hub;
using TpServe.Gateway.Commands.Models;
using TpServe.Testing.Hub;

namespace TpServe.Gateway.Tests.Commands.Models;

/// <summary>Settings that name models of the hub, and how a download is shown.</summary>
public sealed class NamedModelsTests
{
    private string _home = "";
    private FakeHub _hub = null!;

    private IReadOnlyList<KeyValuePair<string, string>> Environment_ => [KeyValuePair.Create("HF_HOME", _home), KeyValuePair.Create("HF_ENDPOINT", _hub.Address)];

    [SetUp]
    public async Task StartHub()
    {
        _home = Directory.CreateTempSubdirectory("tpserve-named-").FullName;
        _hub = (await FakeHub.StartAsync()).Add("m-Q8_0.gguf", [1, 2, 3]).Add("m-Q2_K.gguf", [4]);
    }

    [TearDown]
    public async Task StopHub()
    {
        await _hub.DisposeAsync();
        Directory.Delete(_home, recursive: true);
    }

    [Test]
    public async Task Resolve_ModelAndDraft_ArePathsAndTheModelKeepsItsName()
    {
        NamedModels named = await ResolveAsync(new GatewayOptions { Model = "org/model:Q8_0", Draft = "org/model:Q2_K" });
        Assert.That(named.Options.Model, Is.EqualTo($"{_home}/hub/models--org--model/snapshots/{_hub.Commit}/m-Q8_0.gguf"));
        Assert.That(named.Options.Draft, Does.EndWith("/m-Q2_K.gguf"));
        Assert.That(named.Options.ServedModelNames, Is.EqualTo(new[] { "org/model", "org/model:Q8_0" }));
        Assert.That(named.Lines, Is.EqualTo(new[] { $"org/model:Q8_0 at aaaaaaaa in {_home}/hub", $"org/model:Q2_K at aaaaaaaa in {_home}/hub" }));
    }

    [Test]
    public async Task Resolve_NamesThatSomebodyChose_Stay() =>
        Assert.That((await ResolveAsync(new GatewayOptions { Model = "org/model:Q8_0", ServedModelNames = ["mine"] })).Options.ServedModelNames, Is.EqualTo(new[] { "mine" }));

    [Test]
    public async Task Resolve_Paths_AskNobody()
    {
        GatewayOptions options = new() { Model = "/models/a", Draft = "models/b.gguf" };
        Assert.That((await ResolveAsync(options)).Options, Is.EqualTo(options));
        Assert.That(_hub.Asked, Is.Empty);
    }

    [Test]
    public void Resolve_PathThatExists_WinsOverAName()
    {
        string folder = "named-models-" + Guid.NewGuid().ToString("N")[..8];
        Directory.CreateDirectory(Path.Combine(folder, "model"));
        try
        {
            Assert.That(NamedModels.IdOf(folder + "/model"), Is.Null);
            Assert.That(NamedModels.IdOf(folder + "/other"), Is.EqualTo(new HubModelId(folder + "/other", "main", null)));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [TestCase(true, true)]
    [TestCase(false, false)]
    public async Task Resolve_Offline_NamesTheCacheAndTheCommand(bool mayDownload, bool offline)
    {
        ModelLoadException fault = (await Assert.ThrowsAsync<ModelLoadException>(() => NamedModels.ResolveAsync(new GatewayOptions { Model = "org/model", Offline = offline }, Environment_, mayDownload, CancellationToken.None)))!;
        Assert.That(fault.Message, Does.Contain("--model org/model").And.Contain(_home).And.Contain("tpserve models pull org/model"));
    }

    [Test]
    public async Task Display_Lines_SayEveryQuarterOnce()
    {
        using StringWriter lines = new();
        await using (DownloadDisplay display = new(null, lines))
        {
            for (int part = 0; part <= 100; part++)
                display.Report(new HubProgress("a.gguf", part << 20, 100 << 20));
            display.Report(new HubProgress("config.json", 0, 700));
            display.Report(new HubProgress("config.json", 700, 700));
            display.Report(new HubProgress("", 0, 0, "the hub answers 503.\nAgain in 1 s."));
        }
        Assert.That(lines.ToString().TrimEnd().Split('\n'), Is.EqualTo(new[]
        {
            "download  a.gguf: 0.0 of 100.0 MiB", "download  a.gguf: 25.0 of 100.0 MiB", "download  a.gguf: 50.0 of 100.0 MiB", "download  a.gguf: 75.0 of 100.0 MiB",
            "download  a.gguf: 100.0 of 100.0 MiB", "download  config.json: 700 bytes", "download  the hub answers 503. Again in 1 s.",
        }));
    }

    [Test]
    public async Task Display_Terminal_DrawsABarForEachFile()
    {
        using StringWriter text = new();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(text), Ansi = AnsiSupport.Yes, Interactive = InteractionSupport.Yes });
        console.Profile.Width = 120;
        await using (DownloadDisplay display = new(console, TextWriter.Null))
        {
            display.Report(new HubProgress("a[1].gguf", 1 << 20, 2 << 20));
            display.Report(new HubProgress("a[1].gguf", 2 << 20, 2 << 20));
            display.Report(new HubProgress("", 0, 0, "again"));
        }
        Assert.That(text.ToString(), Does.Contain("a[1].gguf").And.Contain("100%").And.Contain("again"));
    }

    private async Task<NamedModels> ResolveAsync(GatewayOptions options) => await NamedModels.ResolveAsync(options, Environment_, mayDownload: true, CancellationToken.None);
}
