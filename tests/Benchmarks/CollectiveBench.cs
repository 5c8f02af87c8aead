using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TpServe.Collectives;
using TpServe.Collectives.Hosted;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;
using TpServe.Kernels;
using TpServe.Links;
using TpServe.Sharding;
using TpServe.Worker;

namespace TpServe.Benchmarks;

/// <summary>What one canonical sum costs: microseconds by transport and size, each rank a process of its own.</summary>
/// <remarks>
/// Arguments: [DEGREE [TRANSPORT]]. shm; the ring over Unix sockets, over TCP, and over TLS; from 3 ranks on hosted, as if half of them were on another host.
/// Prints minimum, median, 90th and 99th percentile over the repetitions, and the median's bytes a second of result.
/// The sizes are one decode row and a prefill of 128 rows of the embedded model, and the same of a 1B model with 512 rows.
/// </remarks>
public static class CollectiveBench
{
    private const string RankMode = "rank";
    private static readonly (int Rows, int Columns)[] s_shapes = [(1, 576), (1, 2048), (128, 576), (512, 2048)];
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(60);

    /// <summary>Runs the table, or one rank of it where the first argument says so.</summary>
    public static int Run(string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        if (args is [RankMode, string transport, string place, string rank, string ranks])
            return RunRank(transport, place, Number(rank), Number(ranks));

        int degree = args is [string given, ..] ? Number(given) : 2;
        string? only = args is [_, string one] ? one : null;
        Console.WriteLine($"SumTree, {degree} processes, one piece a rank, {Environment.ProcessorCount} cores");
        Console.WriteLine("transport   floats             min µs    p50 µs    p90 µs    p99 µs   GB/s at p50");
        RunGroup("shm", $"tpserve-bench-{Environment.ProcessId}", degree, only);
        DirectoryInfo sockets = Directory.CreateTempSubdirectory("tpserve-bench-");
        RunGroup("ring", sockets.FullName, degree, only);
        sockets.Delete(recursive: true);
        RunGroup("ring-tcp", string.Join(',', FreePorts(degree)), degree, only);
        DirectoryInfo certificate = Directory.CreateTempSubdirectory("tpserve-bench-");
        GroupCertificate.Write(certificate.FullName, "bench", days: 1, TimeProvider.System);
        RunGroup("ring-tls", string.Join(',', FreePorts(degree)) + certificate.FullName, degree, only);
        certificate.Delete(recursive: true);
        if (degree > 2)
            RunGroup("hosted", string.Join(',', FreePorts(degree)), degree, only);
        return 0;
    }

    /// <summary>Ports of this host that nobody listens on now.</summary>
    private static int[] FreePorts(int count)
    {
        TcpListener[] listeners = [.. Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0))];
        foreach (TcpListener listener in listeners)
            listener.Start();
        int[] ports = [.. listeners.Select(listener => ((IPEndPoint)listener.LocalEndpoint).Port)];
        foreach (TcpListener listener in listeners)
            listener.Dispose();
        return ports;
    }

    private static void RunGroup(string transport, string place, int degree, string? only)
    {
        if (only is not null && only != transport)
            return;
        List<Process> peers = [];
        for (int rank = 1; rank < degree; rank++)
        {
            // The same program again, whether it runs from its own executable or under dotnet.
            ProcessStartInfo start = new("dotnet");
            foreach (string argument in (string[])["exec", typeof(CollectiveBench).Assembly.Location, "collectives", RankMode, transport, place, Text(rank), Text(degree)])
                start.ArgumentList.Add(argument);
            peers.Add(Process.Start(start)!);
        }
        RunRank(transport, place, 0, degree);
        foreach (Process peer in peers)
        {
            if (!peer.WaitForExit(s_timeout))
                peer.Kill();
            peer.Dispose();
        }
    }

    private static int RunRank(string transport, string place, int rank, int degree)
    {
        if (transport == "shm")
        {
            using ICommunicator end = SharedMemoryCommunicator.Join(place, rank, degree, s_timeout, epoch: 1);
            Measure(end, transport);
            return 0;
        }
        const string secret = "bench";
        bool isTls = transport == "ring-tls", isTcp = isTls || transport is "ring-tcp" or "hosted";
        string folder = isTls ? place[place.IndexOf('/', StringComparison.Ordinal)..] : "";
        place = isTls ? place[..^folder.Length] : place;
        LinkSecurity links = LinkSecurity.Read(folder, insecure: false);
        RingMailboxes mailboxes = new(links);
        string[] addresses = isTcp ? [.. place.Split(',').Select(port => $"{links.Scheme}://127.0.0.1:{port}")] : [.. Enumerable.Range(0, degree).Select(r => $"unix:{place}/{r}.sock")];
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(options =>
        {
            if (isTcp)
                options.Listen(IPAddress.Loopback, new Uri(addresses[rank]).Port, listen =>
                {
                    listen.Protocols = HttpProtocols.Http2;
                    if (links.Certificate is { } certificate)
                        listen.UseGroupCertificate(certificate);
                });
            else
                options.ListenUnixSocket($"{place}/{rank}.sock", listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(new RingService(mailboxes, secret));
        builder.Services.AddSingleton(new RingDoor(mailboxes));
        builder.Services.AddSingleton<IConnectionListenerFactory, RingPort>();
        using WebApplication host = builder.Build();
        host.MapGrpcService<RingService>();
        host.StartAsync().GetAwaiter().GetResult();
        int[] hosts = [.. Enumerable.Range(0, degree).Select(r => r * 2 / degree)];
        using (ICommunicator end = transport == "hosted"
            ? HostedCommunicator.Join(mailboxes, addresses, hosts, $"tpserve-bench-{place[..place.IndexOf(',', StringComparison.Ordinal)]}", rank, secret, s_timeout, epoch: 1)
            : RingCommunicator.Join(mailboxes, addresses, rank, secret, s_timeout, epoch: 1))
            Measure(end, transport);
        host.StopAsync().GetAwaiter().GetResult();
        return 0;
    }

    private static void Measure(ICommunicator end, string transport)
    {
        LeafShare share = new(new Leaves(1, end.Degree), [.. Enumerable.Range(0, end.Degree + 1)], end.Rank);
        foreach ((int rows, int columns) in s_shapes)
        {
            long bytes = (long)rows * columns * sizeof(float);
            using HostBuffer part = new(bytes), whole = new(bytes);
            Tensor pieces = new(part, 0, rows, columns, columns, ElementType.Float32), y = new(whole, 0, rows, columns, columns, ElementType.Float32);
            int repetitions = (int)Math.Clamp(400_000_000L / bytes, 100, 5000);
            double[] microseconds = new double[repetitions];
            for (int i = -repetitions / 5; i < repetitions; i++)
            {
                long start = Stopwatch.GetTimestamp();
                end.SumTree(pieces, share, y);
                if (i >= 0)
                    microseconds[i] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            }
            if (end.Rank != 0)
                continue;
            Array.Sort(microseconds);
            double At(double quantile) => microseconds[(int)((repetitions - 1) * quantile)];
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{transport,-9} {rows,4} x {columns,-6} {At(0),14:F1} {At(0.5),9:F1} {At(0.9),9:F1} {At(0.99),9:F1} {bytes / At(0.5) / 1000,13:F2}"));
        }
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
