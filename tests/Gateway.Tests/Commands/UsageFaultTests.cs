using System.CommandLine;
using NUnit.Framework;
using TpServe.Gateway.Commands;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>Command lines that are not understood: one line that helps.</summary>
public sealed class UsageFaultTests
{
    private static readonly RootCommand s_tpserve = Make();

    private static RootCommand Make()
    {
        RootCommand root = new("test")
        {
            new Option<int>("--max-running"),
            new Option<int>("--max-model-len"),
            new Command("doctor", "checks") { new Option<bool>("--json") },
            new Command("complete", "continues") { new Argument<string>("prompt") },
            new Command("settings", "not shown") { Hidden = true },
        };
        root.SetAction(_ => 0);
        foreach (Command command in root.Subcommands)
            command.SetAction(_ => 0);
        return root;
    }

    [TestCase("--max-runing 3", "--max-runing: no such flag; the nearest is --max-running. 'tpserve --help' lists what there is.")]
    [TestCase("--max-runing=3", "--max-runing: no such flag; the nearest is --max-running. 'tpserve --help' lists what there is.")]
    [TestCase("docter", "docter: no such command; the nearest is doctor. 'tpserve --help' lists what there is.")]
    [TestCase("doctor --jsn", "--jsn: no such flag; the nearest is --json. 'tpserve doctor --help' lists what there is.")]
    [TestCase("--nosuch 3", "--nosuch: no such flag. 'tpserve --help' lists what there is.")]
    [TestCase("version", "version: no such command, but a flag: --version. 'tpserve --help' lists what there is.")]
    [TestCase("models", "models: no such command. 'tpserve --help' lists what there is.")]
    [TestCase("doc", "doc: no such command; the nearest is doctor. 'tpserve --help' lists what there is.")]
    [TestCase("complete a b", "b: nothing is expected here. 'tpserve complete --help' lists what there is.")]
    [TestCase("--max-running many", "Cannot parse argument 'many' for option '--max-running' as expected type 'System.Int32'. 'tpserve --help' lists what there is.")]
    public void Of_LineThatIsNotUnderstood_NamesTheNearest(string line, string expected) => Assert.That(UsageFault.Of(s_tpserve.Parse(line)), Is.EqualTo(expected));

    [TestCase("")]
    [TestCase("--max-running 3")]
    [TestCase("doctor --json")]
    [TestCase("--help")]
    [TestCase("--no-such-flag --help")]
    public void Of_LineThatIsUnderstood_IsNull(string line) => Assert.That(UsageFault.Of(s_tpserve.Parse(line)), Is.Null);
}
