using System.CommandLine;
using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve reshard: a running server's workers take other shares of the model, while its streams go on.</summary>
internal static class ReshardCommand
{
    public static Command Create()
    {
        Argument<string> shares = new("shares") { Description = "even, or a number for each worker as in 2,1.", HelpName = "even|w0,w1,…" };
        Option<string> server = new("--server")
        {
            Description = "Address of a running server's gRPC interface; without a scheme it is http.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:8081",
        };
        Option<bool> idle = new("--when-idle") { Description = "Wait until nothing runs; else the move comes between two steps." };
        Option<int> timeout = new("--timeout") { Description = "Seconds to wait for it.", HelpName = "N", DefaultValueFactory = _ => 120 };
        Command reshard = new("reshard", "Moves a running server to another split: streams go on with the same tokens; a key of scope admin where the server asks for keys.") { shares, server, idle, timeout };
        reshard.SetAction((parsed, cancellation) => RunAsync(
            parsed.GetValue(shares)!, parsed.GetValue(server)!, parsed.GetValue(idle), TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(timeout), 1, 600)), cancellation));
        return reshard;
    }

    private static Task<int> RunAsync(string shares, string address, bool whenIdle, TimeSpan timeout, CancellationToken cancellation)
    {
        (PartitionWish wish, string? fault) = PartitionWish.Parse(shares);
        if (fault is not null || wish.IsAuto)
        {
            UsageFault.Tell(fault ?? "'auto': splits are measured at a server's start, and kept even by serve --rebalance on; write even, or one number for each worker as in 2,1.");
            return Task.FromResult(1);
        }
        return RemoteServer.ControlAsync(address, $"no moment came for it within {timeout.TotalSeconds:F0} s.", async control =>
        {
            ReshardRequest request = new() { WhenIdle = whenIdle };
            request.Weights.Add(wish.Weights);
            GroupMove? move = (await control.ReshardAsync(request, deadline: DateTime.UtcNow + timeout, cancellationToken: cancellation)).Move;
            Console.WriteLine(move is null
                ? "it is split so already"
                : string.Create(CultureInfo.InvariantCulture, $"{move.Before} became {move.After}: {move.ReadBytes / 1048576.0:F1} MiB read, a pause of {move.PauseSeconds:F2} s"));
            return 0;
        });
    }
}
