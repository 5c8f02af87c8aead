using System.Globalization;
using NUnit.Framework;
using TpServe.Links;
using TpServe.Testing;

namespace TpServe.Network.Tests;

/// <summary>A group on hosts of its own, joined by cables with delay and rate, its links encrypted: the same bits, and streams that outlive a host off the network.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class HostsTests
{
    private const int Port = 9001, HttpPort = 8080, GrpcPort = 8081;
    private const int LongStream = 300;

    private readonly List<RunningProgram> _programs = [];
    private readonly Dictionary<VirtualHost, RunningProgram> _workers = [];
    private TemporaryFolder _folder = null!;
    private VirtualNetwork? _network;

    [SetUp]
    public void MakeFolder()
    {
        _folder = new TemporaryFolder();
        File.WriteAllText(_folder.Of("secret"), "between us");
        GroupCertificate.Write(_folder.Of("tls"), "test", days: 1, TimeProvider.System);
    }

    [TearDown]
    public async Task TearDownAll()
    {
        try
        {
            await RunningProgram.EndAllAsync(_programs);
        }
        finally
        {
            _workers.Clear();
            _network?.Dispose();
            _network = null;
            _folder.Dispose();
        }
    }

    [TestCase(2)] // the gateway's host has a worker too
    [TestCase(3)] // the gateway alone on one, the workers on two others
    public async Task Group_OnHosts_AnswersAsOneProcessAndIsEncrypted(int hosts)
    {
        VirtualNetwork network = _network = VirtualNetwork.CreateOrIgnore(hosts);
        VirtualHost first = network.Hosts[0];
        RunningProgram alone = Start(first, "Gateway", "--tp", "1", "--device", "cpu", "--http", $"{first.Address}:7000", "--grpc", $"{first.Address}:7001", "--log-level", "error");
        string expected;
        using (HttpClient client = first.NewClient(7000))
        {
            await client.UntilReadyAsync(alone);
            expected = await client.AnswerAsync(48);
        }
        await alone.KillAsync();

        (RunningProgram gateway, HttpClient group) = await StartGroupAsync(network, network.Hosts.Skip(hosts - 2));
        using (group)
        {
            Assert.That(await group.AnswerAsync(48), Is.EqualTo(expected));
            string topology = await group.GetStringAsync(new Uri("/topology", UriKind.Relative));
            Assert.That(topology, Does.Contain("\"transport\": \"ring\"").And.Contain("\"link\": \"TLS\"").And.Contain("over TLS"));
            Assert.That(gateway.Output, Does.Contain("TLS 1.3, both ends pinned"));
        }
    }

    [TestCase(false)] // it comes back as it was
    [TestCase(true)] // its worker is dead and started again
    public async Task Stream_HostOffTheNetwork_GoesOnWithTheSameTokensWhenItIsBack(bool restarted)
    {
        VirtualNetwork network = _network = VirtualNetwork.CreateOrIgnore(3);
        (RunningProgram gateway, HttpClient group) = await StartGroupAsync(network, network.Hosts.Skip(1));
        using (group)
        {
            string expected = await group.TextAsync(LongStream), got = "";
            int pieces = 0;
            Task? fault = null;
            await foreach (string piece in group.StreamAsync(LongStream))
            {
                got += piece;
                if (++pieces == 20)
                    fault = CutOffAsync(network, network.Hosts[2], gateway, group, restarted);
            }
            Assert.That(got, Is.EqualTo(expected));
            Assert.That(fault, Is.Not.Null);
            await fault!.WaitAsync(TimeSpan.FromSeconds(60));
            Assert.That(gateway.Output, Does.Contain("lost"));
        }
    }

    [Test]
    public async Task Plaintext_BetweenHosts_IsRefusedAtBothEndsUnlessAsked()
    {
        VirtualNetwork network = _network = VirtualNetwork.CreateOrIgnore(2);
        (VirtualHost near, VirtualHost far) = (network.Hosts[0], network.Hosts[1]);
        string address = $"{far.Address}:{Port}";
        RunningProgram worker = Start(far, "Worker", "--listen", address, "--secret-file", _folder.Of("secret"));
        RunningProgram gateway = Start(near, "Gateway", "--worker", "http://" + address, "--secret-file", _folder.Of("secret"));
        Assert.That(await worker.EndAsync(TimeSpan.FromSeconds(30)), Is.EqualTo(1));
        Assert.That(worker.Output, Does.Contain(address).And.Contain("--tls").And.Contain("--insecure-links"));
        Assert.That(await gateway.EndAsync(TimeSpan.FromSeconds(30)), Is.EqualTo(1));
        Assert.That(gateway.Output, Does.Contain(address).And.Contain("--tls").And.Contain("--insecure-links"));

        Start(far, "Worker", "--listen", address, "--secret-file", _folder.Of("secret"), "--insecure-links");
        gateway = Start(near, "Gateway", "--worker", "http://" + address, "--secret-file", _folder.Of("secret"), "--insecure-links", "--http", $"{near.Address}:{HttpPort}", "--grpc", $"{near.Address}:{GrpcPort}");
        using HttpClient client = near.NewClient(HttpPort);
        await client.UntilReadyAsync(gateway);
        Assert.That(gateway.Output, Does.Contain("not encrypted (--insecure-links)"));
        Assert.That(await client.GetStringAsync(new Uri("/topology", UriKind.Relative)), Does.Contain("\"link\": \"plaintext\""));
    }

    /// <summary>Off the network until the gateway knows, then back.</summary>
    private async Task CutOffAsync(VirtualNetwork network, VirtualHost host, RunningProgram gateway, HttpClient group, bool restarted)
    {
        network.Pull(host);
        await group.UntilReadyAsync(gateway, ready: false);
        if (restarted)
        {
            await _workers[host].KillAsync();
            StartWorker(host);
        }
        network.Plug(host);
    }

    private async Task<(RunningProgram Gateway, HttpClient Client)> StartGroupAsync(VirtualNetwork network, IEnumerable<VirtualHost> workers)
    {
        List<string> flags = [];
        foreach (VirtualHost host in workers)
        {
            StartWorker(host);
            flags.AddRange(["--worker", string.Create(CultureInfo.InvariantCulture, $"https://{host.Address}:{Port}")]);
        }
        VirtualHost first = network.Hosts[0];
        RunningProgram gateway = Start(
            first, "Gateway",
            [
                .. flags, "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"), "--device", "cpu", "--partition", "even", "--collective-timeout", "3s", "--transport", "ring",
                "--http", $"{first.Address}:{HttpPort}", "--grpc", $"{first.Address}:{GrpcPort}", "--log-level", "warning",
            ]);
        HttpClient client = first.NewClient(HttpPort);
        await client.UntilReadyAsync(gateway);
        return (gateway, client);
    }

    private void StartWorker(VirtualHost host) => _workers[host] = Start(
        host, "Worker", "--listen", string.Create(CultureInfo.InvariantCulture, $"{host.Address}:{Port}"), "--secret-file", _folder.Of("secret"), "--tls", _folder.Of("tls"));

    private RunningProgram Start(VirtualHost host, string room, params string[] arguments)
    {
        RunningProgram program = RunningProgram.Start(host, room, arguments);
        _programs.Add(program);
        return program;
    }
}
