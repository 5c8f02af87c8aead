using System.Text.RegularExpressions;
using System.Xml.Linq;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Deploy.Tests;

/// <summary>What can be said of deploy/Dockerfile without an engine.</summary>
public sealed partial class DockerfileTests
{
    private static readonly DeployFiles s_files = new();
    private static readonly Dockerfile s_image = Dockerfile.Parse(s_files.Dockerfile);

    [Test]
    public void Copies_FromTheContext_ExistAndAreNotIgnored()
    {
        string[] allowed = [.. s_files.DockerIgnore.Split('\n').Where(line => line.StartsWith('!')).Select(line => line[1..].Trim())];
        Assert.That(s_files.DockerIgnore.Split('\n'), Does.Contain("*"), "everything is ignored but what is named");
        (string Source, string Target)[] copied = [.. s_image.Copied("build")];
        Assert.That(copied, Is.Not.Empty);
        foreach ((string source, string _) in copied)
        {
            string path = DeployFiles.PathOf(source.TrimEnd('/'));
            Assert.That(File.Exists(path) || Directory.Exists(path), Is.True, source);
            Assert.That(allowed, Does.Contain(source.TrimEnd('/')), source);
        }
        Assert.That(allowed, Is.EquivalentTo(copied.Select(copy => copy.Source.TrimEnd('/'))), "nothing else enters the build");
    }

    [Test]
    public void Bases_AreArgumentsWithDefaults()
    {
        Dockerfile.Instruction[] from = [.. s_image.Instructions.Where(line => line.Name == "FROM")];
        Assert.That(from, Has.Length.EqualTo(2));
        foreach (Dockerfile.Instruction line in from)
        {
            string name = Argument().Match(line.Text).Groups[1].Value;
            Dockerfile.Instruction argument = s_image.Instructions.Single(one => one.Name == "ARG" && one.Text.StartsWith(name + "=", StringComparison.Ordinal));
            Assert.That(s_files.Compose, Does.Contain($"{name}: ${{TPSERVE_{name}:-{argument.Text[(name.Length + 1)..]}}}"));
        }
    }

    [Test]
    public void Bases_AreOfTheReleaseThatIsBuiltFor()
    {
        XElement properties = XDocument.Load(DeployFiles.PathOf("Directory.Build.props")).Root!.Element("PropertyGroup")!;
        string framework = properties.Element("TargetFramework")!.Value; // net10.0
        foreach (Dockerfile.Instruction argument in s_image.Instructions.Where(line => line.Name == "ARG"))
            Assert.That(argument.Text, Does.EndWith(":" + framework["net".Length..]));
        Assert.That(properties.Element("InvariantGlobalization")!.Value, Is.EqualTo("false"), "else the base would need no libicu");
        string version = properties.Element("Version")!.Value;
        Assert.That(s_files.Dockerfile, Does.Contain($"org.opencontainers.image.version=\"{version}\""));
        Assert.That(s_files.Compose, Does.Contain($"${{TPSERVE_IMAGE:-tpserve:{version}}}"));
    }

    [Test]
    public void User_IsANumberAndNotRoot_AndOwnsTheCacheOnly()
    {
        string user = s_image.Of(s_image.Final, "USER").Single().Text;
        Assert.That(user, Does.Match("^[1-9][0-9]*:[1-9][0-9]*$"));
        Assert.That(s_files.Compose, Does.Contain($"${{TPSERVE_USER:-{user}}}"));
        Assert.That(s_image.Of(s_image.Final, "COPY").Count(line => line.Text.Contains("--chown", StringComparison.Ordinal)), Is.EqualTo(1));
        Assert.That(s_image.Of(s_image.Final, "COPY").Select(line => line.Text), Has.Some.EqualTo($"--from=build --chown={user} /image/var/cache/tpserve/ /var/cache/tpserve/"));
    }

    [Test]
    public void Runtime_NeedsNoShell() // so that a base without one will do
    {
        foreach (Dockerfile.Instruction line in s_image.Instructions.Where(line => line.Stage == s_image.Final && line.Name is "RUN" or "ENTRYPOINT" or "CMD"))
            Assert.That(line.Text, Does.StartWith("["));
    }

    [Test]
    public void Environment_IsKnown()
    {
        Dictionary<string, string> environment = s_image.Environment();
        Assert.That(environment.Keys.Select(KnownSettings.Fault).OfType<string>(), Is.Empty);
        Assert.That(environment["NVIDIA_VISIBLE_DEVICES"], Is.EqualTo("all"));
        Assert.That(environment["NVIDIA_DRIVER_CAPABILITIES"], Is.EqualTo("compute,utility"));
        Assert.That(s_image.Laid().Any(path => environment["CUDA_CACHE_PATH"].StartsWith(path + "/", StringComparison.Ordinal)), Is.True);
        Assert.That(environment.Keys.Where(name => name.StartsWith("Gateway__", StringComparison.Ordinal)), Is.Empty, "the image listens on loopback until it is told otherwise");
    }

    [Test]
    public void Secrets_AreIgnoredByGit()
    {
        string ignored = File.ReadAllText(Path.Combine(TestData.Repository, ".gitignore"));
        foreach (string path in new[] { "/.env", "/secret", "/deploy/kubernetes/secret" })
            Assert.That(ignored.Split('\n'), Does.Contain(path));
    }

    [GeneratedRegex(@"^\$\{([A-Z_]+)\}")]
    private static partial Regex Argument();
}
