using NUnit.Framework;
using TpServe.Checkpoint.Hub;
using TpServe.Testing.Hub;

namespace TpServe.Checkpoint.Tests;

/// <summary>What a cache is said to hold, and what a removal leaves.</summary>
public sealed class HubCacheTests
{
    private ScratchFolder _scratch = null!;
    private FakeHub _hub = null!;

    private HubCache Cache => new(_scratch.Path);

    [SetUp]
    public async Task FillCache()
    {
        _scratch = new ScratchFolder();
        _hub = (await FakeHub.StartAsync()).Add("m-Q8_0.gguf", HubCase.Content(1000, seed: 1)).Add("m-Q4_K_M.gguf", HubCase.Content(500, seed: 2));
        await Pull("Q8_0");
        await Pull("Q4_K_M");
        _hub.Commit = new string('b', 40);
        await Pull("Q8_0"); // the same content at another commit
    }

    [TearDown]
    public async Task EndHub()
    {
        await _hub.DisposeAsync();
        _scratch.Dispose();
    }

    [Test]
    public void Inventory_TwoRevisions_NamesEachModel()
    {
        Assert.That(HubInventory.Of(Cache).Select(model => $"{model.Id} {string.Join(',', model.Revisions)} {model.Kind} {model.Bytes} {model.IsWhole}"), Is.EqualTo(new[]
        {
            $"org/model@{new string('a', 40)}:Q4_K_M  Q4_K_M 500 True",
            $"org/model@{new string('a', 40)}:Q8_0  Q8_0 1000 True",
            "org/model:Q8_0 main Q8_0 1000 True",
        }));
    }

    [Test]
    public void Inventory_ForeignAndDamagedEntries_ArePassedOver()
    {
        Directory.CreateDirectory(Path.Combine(_scratch.Path, "models--org--empty"));
        Directory.CreateDirectory(Path.Combine(_scratch.Path, "models---evil", "snapshots", "x"));
        Directory.CreateDirectory(Path.Combine(_scratch.Path, "datasets--org--data", "snapshots", new string('c', 40)));
        File.WriteAllText(Path.Combine(_scratch.Path, "models--org--model", "refs", "odd"), "no commit");
        Directory.CreateSymbolicLink(Path.Combine(_scratch.Path, "models--org--model", "snapshots", new string('d', 40)), "/nowhere");
        File.CreateSymbolicLink(Path.Combine(_scratch.Path, "models--org--model", "snapshots", new string('b', 40), "gone-Q2_K.gguf"), "../../blobs/nothing");
        Assert.That(HubInventory.Of(Cache), Has.Count.EqualTo(3));
    }

    [Test]
    public void Remove_Quant_LeavesWhatOthersUse()
    {
        Remove("org/model:Q4_K_M");
        Assert.That(HubInventory.Of(Cache).Select(model => model.Kind), Is.EqualTo(new[] { "Q8_0", "Q8_0" }));
        Assert.That(Directory.GetFiles(Path.Combine(_scratch.Path, "models--org--model", "blobs")), Has.Length.EqualTo(1));
    }

    [Test]
    public void Remove_Revision_LeavesTheOtherWithItsContent()
    {
        Remove("org/model@main", everyRevision: false);
        Assert.That(HubInventory.Of(Cache).Select(model => model.Commit), Has.All.EqualTo(new string('a', 40)).And.Exactly(2).Items);
        Assert.That(Cache.Refs("org/model"), Is.Empty);
        Assert.That(HubInventory.Of(Cache).Sum(model => File.ReadAllBytes(model.Path).Length), Is.EqualTo(1500));
    }

    [Test]
    public void Remove_Repository_LeavesNothing()
    {
        Assert.That(Cache.Removal(Id("org/model"), everyRevision: true).Bytes, Is.GreaterThanOrEqualTo(1500).And.LessThan(1600), "each content once");
        Remove("org/model");
        Assert.That(Directory.GetFiles(_scratch.Path, "*", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public void Remove_WhatIsNotThere_IsNamed()
    {
        Assert.That(Assert.Throws<HubException>(() => Remove("org/other"))!.Message, Does.Contain("org/other is not in the cache"));
        Assert.That(Assert.Throws<HubException>(() => Remove("org/model:Q2_K"))!.Message, Does.Contain("'Q2_K'"));
        Assert.That(Assert.Throws<HubException>(() => Remove("org/model@v9", everyRevision: false))!.Message, Does.Contain("v9"));
    }

    [Test]
    public void Remove_WhileItIsDownloaded_IsRefused()
    {
        string lockFile = Directory.GetFiles(Path.Combine(_scratch.Path, ".locks"), "*.lock", SearchOption.AllDirectories)[0];
        using FileStream held = new(lockFile, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        Assert.That(Assert.Throws<HubException>(() => Remove("org/model"))!.Fault, Is.EqualTo(HubFault.Busy));
        Assert.That(HubInventory.Of(Cache), Has.Count.EqualTo(3));
    }

    private Task Pull(string quant) => HubCase.GetAsync(HubCase.Options(_hub, _scratch.Path), new HubModelId("org/model", "main", quant), refresh: true);

    private void Remove(string text, bool everyRevision = true) => Cache.Remove(Cache.Removal(Id(text), everyRevision));

    private static HubModelId Id(string text) => HubModelId.TryParse(text, out HubModelId? id) ? id : throw new ArgumentException(text);
}
