using System.CommandLine;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>tpserve keys: what it prints, and what it leaves in the file.</summary>
[NonParallelizable] // the console is everybody's
public sealed class KeysCommandTests
{
    private string _folder = "";

    private string File => Path.Combine(_folder, "keys.json");

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-keys-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Keys_AddedListedAndRemoved_AreToldOnceAndGone()
    {
        (int code, string key, string told) = Run("add", "alice", "--keys", File);
        Assert.That((code, key), Is.EqualTo((0, key.Trim() + "\n")));
        Assert.That(told, Does.Contain("'alice' of scope generate").And.Contain("once"));
        Assert.That(Run("add", "ops", "--scope", "admin", "--streams", "2", "--requests-per-minute", "60", "--tokens-per-minute", "1000", "--keys", File).Code, Is.Zero);
        (code, string list, _) = Run("list", "--keys", File);
        Assert.That(list, Does.Match(@"^alice +generate +\d{4}-\d\d-\d\d\nops +admin +\d{4}-\d\d-\d\d  60 requests/min  2 streams  1000 tokens/min\n$"));
        Assert.That(list, Does.Not.Contain(key.Trim()));
        Assert.That(Run("remove", "alice", "--keys", File).Code, Is.Zero);
        Assert.That(KeyFile.Parse(File, KeyFile.ReadBytes(File)).Select(one => one.Name), Is.EqualTo(new[] { "ops" }));
    }

    [TestCase("is no name", "add", "a b")]
    [TestCase("neither|not one of generate, admin", "add", "a", "--scope", "root")]
    [TestCase("within 1..", "add", "a", "--streams", "0")]
    [TestCase("already", "add", "there")]
    [TestCase("no key 'nobody'", "remove", "nobody")]
    public void Keys_OfACommandThatCannotBe_StayAsTheyAre(string message, params string[] words)
    {
        Run("add", "there", "--keys", File);
        byte[] before = System.IO.File.ReadAllBytes(File);
        (int code, _, string told) = Run([.. words, "--keys", File]);
        Assert.That((code, told), Is.EqualTo((1, told)));
        Assert.That(told, Does.Match(message));
        Assert.That(System.IO.File.ReadAllBytes(File), Is.EqualTo(before));
    }

    [Test]
    public void Keys_WithoutAFileOrOfTheEnvironment_AreAskedForOrFound()
    {
        Assert.That(Run("list").Told, Does.Contain("--keys FILE is needed"));
        Assert.That(Run([KeyValuePair.Create("TPSERVE_KEYS", File)], "add", "a").Code, Is.Zero);
        Assert.That(System.IO.File.Exists(File), Is.True);
        Assert.That(Run("list", "--keys", Path.Combine(_folder, "missing")).Told, Does.Contain("does not exist"));
    }

    private static (int Code, string Printed, string Told) Run(params string[] words) => Run([], words);

    private static (int Code, string Printed, string Told) Run(IReadOnlyList<KeyValuePair<string, string>> environment, params string[] words)
    {
        (TextWriter output, TextWriter error) = (Console.Out, Console.Error);
        using StringWriter printed = new(), told = new();
        Console.SetOut(printed);
        Console.SetError(told);
        try
        {
            return (KeysCommand.Create(new SettingSources(environment, [])).Parse(words).Invoke(), printed.ToString(), told.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }
}
