using System.CommandLine;
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

    private static Task<int> RunAsync(string address, TimeSpan timeout, CancellationToken cancellation) =>
        RemoteServer.ControlAsync(address, $"requests are still in flight after {timeout.TotalSeconds:F0} s.", async control =>
        {
            DrainResponse answer = await control.DrainAsync(new DrainRequest(), deadline: DateTime.UtcNow + timeout, cancellationToken: cancellation);
            if (answer.RemainingRequests > 0)
            {
                UsageFault.Tell($"{answer.RemainingRequests} requests are still in flight.");
                return 1;
            }
            Console.WriteLine("drained");
            return 0;
        });
}
