using System.Globalization;
using System.Net;
using TpServe.Chaos.Faults;
using TpServe.Links;
using TpServe.Testing;

namespace TpServe.Chaos.Servers;

/// <summary>Workers that run elsewhere, over gRPC and TLS: each link leads through a <see cref="FaultProxy"/>, and in a sandbox each worker is on a host of its own.</summary>
internal sealed class RingArena(ChaosOptions options) : Arena("ring", degree: 2, options)
{
    private IReadOnlyList<VirtualHost> _hosts = [];
    private IPEndPoint[] _addresses = [];
    private ServerProcess?[] _workers = [];
    private FaultProxy[] _fromPeers = []; // to each worker, from the others
    private FaultProxy[] _fromGateway = []; // to each worker, from the gateway
    private string _secretFile = "";
    private string _certificate = "";

    /// <inheritdoc/>
    public override IReadOnlyList<Fault> Deck
    {
        get
        {
            List<Fault> deck =
            [
                .. LocalArena.Times(4, new Fault("kill a worker", IsLoss: true, Starves: false, random => KillAsync(random, [random.Next(Degree)]))),
                .. LocalArena.Times(2, new Fault("kill both at once", IsLoss: true, Starves: false, random => KillAsync(random, [0, 1]))),
                .. LocalArena.Times(4, new Fault("cut a ring link", IsLoss: true, Starves: false, random => CutAsync(random.OneOf(_fromPeers)))),
                .. LocalArena.Times(2, new Fault("stall a ring link up to 1.5 s", IsLoss: false, Starves: false, random => StallAsync(random.OneOf(_fromPeers), random, 0.05, 1.5))),
                .. LocalArena.Times(1, new Fault("stall a ring link longer than a collective waits", IsLoss: true, Starves: false, random => StallAsync(random.OneOf(_fromPeers), random, 6, 7))),
                .. LocalArena.Times(2, new Fault("cut a gateway's link", IsLoss: true, Starves: false, random => CutAsync(random.OneOf(_fromGateway)))),
                .. LocalArena.Times(1, new Fault("stall a gateway's link 6 s", IsLoss: true, Starves: false, random => StallAsync(random.OneOf(_fromGateway), random, 6, 7))),
                .. LocalArena.Times(1, new Fault("stop and continue within 1.5 s", IsLoss: false, Starves: false, random => FreezeAsync(random, 0.05, 1.5))),
                .. LocalArena.Times(1, new Fault("stop and continue after 6 s", IsLoss: true, Starves: false, random => FreezeAsync(random, 6, 7))),
            ];
            if (_hosts[0].HasCable)
            {
                deck.AddRange(LocalArena.Times(1, new Fault("host off the network up to 1.5 s", IsLoss: false, Starves: false, random => PullAsync(random, 0.05, 1.5))));
                deck.AddRange(LocalArena.Times(1, new Fault("host off the network 6 s", IsLoss: true, Starves: false, random => PullAsync(random, 6, 7))));
            }
            return deck;
        }
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Flags =>
        ["--transport", "ring", "--collective-timeout", "4s", "--secret-file", _secretFile, "--tls", _certificate, .. _fromGateway.SelectMany(link => new[] { "--worker", "https://" + link.Address })];

    /// <inheritdoc/>
    public override async Task StartAsync()
    {
        _hosts = await VirtualHost.CreateAsync(Degree, Options.Inside);
        _addresses = [.. _hosts.Select(host => new IPEndPoint(host.Address, Processes.FreePort()))];
        IPAddress middle = VirtualHost.Middle(Options.Inside);
        _fromPeers = [.. _addresses.Select(address => new FaultProxy(middle, address))];
        _fromGateway = [.. _addresses.Select(address => new FaultProxy(middle, address))];
        _secretFile = Path.Combine(Folder, "secret");
        await File.WriteAllTextAsync(_secretFile, "between us");
        _certificate = Path.Combine(Folder, "tls");
        GroupCertificate.Write(_certificate, "chaos", days: 2, TimeProvider.System);
        _workers = new ServerProcess?[Degree];
        for (int rank = 0; rank < Degree; rank++)
            StartWorker(rank);
        await base.StartAsync();
    }

    /// <inheritdoc/>
    public override IReadOnlyList<int> Workers() => [.. _workers.OfType<ServerProcess>().Where(worker => !worker.HasExited).Select(worker => worker.Id)];

    public override async ValueTask DisposeAsync()
    {
        await StopOthersAsync();
        foreach (FaultProxy link in _fromPeers.Concat(_fromGateway))
            link.Dispose();
        foreach (VirtualHost host in _hosts)
            host.Dispose();
        await base.DisposeAsync();
    }

    /// <inheritdoc/>
    protected override async Task StopOthersAsync()
    {
        foreach (ServerProcess worker in _workers.OfType<ServerProcess>())
        {
            await worker.StopAsync();
            await worker.DisposeAsync();
        }
        Array.Clear(_workers);
    }

    private void StartWorker(int rank) => _workers[rank] = Launch(
        "Worker",
        [
            $"--Worker:Listen={_addresses[rank]}",
            $"--Worker:Advertise=https://{_fromPeers[rank].Address}",
            $"--Worker:SecretFile={_secretFile}",
            $"--Worker:Tls={_certificate}",
            string.Create(CultureInfo.InvariantCulture, $"--Worker:LogLevel=information"),
        ],
        _hosts[rank].Prefix);

    /// <summary>Kills workers; somebody starts them again after a moment.</summary>
    private async Task KillAsync(Random random, int[] ranks)
    {
        foreach (int rank in ranks)
            _workers[rank]!.Kill(Temporary);
        foreach (int rank in ranks)
        {
            await random.DelayAsync(0, 1);
            await _workers[rank]!.DisposeAsync();
            StartWorker(rank);
        }
    }

    private static Task CutAsync(FaultProxy link)
    {
        link.Cut();
        return Task.CompletedTask;
    }

    private static async Task StallAsync(FaultProxy link, Random random, double least, double most)
    {
        link.Stall();
        await random.DelayAsync(least, most);
        link.Flow();
    }

    private async Task FreezeAsync(Random random, double least, double most)
    {
        ServerProcess worker = _workers[random.Next(Degree)]!;
        worker.Signal("STOP");
        await random.DelayAsync(least, most);
        worker.Signal("CONT");
    }

    private async Task PullAsync(Random random, double least, double most)
    {
        VirtualHost host = random.OneOf(_hosts);
        await host.PullCableAsync();
        await random.DelayAsync(least, most);
        await host.PlugCableAsync();
    }
}
