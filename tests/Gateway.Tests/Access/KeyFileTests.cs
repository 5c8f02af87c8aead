using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Access;

/// <summary>The keys file as it lies on the disk, and the budgets of keys.</summary>
public sealed class KeyFileTests
{
    [Test]
    public void File_WithKeys_HoldsNoKeyAndIsItsOwnersOnly()
    {
        using ScratchKeys keys = new();
        string text = keys.Add("ci.main-1", KeyScope.Admin, new KeyLimits(1, 2, 3));
        Assert.That(text, Does.Match("^tps-[A-Za-z0-9_-]{43}$"), "256 bits");
        string file = File.ReadAllText(keys.Path);
        Assert.That(file, Does.Not.Contain(text).And.Not.Contain(text[4..]).And.Contain(AccessKey.HashOf(text)));
        if (!OperatingSystem.IsWindows())
            Assert.That(File.GetUnixFileMode(keys.Path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        AccessKey key = KeyFile.Parse(keys.Path, KeyFile.ReadBytes(keys.Path)).Single();
        Assert.That(key, Is.EqualTo(new AccessKey("ci.main-1", KeyScope.Admin, AccessKey.HashOf(text), DateTimeOffset.UnixEpoch, new KeyLimits(1, 2, 3))));
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(keys.Path)!), Is.EqualTo(new[] { keys.Path }), "nothing is left beside it");
        Assert.That(keys.Add("other"), Is.Not.EqualTo(text));
    }

    [TestCase("""{"keys":[{"name":"a","scope":"root","sha256":"HASH"}]}""", "neither generate nor admin")]
    [TestCase("""{"keys":[{"name":"a","scope":"admin","sha256":"HASH","streams":0}]}""", "within 1..")]
    [TestCase("""{"keys":[{"name":"a","scope":"admin","sha256":"HASH","stream":1}]}""", "stream")]
    [TestCase("""{"keys":[{"name":"","scope":"admin","sha256":"HASH"}]}""", "name is")]
    [TestCase("""{"keys":[{"name":"a","scope":"admin","sha256":"abc"}]}""", "64 digits")]
    [TestCase("""{"keys":[{"name":"a","scope":"admin"}]}""", "sha256")]
    [TestCase("""{"keys":[null]}""", "null")]
    [TestCase("""{"keys":[{"name":"a","scope":"admin","sha256":"HASH"},{"name":"b","scope":"generate","sha256":"HASH"}]}""", "same key")]
    [TestCase("""[]""", "no keys file")]
    public void File_Malformed_SaysWhatIsWrong(string json, string message)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(json.Replace("HASH", new string('0', 64), StringComparison.Ordinal));
        Assert.That(() => KeyFile.Parse("keys.json", bytes), Throws.TypeOf<KeyFileException>().With.Message.Contains(message));
    }

    [Test]
    public void File_ThatOthersCanWrite_IsRefused()
    {
        using ScratchKeys keys = new();
        keys.Add("a");
        if (OperatingSystem.IsWindows())
            return; // which has no such modes
        File.SetUnixFileMode(keys.Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupWrite);
        Assert.That(() => KeyFile.ReadBytes(keys.Path), Throws.TypeOf<KeyFileException>().With.Message.Contains("written by others"));
    }

    [Test]
    public void File_ManyWritersAtOnce_LosesNoKey()
    {
        using ScratchKeys keys = new();
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 4 }, writer =>
        {
            for (bool written = false; !written;)
                try
                {
                    keys.Add($"writer-{writer}");
                    written = true;
                }
                catch (KeyFileException)
                {
                    Thread.Yield(); // another writes: it says so, and whoever asked tries again
                }
        });
        Assert.That(KeyFile.Parse(keys.Path, KeyFile.ReadBytes(keys.Path)), Has.Count.EqualTo(8));
    }

    [Test]
    public void Budget_UsedUpAndOwed_FlowsBackEvenly()
    {
        ManualTime time = new();
        TokenBudget budget = new(60, time);
        budget.Charge(60);
        Assert.That(budget.Wait(), Is.EqualTo(TimeSpan.FromSeconds(1)));
        budget.Charge(30);
        Assert.That(budget.Wait(), Is.EqualTo(TimeSpan.FromSeconds(31)));
        time.Advance(TimeSpan.FromSeconds(31));
        Assert.That((budget.Wait(), budget.Now().Left), Is.EqualTo((TimeSpan.Zero, 1)));
        time.Advance(TimeSpan.FromHours(1));
        Assert.That(budget.Now(), Is.EqualTo((60, TimeSpan.Zero)), "no more than a minute's worth");
    }
}
