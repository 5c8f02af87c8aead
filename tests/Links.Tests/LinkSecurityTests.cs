using System.Net;
using NUnit.Framework;

namespace TpServe.Links.Tests;

/// <summary>What may be connected to, and listened on, without encryption.</summary>
public sealed class LinkSecurityTests
{
    [TestCase("unix:/tmp/w", false, false, null)]
    [TestCase("unix:/tmp/w", true, false, null)]
    [TestCase("http://127.0.0.1:9001", false, false, null)]
    [TestCase("http://127.9.9.9:9001", false, false, null)]
    [TestCase("http://localhost:9001", false, false, null)]
    [TestCase("http://LOCALHOST:9001/", false, false, null)]
    [TestCase("http://[::1]:9001", false, false, null)]
    [TestCase("http://10.0.0.1:9001", false, false, "--insecure-links")]
    [TestCase("http://[fd00::1]:9001", false, false, "--insecure-links")]
    [TestCase("http://127.0.0.1.example.org:9001", false, false, "--insecure-links")]
    [TestCase("http://localhost.example.org:9001", false, false, "--insecure-links")]
    [TestCase("http://0.0.0.0:9001", false, false, "--insecure-links")]
    [TestCase("http://10.0.0.1:9001", false, true, null)]
    [TestCase("http://10.0.0.1:9001", true, false, "write https")]
    [TestCase("http://10.0.0.1:9001", true, true, "write https")] // who has a certificate means it
    [TestCase("http://127.0.0.1:9001", true, false, "write https")]
    [TestCase("https://10.0.0.1:9001", true, false, null)]
    [TestCase("https://10.0.0.1:9001", false, false, "--tls DIR")]
    [TestCase("https://10.0.0.1:9001", false, true, "--tls DIR")]
    [TestCase("ftp://10.0.0.1:9001", true, true, "is neither")]
    [TestCase("10.0.0.1:9001", true, true, "is neither")]
    public void Address_WithAndWithoutCertificate_IsAllowedOrNamed(string address, bool hasCertificate, bool insecure, string? fault) =>
        Assert.That(LinkSecurity.Fault(address, hasCertificate, insecure), fault is null ? Is.Null : Does.Contain(fault));

    [TestCase("127.0.0.1", false, false, true)]
    [TestCase("::1", false, false, true)]
    [TestCase("0.0.0.0", false, false, false)]
    [TestCase("::", false, false, false)]
    [TestCase("10.0.0.1", false, false, false)]
    [TestCase("0.0.0.0", true, false, true)]
    [TestCase("0.0.0.0", false, true, true)]
    public void Listening_BeyondThisHost_NeedsACertificateOrAWord(string address, bool hasCertificate, bool insecure, bool allowed) =>
        Assert.That(LinkSecurity.ListenFault([new IPEndPoint(IPAddress.Loopback, 1), new IPEndPoint(IPAddress.Parse(address), 1)], hasCertificate, insecure), allowed ? Is.Null : Does.Contain("--insecure-links"));

    [TestCase("unix:/tmp/w", "unix socket")]
    [TestCase("https://host:1", "TLS")]
    [TestCase("http://host:1", "plaintext")]
    public void Link_ByItsAddress_IsDescribed(string address, string link) => Assert.That(LinkSecurity.Describe(address), Is.EqualTo(link));
}
