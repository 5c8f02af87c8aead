using System.CommandLine;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve drain: a running server takes no new request and ends those in flight; to be called before it is stopped.</summary>
internal static class DrainCommand
{
    public static Command Create()
    {
        Option<string> server = new("--server")
        {
            Description = "Address of a running server's gRPC interface.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:8081",
        };
        Option<int> timeout = new("--timeout") { Description = "Seconds to wait for the requests in flight.", HelpName = "N", DefaultValueFactory = _ => 60 };
        Command drain = new("drain", "Has a server refuse new requests and waits until those in flight have ended; exit code 1 where some are left.") { server, timeout };
        drain.SetAction((parsed, cancellation) => RunAsync(parsed.GetValue(server)!, TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(timeout), 1, 86_400)), cancellation));
        return drain;
    }

    private static async Task<int> RunAsync(string address, TimeSpan timeout, CancellationToken cancellation)
    {
        if (!ServerAddress.TryParse(address, out Uri? uri, out string unfit))
            return Fail(unfit);
        using GrpcChannel channel = RemoteServer.Connect(uri);
        try
        {
            DrainResponse answer = await new Control.ControlClient(channel).DrainAsync(new DrainRequest(), deadline: DateTime.UtcNow + timeout, cancellationToken: cancellation);
            if (answer.RemainingRequests > 0)
                return Fail($"{answer.RemainingRequests} requests are still in flight.");
            Console.WriteLine("drained");
            return 0;
        }
        catch (RpcException fault)
        {
            return Fail(fault.StatusCode switch
            {
                StatusCode.DeadlineExceeded => $"requests are still in flight after {timeout.TotalSeconds:F0} s.",
                StatusCode.Unavailable => RemoteServer.Nobody(address),
                _ => $"{fault.StatusCode}: {fault.Status.Detail}",
            });
        }
    }

    private static int Fail(string reason)
    {
        Console.Error.WriteLine("tpserve: " + reason);
        return 1;
    }
}
