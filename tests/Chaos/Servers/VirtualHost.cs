using System.Diagnostics;
using System.Globalization;
using System.Net;

namespace TpServe.Chaos.Servers;

/// <summary>Where a worker of the ring runs: a network namespace of its own that a cable joins to the others, or just this host.</summary>
internal sealed class VirtualHost : IDisposable
{
    private const string Bridge = "chaos";

    private readonly Process? _holder;
    private readonly string _cable = "";

    private VirtualHost(IPAddress address, Process? holder, string cable)
    {
        Address = address;
        _holder = holder;
        _cable = cable;
    }

    /// <summary>The address at which the others reach it.</summary>
    public IPAddress Address { get; }

    /// <summary>The address of what runs between the hosts: proxies and gateway.</summary>
    public static IPAddress Middle(bool sandboxed) => sandboxed ? IPAddress.Parse("10.213.0.254") : IPAddress.Loopback;

    /// <summary>Whether it can be taken off the network.</summary>
    public bool HasCable => _holder is not null;

    /// <summary>The command that runs a program on it.</summary>
    public IReadOnlyList<string> Prefix =>
        _holder is null ? [] : ["nsenter", "--net", "--target", _holder.Id.ToString(CultureInfo.InvariantCulture), "--"];

    /// <summary>Makes the hosts; in a sandbox each has a network of its own.</summary>
    public static async Task<IReadOnlyList<VirtualHost>> CreateAsync(int count, bool sandboxed)
    {
        if (!sandboxed)
            return [.. Enumerable.Range(0, count).Select(_ => new VirtualHost(IPAddress.Loopback, null, ""))];
        // What an earlier arena has left: its hosts are gone, the kernel takes their cables away when it likes.
        foreach (string link in Enumerable.Range(0, count).Select(Cable).Append(Bridge))
            await Sandbox.TryRunAsync("ip", "link", "delete", link);
        await Sandbox.RunAsync("ip", "link", "add", Bridge, "type", "bridge");
        await Sandbox.RunAsync("ip", "address", "add", Middle(sandboxed) + "/24", "dev", Bridge);
        await Sandbox.RunAsync("ip", "link", "set", Bridge, "up");
        List<VirtualHost> hosts = [];
        for (int i = 0; i < count; i++)
            hosts.Add(await CabledAsync(i));
        return hosts;
    }

    /// <summary>Pulls the cable: nothing comes or goes, and nobody is told.</summary>
    public Task PullCableAsync() => Sandbox.RunAsync("ip", "link", "set", _cable, "down");

    /// <summary>Plugs it in again.</summary>
    public Task PlugCableAsync() => Sandbox.RunAsync("ip", "link", "set", _cable, "up");

    public void Dispose()
    {
        if (_holder is null)
            return;
        _holder.Kill();
        _holder.WaitForExit();
        _holder.Dispose();
    }

    private static string Cable(int index) => string.Create(CultureInfo.InvariantCulture, $"cable{index}");

    private static async Task<VirtualHost> CabledAsync(int index)
    {
        string cable = Cable(index), plug = cable + "p";
        IPAddress address = IPAddress.Parse(string.Create(CultureInfo.InvariantCulture, $"10.213.0.{index + 1}"));

        // A process that does nothing keeps the namespace while the worker is dead; it ends when its input does, which is when this program ends.
        Process holder = Process.Start(new ProcessStartInfo("unshare", ["--net", "sh", "-c", "echo ready; read end"])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        await holder.StandardOutput.ReadLineAsync();
        string pid = holder.Id.ToString(CultureInfo.InvariantCulture);
        await Sandbox.RunAsync("ip", "link", "add", cable, "type", "veth", "peer", "name", plug);
        await Sandbox.RunAsync("ip", "link", "set", plug, "netns", pid);
        await Sandbox.RunAsync("ip", "link", "set", cable, "master", Bridge, "up");
        foreach (string[] command in new string[][] { ["address", "add", address + "/24", "dev", plug], ["link", "set", plug, "up"], ["link", "set", "lo", "up"] })
            await Sandbox.RunAsync("nsenter", ["--net", "--target", pid, "--", "ip", .. command]);
        return new VirtualHost(address, holder, cable);
    }
}
