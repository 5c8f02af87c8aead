using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Links.Tests;

/// <summary>The certificate's files, and who is let in by it.</summary>
public sealed class GroupCertificateTests
{
    private static readonly DateTimeOffset s_now = new(2030, 5, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public void Write_NewFolder_IsItsOwnersAlone()
    {
        string folder = _folder.Of("new");
        GroupCertificate.Write(folder, "test", days: 3, new SetClock(s_now));
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(File.GetUnixFileMode(folder), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));
            foreach (string file in new[] { GroupCertificate.CertificateFile, GroupCertificate.KeyFile })
                Assert.That(File.GetUnixFileMode(Path.Combine(folder, file)), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite), file);
        }
        GroupCertificate read = GroupCertificate.Read(folder, new SetClock(s_now));
        Assert.That(read.Expires, Is.EqualTo(s_now.AddDays(3).UtcDateTime));
        Assert.That(read.Fingerprint, Has.Length.EqualTo(64));
        Assert.That(read.ToString(), Does.Contain("2030-05-04"));
    }

    [TestCase(GroupCertificate.CertificateFile)]
    [TestCase(GroupCertificate.KeyFile)]
    public void Write_FileIsThere_IsRefusedAndLeftAsItWas(string file)
    {
        File.WriteAllText(_folder.Of(file), "mine");
        Assert.That(() => GroupCertificate.Write(_folder.Path, "test", 3, TimeProvider.System), Throws.InstanceOf<LinkException>().With.Message.Contains("is not overwritten"));
        Assert.That(Directory.GetFiles(_folder.Path), Has.Length.EqualTo(1));
        Assert.That(File.ReadAllText(_folder.Of(file)), Is.EqualTo("mine"));
    }

    [TestCase(-2, "does not hold before 2030-04-30")]
    [TestCase(4, "expired on 2030-05-04")]
    public void Read_OutOfItsTime_SaysSo(int days, string reason)
    {
        GroupCertificate.Write(_folder.Path, "test", 3, new SetClock(s_now));
        Assert.That(() => GroupCertificate.Read(_folder.Path, new SetClock(s_now.AddDays(days))), Throws.InstanceOf<LinkException>().With.Message.Contains(reason));
    }

    [Test]
    public void Read_FilesMissingOrWrong_NamesTheFile()
    {
        Assert.That(() => GroupCertificate.Read(_folder.Of("nowhere")), Throws.InstanceOf<LinkException>().With.Message.Contains("is no folder"));
        Assert.That(() => GroupCertificate.Read(_folder.Path), Throws.InstanceOf<LinkException>().With.Message.Contains("tls.crt' does not exist"));
        GroupCertificate.Write(_folder.Of("a"), "a", 3, TimeProvider.System);
        GroupCertificate.Write(_folder.Of("b"), "b", 3, TimeProvider.System);
        File.Copy(_folder.Of("b/tls.key"), _folder.Of("a/tls.key"), overwrite: true);
        Assert.That(() => GroupCertificate.Read(_folder.Of("a")), Throws.InstanceOf<LinkException>().With.Message.Contains("does not fit its key"));
        File.WriteAllText(_folder.Of("b/next.crt"), "no certificate");
        Assert.That(() => GroupCertificate.Read(_folder.Of("b")), Throws.InstanceOf<LinkException>().With.Message.Contains("next.crt"));
    }

    [Test]
    public void Fault_OwnOtherAndNone_OnlyOwnIsTaken()
    {
        GroupCertificate own = Written("own"), other = Written("other");
        Assert.That(own.Fault(CertificateOf("own")), Is.Null);
        Assert.That(own.Fault(CertificateOf("other")), Does.Contain("another certificate").And.Contain(other.Fingerprint[..16]).And.Contain(own.Fingerprint[..16]));
        Assert.That(own.Fault(null), Does.Contain("no certificate"));
    }

    [Test]
    public void Fault_CertificateBesideOwn_IsTakenToo()
    {
        GroupCertificate next = Written("next");
        Written("own");
        File.Copy(_folder.Of("next/tls.crt"), _folder.Of("own/next.crt"));
        GroupCertificate own = GroupCertificate.Read(_folder.Of("own"), new SetClock(s_now));
        Assert.That(own.Fault(CertificateOf("next")), Is.Null);
        Assert.That(next.Fault(CertificateOf("own")), Is.Not.Null);
        Assert.That(own.ToString(), Does.Contain("and 1 more"));
    }

    [TestCase("own", 0, "own", 0, null, null)]
    [TestCase("own", 0, "other", 0, "another certificate", "another certificate")]
    [TestCase("own", 0, "own", 5, "expired on 2030-05-04", null)] // whose clock says that it is over says so; the other end has nothing against it
    [TestCase("own", 5, "own", 0, null, "expired on 2030-05-04")]
    public async Task Handshake_BothEnds_TellWhatIsWrong(string client, int clientDays, string server, int serverDays, string? clientSays, string? serverSays)
    {
        // 1. Two ends that have each read a certificate in its time, by clocks that then go on.
        foreach (string name in new[] { client, server }.Distinct())
            GroupCertificate.Write(_folder.Of(name), name, 3, new SetClock(s_now));
        SetClock clientClock = new(s_now), serverClock = new(s_now);
        GroupCertificate clients = GroupCertificate.Read(_folder.Of(client), clientClock), servers = GroupCertificate.Read(_folder.Of(server), serverClock);
        (clientClock.Now, serverClock.Now) = (s_now.AddDays(serverDays), s_now.AddDays(clientDays)); // the age of what the other end shows

        // 2. A handshake over pipes in memory.
        (Stream near, Stream far) = DuplexPipe.Pair();
        string? clientFault = null, serverFault = null;
        using CancellationTokenSource deadline = new(s_timeout);
        await using SslStream connecting = new(near), accepting = new(far);
        Task connect = connecting.AuthenticateAsClientAsync(clients.ForClient(fault => clientFault = fault), deadline.Token);
        Task accept = accepting.AuthenticateAsServerAsync(servers.ForServer(fault => serverFault = fault), deadline.Token);
        await ((Task)accept).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await ((Task)connect).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

        Assert.That(clientFault, clientSays is null ? Is.Null : Does.Contain(clientSays));
        Assert.That(serverFault, serverSays is null ? Is.Null : Does.Contain(serverSays));
        Assert.That(connect.IsCompletedSuccessfully, Is.EqualTo(clientSays is null));
        Assert.That(accept.IsCompletedSuccessfully, Is.EqualTo(serverSays is null));
        if (clientSays is null && serverSays is null)
            Assert.That((connecting.SslProtocol, accepting.SslProtocol), Is.EqualTo((SslProtocols.Tls13, SslProtocols.Tls13)));
    }

    private GroupCertificate Written(string name)
    {
        GroupCertificate.Write(_folder.Of(name), name, 3, new SetClock(s_now));
        return GroupCertificate.Read(_folder.Of(name), new SetClock(s_now));
    }

    private X509Certificate2 CertificateOf(string name) => X509CertificateLoader.LoadCertificateFromFile(_folder.Of(name + "/tls.crt"));
}
