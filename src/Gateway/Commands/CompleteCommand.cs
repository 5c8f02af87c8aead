using System.CommandLine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve complete: sends a prompt to a running server and streams the continuation to the terminal.</summary>
internal static class CompleteCommand
{
    public static Command Create()
    {
        RemoteServer remote = new();
        Argument<string> prompt = new("prompt") { Description = "The text to continue; - reads standard input." };
        Command complete = new("complete", "Continues a text by a running server.") { prompt };
        remote.AddTo(complete);
        complete.SetAction((parsed, cancellation) => remote.UseAsync(parsed, async client =>
        {
            string text = parsed.GetValue(prompt)!;
            GenerateRequest request = new()
            {
                Text = text == "-" ? await Console.In.ReadToEndAsync(cancellation) : text,
                Sampling = remote.Sampling(parsed),
                Stopping = remote.Stopping(parsed),
            };
            using var call = client.GenerateStream(request, cancellationToken: cancellation);
            await RemoteServer.PrintAsync(call, cancellation);
            return 0;
        }, cancellation));
        return complete;
    }
}
