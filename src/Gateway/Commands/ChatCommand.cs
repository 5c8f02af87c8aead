using System.CommandLine;
using Grpc.Core;
using TpServe.Gateway.Commands.Terminal;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve chat: a conversation with a running server at the terminal.</summary>
internal static class ChatCommand
{
    /// <param name="environment">The process's variables: where the history lies, and whether colour is wished for.</param>
    public static Command Create(IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        RemoteServer remote = new();
        Option<string> system = new("--system") { Description = "Instructions before the conversation.", HelpName = "TEXT" };
        Argument<string?> message = new("message") { Description = "One message to answer; without it the conversation goes on until Ctrl-D.", DefaultValueFactory = _ => null };
        Command chat = new("chat", "Talks to a running server.") { message, system };
        remote.AddTo(chat);
        chat.SetAction((parsed, cancellation) => remote.UseAsync(parsed, async client =>
        {
            string? once = parsed.GetValue(message);
            using RawTerminal? terminal = once is null ? RawTerminal.Open() : null;
            ChatScreen screen = new(terminal, new InputHistory(terminal is null ? null : InputHistory.PathOf(environment)), IsStyled(environment), cancellation);
            ChatSession session = new(remote.Sampling(parsed), remote.Stopping(parsed)) { System = parsed.GetValue(system) ?? "" };
            ChatLoop loop = new(session, screen, Ask, fault => remote.Describe(parsed, fault), cancellation);
            if (once is null)
                return await loop.RunAsync();
            session.Say(once);
            return await loop.AnswerAsync();

            async IAsyncEnumerable<GenerateEvent> Ask(ChatRequest request, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop)
            {
                using AsyncServerStreamingCall<GenerateEvent> call = client.ChatStream(request, cancellationToken: stop);
                await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync(stop))
                    yield return happened;
            }
        }, cancellation));
        return chat;
    }

    // https://no-color.org: set and not empty.
    private static bool IsStyled(IEnumerable<KeyValuePair<string, string>> environment) =>
        !environment.Any(one => one is { Key: "NO_COLOR", Value.Length: > 0 } or { Key: "TERM", Value: "dumb" });
}
