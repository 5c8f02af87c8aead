using System.Text.RegularExpressions;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.House.Tests;

/// <summary>Sizes and names that keep the house readable.</summary>
public sealed partial class SourceTests
{
    private const int MostLines = 600;
    private const long LargestFileBytes = 4 << 20;

    private static readonly string[] Skipped = [".git", "bin", "obj", "node_modules", ".goldens-cache", "TestResults"];

    private static IEnumerable<string> Sources(params string[] roots) =>
        roots.SelectMany(root => Directory.EnumerateFiles(Path.Combine(TestData.Repository, root), "*.cs", SearchOption.AllDirectories))
            .Where(path => !Skipped.Any(folder => path.Contains($"/{folder}/", StringComparison.Ordinal)));

    [Test]
    public void Files_StayBelow600Lines()
    {
        IEnumerable<string> long_ = Sources("src", "tests").Where(path => File.ReadLines(path).Count() > MostLines);
        Assert.That(long_, Is.Empty);
    }

    [Test]
    public void Names_SayWhatATypeDoes()
    {
        IEnumerable<string> vague = Sources("src").Where(path => VagueName().IsMatch(Path.GetFileNameWithoutExtension(path)));
        Assert.That(vague, Is.Empty);
    }

    [Test]
    public void Rooms_OpenWithAShortReadme()
    {
        foreach (string room in Directory.EnumerateDirectories(Path.Combine(TestData.Repository, "src")))
        {
            string readme = Path.Combine(room, "README.md");
            Assert.That(File.Exists(readme), readme);
            string text = File.ReadAllText(readme);
            Assert.That(text, Does.StartWith($"# {Path.GetFileName(room)}\n").And.Contain("Begin with").And.Contain("Must not"), readme);
            Assert.That(text.Split('\n'), Has.Length.LessThanOrEqualTo(20), readme);
        }
    }

    [Test]
    public void Sources_HoldNoLeftovers()
    {
        List<string> leftovers = [];
        foreach (string path in Sources("src"))
            foreach (string line in File.ReadLines(path))
                if (Leftover().IsMatch(line))
                    leftovers.Add($"{path}: {line.Trim()}");
        Assert.That(leftovers, Is.Empty);
    }

    [Test]
    public void Tests_NeverSleep()
    {
        Regex sleep = new(@"Thread\." + @"Sleep\(");
        IEnumerable<string> sleepers = Sources("tests").Where(path => !path.Contains("/Benchmarks/", StringComparison.Ordinal)).Where(path => sleep.IsMatch(File.ReadAllText(path)));
        Assert.That(sleepers, Is.Empty);
    }

    [Test]
    public void Repository_HoldsOneLargeFile()
    {
        List<string> large = [];
        Walk(new DirectoryInfo(TestData.Repository));
        Assert.That(large, Is.EqualTo(new[] { "SmolLM2-135M-Instruct.Q4_1.gguf" }));

        void Walk(DirectoryInfo folder)
        {
            large.AddRange(folder.EnumerateFiles().Where(file => file.Length > LargestFileBytes).Select(file => file.Name));
            foreach (DirectoryInfo inner in folder.EnumerateDirectories())
                if (!Skipped.Contains(inner.Name))
                    Walk(inner);
        }
    }

    [GeneratedRegex("(Manager|Helper|Helpers|Utils|Util|Common|Impl)$")]
    private static partial Regex VagueName();

    [GeneratedRegex("NotImplementedException|\\bTODO\\b|\\bFIXME\\b|\\bHACK\\b")]
    private static partial Regex Leftover();
}
