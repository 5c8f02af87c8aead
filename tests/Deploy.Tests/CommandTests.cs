using NUnit.Framework;

namespace TpServe.Deploy.Tests;

/// <summary>health and drain where there is nothing to ask: exit code 1 and one line. Where there is, ImageTests ask.</summary>
[Category("MultiProcess")]
public sealed class CommandTests
{
    private static readonly string s_noSecret = Path.Combine(Path.GetTempPath(), "tpserve-no-such-secret");

    private static IEnumerable<TestCaseData> Failures()
    {
        yield return new TestCaseData(new[] { "health", "--server", "http://127.0.0.1:1" }, "no server answers at http://127.0.0.1:1").SetArgDisplayNames("health: nobody there");
        yield return new TestCaseData(new[] { "health", "--server", "ftp://localhost:8080" }, "'ftp://localhost:8080' is not an http://host:port address").SetArgDisplayNames("health: no address");
        yield return new TestCaseData(new[] { "health", "--worker", "http://127.0.0.1:1", "--secret-file", s_noSecret }, $"'{s_noSecret}' does not exist").SetArgDisplayNames("health: no secret");
        yield return new TestCaseData(
            new[] { "health", "--worker", "http://127.0.0.1:1", "--secret-file", DeployFiles.PathOf("LICENSE"), "--timeout", "1" }, "did not answer within 1 s").SetArgDisplayNames("health: no worker");
        yield return new TestCaseData(new[] { "drain", "--server", "http://127.0.0.1:1" }, "no server answers at http://127.0.0.1:1").SetArgDisplayNames("drain: nobody there");
        yield return new TestCaseData(new[] { "drain", "--server", "ftp://here" }, "'ftp://here' is not an http://host:port address").SetArgDisplayNames("drain: no address");
        yield return new TestCaseData(new[] { "reshard", "2,1", "--server", "http://127.0.0.1:1" }, "no server answers at http://127.0.0.1:1").SetArgDisplayNames("reshard: nobody there");
        yield return new TestCaseData(new[] { "reshard", "2,x" }, "'x' is no number in 0.000001..1000000").SetArgDisplayNames("reshard: no shares");
        yield return new TestCaseData(new[] { "reshard", "auto" }, "write even, or one number for each worker as in 2,1").SetArgDisplayNames("reshard: auto");
    }

    [TestCaseSource(nameof(Failures))]
    public void Command_NothingToAsk_EndsWithOneLineAndCode1(string[] words, string reason)
    {
        (int code, string output, string errors) = CommandLine.Run(words);
        Assert.That(code, Is.EqualTo(1), output + errors);
        Assert.That(errors.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(errors, Does.StartWith("tpserve: ").And.Contains(reason));
    }
}
