using System.CommandLine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve chat: a conversation with a running server at the terminal.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        RemoteServer remote = new();
        Option<string> system = new("--system") { Description = "Instructions before the conversation.", HelpName = "TEXT" };
        Argument<string?> message = new("message") { Description = "One message to answer; without it the conversation goes on until an empty line.", DefaultValueFactory = _ => null };
        Command chat = new("chat", "Talks to a running server.") { message, system };
        remote.AddTo(chat);
        chat.SetAction((parsed, cancellation) => remote.UseAsync(parsed, async client =>
        {
            ChatRequest request = new() { Sampling = remote.Sampling(parsed), Stopping = remote.Stopping(parsed) };
            if (parsed.GetValue(system) is { } instructions)
                request.Messages.Add(new ChatMessage { Role = ChatRole.System, Content = instructions });
            string? once = parsed.GetValue(message);
            if (once is null && !Console.IsInputRedirected)
                Console.Error.WriteLine("An empty line ends the conversation.");
            while ((once ?? await AskAsync(cancellation)) is { Length: > 0 } line)
            {
                request.Messages.Add(new ChatMessage { Role = ChatRole.User, Content = line });
                using var call = client.ChatStream(request, cancellationToken: cancellation);
                string answer = await RemoteServer.PrintAsync(call, cancellation);
                if (once is not null)
                    return;
                request.Messages.Add(new ChatMessage { Role = ChatRole.Assistant, Content = answer });
            }
        }, cancellation));
        return chat;
    }

    private static async Task<string?> AskAsync(CancellationToken cancellation)
    {
        Console.Write("> ");
        return await Console.In.ReadLineAsync(cancellation);
    }
}
