using System.CommandLine;
using System.Runtime.InteropServices;
using Grpc.Core;
using TpServe.Gateway.Commands.Terminal;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve chat: a conversation with a running server at the terminal.</summary>
internal static class ChatCommand
{
    /// <summary>Its name: a command that treats signals by itself.</summary>
    public const string Name = "chat";

    /// <param name="environment">The process's variables: where the history lies, and whether colour is wished for.</param>
    public static Command Create(IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        RemoteServer remote = new();
        Option<string> system = new("--system") { Description = "Instructions before the conversation.", HelpName = "TEXT" };
        Argument<string?> message = new("message") { Description = "One message to answer; without it the conversation goes on until Ctrl-D.", DefaultValueFactory = _ => null };
        Command chat = new(Name, "Talks to a running server.") { message, system };
        remote.AddTo(chat);
        chat.SetAction((parsed, cancellation) => remote.UseAsync(parsed, async client =>
        {
            string? once = parsed.GetValue(message);
            using RawTerminal? terminal = once is null ? RawTerminal.Open() : null;
            ChatScreen screen = new(terminal, new InputHistory(terminal is null ? null : InputHistory.PathOf(environment)), IsStyled(environment));
            ChatSession session = new(remote.Sampling(parsed), remote.Stopping(parsed)) { System = parsed.GetValue(system) ?? "" };
            ChatLoop loop = new(session, screen, Ask, fault => remote.Describe(parsed, fault));

            // Ctrl-C is the answer's while there is one; at the prompt of a terminal it is a key.
            using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => context.Cancel = loop.Stop());
            using PosixSignalRegistration end = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => terminal?.Dispose());
            using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, _ => terminal?.Dispose());
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
