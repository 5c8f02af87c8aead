using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Access;

/// <summary>TLS of the public interfaces: who is let in, and a certificate that is renewed.</summary>
public sealed class ServerCertificateTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-tls-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Client_WithAndWithoutACertificateOfTheAuthority_IsServedOrNot()
    {
        (X509Certificate2 authority, X509Certificate2 other) = (Authority("authority"), Authority("other"));
        X509Certificate2 server = Signed(authority, "localhost"), mine = Signed(authority, "client"), foreign = Signed(other, "client");
        Write("server", server);
        Write("authority", authority);
        await using ApiFixture api = await StartAsync(new ServerCertificate(Path("server.crt"), Path("server.key"), Path("authority.crt"), TimeProvider.System));
        int port = api.Http.BaseAddress!.Port;
        Assert.That(await StatusAsync(port, authority, mine), Is.EqualTo(HttpStatusCode.OK));
        await Assert.ThatAsync(() => StatusAsync(port, authority, null), Throws.InstanceOf<HttpRequestException>());
        await Assert.ThatAsync(() => StatusAsync(port, authority, foreign), Throws.InstanceOf<HttpRequestException>());
        await Assert.ThatAsync(() => StatusAsync(port, other, mine), Throws.InstanceOf<HttpRequestException>(), "the client looks, too");
    }

    [Test]
    public async Task Certificate_Renewed_IsShownWithoutARestart()
    {
        X509Certificate2 authority = Authority("authority"), later = Authority("later");
        Write("server", Signed(authority, "localhost"));
        ManualTime time = new();
        ServerCertificate certificate = new(Path("server.crt"), Path("server.key"), "", time);
        await using ApiFixture api = await StartAsync(certificate);
        int port = api.Http.BaseAddress!.Port;
        Assert.That(await StatusAsync(port, authority, null), Is.EqualTo(HttpStatusCode.OK));

        await File.WriteAllTextAsync(Path("server.crt"), "half of a renewal");
        File.SetLastWriteTimeUtc(Path("server.crt"), DateTime.UtcNow.AddSeconds(10));
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.That(await StatusAsync(port, authority, null), Is.EqualTo(HttpStatusCode.OK), "the one of before");

        Write("server", Signed(later, "localhost"));
        File.SetLastWriteTimeUtc(Path("server.crt"), DateTime.UtcNow.AddSeconds(20));
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.That(await StatusAsync(port, later, null), Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public void Certificate_ThatIsNone_SaysWhich()
    {
        File.WriteAllText(Path("server.crt"), "nothing");
        File.WriteAllText(Path("server.key"), "nothing");
        Assert.That(() => new ServerCertificate(Path("server.crt"), Path("server.key"), "", TimeProvider.System), Throws.TypeOf<CertificateException>().With.Message.Contains("server.crt"));
        Assert.That(() => new ServerCertificate(Path("missing.crt"), Path("server.key"), "", TimeProvider.System), Throws.TypeOf<CertificateException>());
        Write("server", Signed(Authority("a"), "localhost"));
        File.WriteAllText(Path("empty.crt"), "");
        Assert.That(() => new ServerCertificate(Path("server.crt"), Path("server.key"), Path("empty.crt"), TimeProvider.System), Throws.TypeOf<CertificateException>().With.Message.Contains("empty.crt"));
    }

    private static Task<ApiFixture> StartAsync(ServerCertificate certificate) => ApiFixture.StartAsync(adjust: builder =>
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.ConfigureEndpointDefaults(certificate.Use)));

    private static async Task<HttpStatusCode> StatusAsync(int port, X509Certificate2 trusted, X509Certificate2? own)
    {
        using SocketsHttpHandler handler = new()
        {
            SslOptions = new SslClientAuthenticationOptions
            {
                CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, CustomTrustStore = { trusted } },
                ClientCertificates = own is null ? null : [own],
                LocalCertificateSelectionCallback = own is null ? null : (_, _, _, _, _) => own,
            },
        };
        using HttpClient client = new(handler) { Timeout = TimeSpan.FromSeconds(20) };
        using HttpResponseMessage response = await client.GetAsync($"https://localhost:{port}/health/live");
        return response.StatusCode;
    }

    private string Path(string name) => System.IO.Path.Combine(_folder, name);

    private void Write(string name, X509Certificate2 certificate)
    {
        File.WriteAllText(Path(name + ".key"), certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path(name + ".crt"), certificate.ExportCertificatePem());
    }

    private static X509Certificate2 Authority(string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
    }

    private static X509Certificate2 Signed(X509Certificate2 authority, string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={name}", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 certificate = request.Create(authority, DateTimeOffset.UtcNow.AddMinutes(-30), DateTimeOffset.UtcNow.AddMinutes(30), RandomNumberGenerator.GetBytes(8));
        return certificate.CopyWithPrivateKey(key);
    }
}
