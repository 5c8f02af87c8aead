using System.Diagnostics;
using NUnit.Framework;
using TpServe.Links;
using TpServe.Testing;

namespace TpServe.Network.Tests;

/// <summary>TLS between real processes of this host: who has the group's certificate is let in, and everybody else learns why not, at both ends and in time.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class EncryptedLinksTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly List<RunningProgram> _programs = [];
    private TemporaryFolder _folder = null!;

    [SetUp]
    public async Task WriteSecrets()
    {
        _folder = new TemporaryFolder();
        RunningProgram secret = Start("Gateway", "secret", "--file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        Assert.That(await secret.EndAsync(s_patience), Is.Zero, secret.Output);
        GroupCertificate.Write(_folder.Of("other"), "other", days: 1, TimeProvider.System);
        GroupCertificate.Write(_folder.Of("expired"), "expired", days: 1, new SetClock(DateTimeOffset.UtcNow.AddDays(-3)));
    }

    [TearDown]
    public async Task EndAll()
    {
        try
        {
            await RunningProgram.EndAllAsync(_programs);
        }
        finally
        {
            _folder.Dispose();
        }
    }

    [Test]
    public async Task Secret_Written_IsItsOwnersAloneAndNeverOverwritten()
    {
        foreach (string file in new[] { "secret", "tls/tls.crt", "tls/tls.key" })
            if (!OperatingSystem.IsWindows())
                Assert.That(File.GetUnixFileMode(_folder.Of(file)), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite), file);
        foreach (string[] again in new string[][] { ["--tls", _folder.Of("tls")], ["--file", _folder.Of("secret")] })
        {
            byte[][] before = [.. Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories).Order().Select(File.ReadAllBytes)];
            RunningProgram refused = Start("Gateway", ["secret", .. again]);
            Assert.That(await refused.EndAsync(s_patience), Is.EqualTo(1));
            Assert.That(refused.Output, Does.Contain("is not overwritten"));
            Assert.That(Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories).Order().Select(File.ReadAllBytes), Is.EqualTo(before));
        }
    }

    [Test]
    public async Task Group_WithTheCertificate_ServesOverTheRingAndSaysThatItIsEncrypted()
    {
        (string first, string second, string http) = (Address(), Address(), Address());
        Start("Worker", "--listen", first, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        Start("Worker", "--listen", second, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        RunningProgram gateway = StartGateway("tls", http, "https://" + first, "https://" + second);
        using HttpClient client = new() { BaseAddress = new Uri("http://" + http) };
        await client.UntilReadyAsync(gateway);
        Assert.That(await client.TextAsync(12), Has.Length.GreaterThan(20));
        Assert.That(await client.GetStringAsync(new Uri("/topology", UriKind.Relative)), Does.Contain("\"link\": \"TLS\"").And.Contain("the ranks reach each other over TLS"));
        Assert.That(gateway.Output, Does.Contain("TLS 1.3, both ends pinned to SHA-256"));
    }

    [Test]
    public async Task Gateway_WithAnotherCertificate_IsRefusedWithTheReasonAtBothEnds()
    {
        string address = Address();
        RunningProgram worker = Start("Worker", "--listen", address, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        await RefusedAsync(StartGateway("other", Address(), "https://" + address), "shows another certificate than the group's");
        await UntilAsync(() => worker.Output.Contains("was refused: it shows another certificate than the group's", StringComparison.Ordinal), worker);
    }

    [Test]
    public async Task Certificate_ThatHasExpired_EndsTheStartOfBothPrograms()
    {
        RunningProgram worker = Start("Worker", "--listen", Address(), "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("expired"));
        await RefusedAsync(StartGateway("expired", Address(), "https://" + Address()), "expired on");
        await RefusedAsync(worker, "expired on");
    }

    [Test]
    public async Task Workers_ThatDoNotTakeEachOther_EndTheStartWithTheReason()
    {
        // The gateway and the second worker take both certificates, the first worker only the first.
        File.Copy(_folder.Of("tls/tls.crt"), _folder.Of("other/first.crt"));
        GroupCertificate.Write(_folder.Of("both"), "both", days: 1, TimeProvider.System);
        foreach (string file in new[] { "tls.crt", "tls.key" })
            File.Copy(_folder.Of("tls/" + file), _folder.Of("both/" + file), overwrite: true);
        File.Copy(_folder.Of("other/tls.crt"), _folder.Of("both/second.crt"));
        (string first, string second) = (Address(), Address());
        Start("Worker", "--listen", first, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        Start("Worker", "--listen", second, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("other"));
        await RefusedAsync(StartGateway("both", Address(), "https://" + first, "https://" + second), "certificate");
    }

    [Test]
    public async Task Gateway_PlaintextToAnEncryptedWorker_IsToldSoInTime()
    {
        string address = Address();
        Start("Worker", "--listen", address, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));
        await RefusedAsync(StartGateway(tls: null, Address(), "http://" + address), "asks for TLS");
    }

    [Test]
    public async Task Gateway_EncryptedToAPlaintextWorker_IsToldSoInTime()
    {
        string address = Address();
        Start("Worker", "--listen", address, "--secret-file", _folder.Of("secret"));
        await RefusedAsync(StartGateway("tls", Address(), "https://" + address), "speaks no TLS");
    }

    [Test]
    public async Task Plaintext_BeyondThisHost_EndsTheStartOfBothPrograms()
    {
        await RefusedAsync(Start("Worker", "--listen", "0.0.0.0:1", "--secret-file", _folder.Of("secret")), "0.0.0.0:1", "--tls DIR", "--insecure-links");
        await RefusedAsync(StartGateway(tls: null, Address(), "http://192.0.2.1:9001"), "http://192.0.2.1:9001", "--tls DIR", "--insecure-links");
        await RefusedAsync(StartGateway("tls", Address(), "http://192.0.2.1:9001"), "http://192.0.2.1:9001", "write https");
        await RefusedAsync(StartGateway(tls: null, Address(), "https://192.0.2.1:9001"), "https://192.0.2.1:9001", "--tls DIR");
    }

    private static async Task RefusedAsync(RunningProgram program, params string[] says)
    {
        Assert.That(await program.EndAsync(s_patience), Is.EqualTo(1), program.Output);
        foreach (string text in says)
            Assert.That(program.Output, Does.Contain(text));
    }

    private static async Task UntilAsync(Func<bool> holds, RunningProgram program)
    {
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        for (long start = Stopwatch.GetTimestamp(); !holds(); await pause.WaitForNextTickAsync())
            Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(s_patience), program.Output);
    }

    private static string Address() => $"127.0.0.1:{Processes.FreePort()}";

    private RunningProgram StartGateway(string? tls, string http, params string[] workers) => Start(
        "Gateway",
        [
            .. workers.SelectMany(worker => new[] { "--worker", worker }), "--partition", "even", "--secret-file", _folder.Of("secret"), .. tls is null ? Array.Empty<string>() : ["--tls", _folder.Of(tls)],
            "--transport", "ring", "--device", "cpu", "--connect-timeout", "20s", "--http", http, "--grpc", Address(),
        ]);

    private RunningProgram Start(string room, params string[] arguments)
    {
        RunningProgram program = RunningProgram.Start(null, room, arguments);
        _programs.Add(program);
        return program;
    }
}
