using System.Net;
using NUnit.Framework;
using TpServe.Links;

namespace TpServe.Worker.Tests;

/// <summary>What a worker reads of flags, environment and files.</summary>
public sealed class WorkerSettingsTests
{
    private string _folder = "";
    private string _secret = "";

    [SetUp]
    public void WriteSecret()
    {
        _folder = Directory.CreateTempSubdirectory("worker-settings-").FullName;
        _secret = Path.Combine(_folder, "secret");
        File.WriteAllText(_secret, "a secret\n");
    }

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    private static (WorkerOptions Options, IReadOnlyList<string> Faults) Read(string[] arguments, params string[] environment) =>
        WorkerSettings.Read(arguments, environment.Select(item => item.Split('=', 2)).Select(item => KeyValuePair.Create(item[0], item[1])), []);

    [Test]
    public void Read_EveryWayToWriteAFlag_IsTheSame()
    {
        foreach (string[] arguments in new string[][] { ["--listen", "127.0.0.1:9001", "--secret-file", _secret], ["--listen=127.0.0.1:9001", $"--secret-file={_secret}"], ["--Worker:Listen=127.0.0.1:9001", $"--worker:secretFile={_secret}"] })
        {
            (WorkerOptions options, IReadOnlyList<string> faults) = Read(arguments);
            Assert.That(faults, Is.Empty);
            Assert.That((options.SecretFile, options.Listen.EndPoints.Single()), Is.EqualTo((_secret, new IPEndPoint(IPAddress.Loopback, 9001))));
        }
    }

    [Test]
    public void Read_AllSources_TheLaterOneWins()
    {
        string file = Path.Combine(_folder, "appsettings.json");
        File.WriteAllText(file, """{"Worker": {"Listen": "127.0.0.1:1", "LogLevel": "debug", "Advertise": "http://a:1"}}""");
        (WorkerOptions options, IReadOnlyList<string> faults) = WorkerSettings.Read(
            ["--listen", "127.0.0.1:3"],
            [KeyValuePair.Create("TPSERVE_SECRET_FILE", _secret), KeyValuePair.Create("Worker__Listen", "127.0.0.1:2"), KeyValuePair.Create("Worker__Advertise", "http://b:2"), KeyValuePair.Create("Worker__LogLevel", "")],
            [file, file + ".none"]);
        Assert.That(faults, Is.Empty);
        Assert.That((options.Listen.Text, options.Advertise, options.LogLevel, options.SecretFile), Is.EqualTo(("127.0.0.1:3", "http://b:2", "debug", _secret)));
    }

    [Test]
    public void Read_WorkerOfAGateway_KnowsItsFlagsAlone()
    {
        (WorkerOptions options, IReadOnlyList<string> faults) = Read(["--Worker:Listen=unix:/tmp/w", "--Worker:Supervised=true"], "TPSERVE_SECRET_FILE=/gateway/secret", "Worker__LogLevell=x", "TPSERVE_LOG_LEVEL=trace");
        Assert.That(faults, Is.Empty);
        Assert.That((options.Listen.Socket, options.LogLevel, options.SecretFile), Is.EqualTo(("/tmp/w", "information", "")));
    }

    [TestCase("--listenn=1", "--listenn=1", "--listen")]
    [TestCase("--listen", "--listen", "HOST:PORT")]
    [TestCase("devices", "devices", "no such flag")]
    [TestCase("--listen=nowhere", "--listen", "HOST:PORT")]
    [TestCase("--listen=h:70000", "--listen", "1..65535")]
    [TestCase("--listen=127.0.0.1:0", "--listen", "1..65535")]
    [TestCase("--listen=:9001", "--listen", "1..65535")]
    [TestCase("--listen=::1:9001", "--listen", "brackets")]
    [TestCase("--listen=unix:/no/such/folder/w", "--listen", "does not exist")]
    [TestCase("--listen=unix:/tmp", "--listen", "is a folder")]
    [TestCase("--secret-file=/dev/null", "/dev/null", "is a character device")]
    [TestCase("--listen=unix:relative", "--listen", "absolute")]
    [TestCase("--listen=no.such.host.invalid:9001", "no.such.host.invalid:9001", "cannot be resolved")]
    [TestCase("--secret-file=/no/such/file", "/no/such/file", "cannot be read")]
    [TestCase("--log-level=loud", "loud", "trace, debug")]
    [TestCase("--advertise=a:9001", "a:9001", "http://")]
    [TestCase("--supervised=perhaps", "perhaps", "true")]
    public void Read_WrongFlag_NamesItAndWhatIsAllowed(string flag, string named, string allowed) => Assert.That(Read([flag]).Faults, Has.Some.Contains(named).And.Some.Contains(allowed));

    [Test]
    public void Read_NothingGiven_AsksForAddressAndSecretAtOnce() =>
        Assert.That(Read([]).Faults.Select(fault => fault.Split(':')[0]), Is.EqualTo(new[] { "--listen", "--secret-file" }));

    [Test]
    public void Read_UnknownVariable_IsAFault() => Assert.That(Read(["--listen", "127.0.0.1:1", "--secret-file", _secret], "Worker__Listn=x").Faults, Has.One.Contains("Worker__Listn=x").And.One.Contains("Listen"));

    [TestCase("localhost:9001", "127.0.0.1:9001", "http://localhost:9001")]
    [TestCase("[::1]:9001", "[::1]:9001", "http://[::1]:9001")]
    [TestCase("0.0.0.0:9001", "0.0.0.0:9001", "http://0.0.0.0:9001")]
    public void ListenAddress_HostAndPort_IsResolved(string text, string endpoint, string address)
    {
        Assert.That(ListenAddress.TryParse(text, out ListenAddress listen, out _), Is.True);
        Assert.That(listen.EndPoints.Select(one => one.ToString()), Is.EqualTo(new[] { endpoint }));
        Assert.That((listen.Address("http"), listen.Socket), Is.EqualTo((address, (string?)null)));
    }

    [TestCase("0.0.0.0:9001", "", "--insecure-links")]
    [TestCase("127.0.0.1:9001", "", "")]
    [TestCase("0.0.0.0:9001", "--insecure-links", "")]
    [TestCase("0.0.0.0:9001", "--insecure-links=true", "")]
    [TestCase("0.0.0.0:9001", "--insecure-links=false", "--insecure-links")]
    [TestCase("0.0.0.0:9001", "--tls=TLS", "")]
    [TestCase("127.0.0.1:9001", "--tls=TLS --advertise=http://a:1", "must begin with https")]
    [TestCase("127.0.0.1:9001", "--tls=TLS --advertise=https://a:1", "")]
    [TestCase("127.0.0.1:9001", "--advertise=https://a:1", "must begin with http,")]
    [TestCase("127.0.0.1:9001", "--tls=/no/such/folder", "is no folder")]
    [TestCase("127.0.0.1:9001", "--insecure-links --log-level=debug", "")]
    [TestCase("127.0.0.1:9001", "--insecure-links no", "neither true nor false")]
    public void Read_LinksBeyondThisHost_NeedACertificateOrAWord(string listen, string flags, string fault)
    {
        string folder = Path.Combine(_folder, "tls");
        GroupCertificate.Write(folder, "test", days: 1, TimeProvider.System);
        string[] arguments = ["--listen", listen, "--secret-file", _secret, .. flags.Replace("TLS", folder, StringComparison.Ordinal).Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        Assert.That(Read(arguments).Faults, fault.Length == 0 ? Is.Empty : Has.One.Contains(fault));
    }

    [Test]
    public void ListenAddress_NameOfThisHost_IsResolved()
    {
        Assert.That(ListenAddress.TryParse($"{Dns.GetHostName()}:9001", out ListenAddress listen, out string fault), Is.True, fault);
        Assert.That(listen.EndPoints.Select(one => one.Port), Is.Not.Empty.And.All.EqualTo(9001));
    }

    [Test]
    public void ListenAddress_SocketPathThatDoesNotFit_IsRefused()
    {
        Assert.That(ListenAddress.TryParse("unix:/" + new string('s', 106), out _, out _), Is.True);
        Assert.That(ListenAddress.TryParse("unix:/" + new string('s', 107), out _, out string fault), Is.False);
        Assert.That(fault, Does.Contain("108 bytes"));
    }
}
