using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using NUnit.Framework;

namespace TpServe.Network.Tests;

/// <summary>Hosts that a switch joins, as Linux network namespaces: cables with a delay and a rate, which can be pulled.</summary>
/// <remarks>
/// Each namespace, the switch's too, is held by a process that ends when its input does: with the test, however that ends. With the namespace go its bridge and
/// cables, so nothing outside is changed and nothing is left.
/// </remarks>
internal sealed class VirtualNetwork : IDisposable
{
    private const string Bridge = "switch";
    private readonly NetworkNamespace _switch;
    private readonly List<VirtualHost> _hosts = [];

    private VirtualNetwork(NetworkNamespace middle) => _switch = middle;

    /// <summary>In the order of their addresses.</summary>
    public IReadOnlyList<VirtualHost> Hosts => _hosts;

    /// <summary>What the cables do, in words.</summary>
    public string Cables { get; private set; } = "";

    /// <summary>Makes so many hosts, or ends the test as ignored, with the reason, where the machine cannot.</summary>
    public static VirtualNetwork CreateOrIgnore(int hosts)
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("only Linux has network namespaces");
        if (Environment.UserName != "root")
            Assert.Ignore("network namespaces need root");
        VirtualNetwork? network = null;
        try
        {
            network = new VirtualNetwork(new NetworkNamespace());
            network._switch.Run("ip", "link", "add", Bridge, "type", "bridge");
            network._switch.Run("ip", "link", "set", Bridge, "up");
            for (int i = 0; i < hosts; i++)
                network.Add(i);
            TestContext.Out.WriteLine($"{hosts} hosts, cables: {network.Cables}");
            return network;
        }
        catch (Exception fault) when (fault is InvalidOperationException or Win32Exception)
        {
            network?.Dispose();
            Assert.Ignore($"no virtual network can be made here: {fault.Message}");
            throw;
        }
    }

    /// <summary>Pulls a host's cable: nothing comes or goes, and nobody is told.</summary>
    public void Pull(VirtualHost host) => _switch.Run("ip", "link", "set", host.Cable, "down");

    /// <summary>Plugs it in again.</summary>
    public void Plug(VirtualHost host) => _switch.Run("ip", "link", "set", host.Cable, "up");

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (VirtualHost host in _hosts)
            host.Namespace.Dispose();
        _switch.Dispose();
    }

    private void Add(int index)
    {
        string cable = string.Create(CultureInfo.InvariantCulture, $"cable{index}");
        VirtualHost host = new(new NetworkNamespace(), IPAddress.Parse(string.Create(CultureInfo.InvariantCulture, $"10.214.0.{index + 1}")), cable);
        _hosts.Add(host);
        _switch.Run("ip", "link", "add", cable, "type", "veth", "peer", "name", "plug", "netns", host.Namespace.Pid);
        _switch.Run("ip", "link", "set", cable, "master", Bridge, "up");
        host.Namespace.Run("ip", "address", "add", host.Address + "/24", "dev", "plug");
        host.Namespace.Run("ip", "link", "set", "plug", "up");
        host.Namespace.Run("ip", "link", "set", "lo", "up");
        Cables = Shape(host.Namespace);
    }

    /// <summary>What leaves a host takes 0.2 ms and 1 Gbit/s; where the kernel cannot delay, the rate alone.</summary>
    private static string Shape(NetworkNamespace host)
    {
        try
        {
            host.Run("tc", "qdisc", "add", "dev", "plug", "root", "netem", "delay", "0.2ms", "rate", "1gbit");
            return "0.2 ms each way, 1 Gbit/s (netem)";
        }
        catch (InvalidOperationException noNetem)
        {
            try
            {
                host.Run("tc", "qdisc", "add", "dev", "plug", "root", "tbf", "rate", "1gbit", "burst", "256kb", "latency", "50ms");
                return $"1 Gbit/s (tbf), no delay: {noNetem.Message}";
            }
            catch (InvalidOperationException noTbf)
            {
                return $"neither delay nor rate: {noNetem.Message}; {noTbf.Message}";
            }
        }
    }
}

/// <summary>A host of a <see cref="VirtualNetwork"/>.</summary>
/// <param name="Namespace">Its network.</param>
/// <param name="Address">Where the others reach it.</param>
/// <param name="Cable">The switch's end of its cable.</param>
internal sealed record VirtualHost(NetworkNamespace Namespace, IPAddress Address, string Cable)
{
    /// <summary>The command that runs a program on it.</summary>
    public IReadOnlyList<string> Prefix => ["nsenter", "--net", "--target", Namespace.Pid, "--"];

    /// <summary>An HTTP client that is on it.</summary>
    public HttpClient NewClient(int port) => new(new SocketsHttpHandler
    {
        UseProxy = false,
        ConnectCallback = async (context, cancellation) => new NetworkStream(await Namespace.ConnectAsync(new IPEndPoint(IPAddress.Parse(context.DnsEndPoint.Host), context.DnsEndPoint.Port)), ownsSocket: true),
    })
    { BaseAddress = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://{Address}:{port}")), Timeout = TimeSpan.FromMinutes(3) };
}

/// <summary>A network namespace, as long as this object lives.</summary>
internal sealed partial class NetworkNamespace : IDisposable
{
    private const int NewNetwork = 0x40000000; // CLONE_NEWNET
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);
    private readonly Process _holder;

    public NetworkNamespace()
    {
        _holder = Process.Start(new ProcessStartInfo("unshare", ["--net", "sh", "-c", "echo ready; read end"]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        if (_holder.StandardOutput.ReadLine() == "ready")
            return;
        string reason = _holder.StandardError.ReadToEnd().Trim();
        Dispose();
        throw new InvalidOperationException(reason);
    }

    /// <summary>Of the process that holds it.</summary>
    public string Pid => _holder.Id.ToString(CultureInfo.InvariantCulture);

    /// <summary>Runs a command of the system in it, to its end.</summary>
    /// <exception cref="InvalidOperationException">It failed; says what it printed.</exception>
    public void Run(string command, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("nsenter", ["--net", "--target", Pid, "--", command, .. arguments]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(s_patience))
            process.Kill();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{command} {string.Join(' ', arguments)}: {errors.Result.ReplaceLineEndings(" ").Trim()}");
    }

    /// <summary>A connection that this process has from within it: a socket belongs to the network in which its thread was when it was made.</summary>
    public async Task<Socket> ConnectAsync(IPEndPoint address)
    {
        TaskCompletionSource<Socket> connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                using SafeHandle other = File.OpenHandle($"/proc/{Pid}/ns/net"); // no stream: those look whether they can seek
                if (SetNamespace(other, NewNetwork) != 0)
                    throw new Win32Exception();
                Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                socket.Connect(address);
                connected.SetResult(socket);
            }
            catch (Exception fault)
            {
                connected.SetException(fault); // whoever asked gets it
            }
        })
        { IsBackground = true, Name = "in another network" }.Start(); // it ends, and takes the network it was put in with it
        return await connected.Task.WaitAsync(s_patience);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_holder.HasExited)
            _holder.Kill();
        _holder.WaitForExit(s_patience);
        _holder.Dispose();
    }

    // setns(2): of the calling thread alone.
    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(SafeHandle descriptor, int kind);
}
