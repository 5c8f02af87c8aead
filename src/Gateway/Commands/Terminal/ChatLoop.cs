using System.Text;
using Grpc.Core;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>Asks for an answer.</summary>
internal delegate IAsyncEnumerable<GenerateEvent> AskServer(ChatRequest request, CancellationToken cancellation);

/// <summary>A conversation: reads, asks, shows, again. A fault ends the answer it is of, not the conversation.</summary>
/// <param name="session">What was said.</param>
/// <param name="screen">Where.</param>
/// <param name="ask">Whom.</param>
/// <param name="describe">A failed call in words.</param>
/// <param name="cancellation">Ends the conversation from outside.</param>
internal sealed class ChatLoop(ChatSession session, ChatScreen screen, AskServer ask, Func<RpcException, string> describe, CancellationToken cancellation)
{
    private const int MostTries = 3;

    /// <summary>Goes on until it is asked to end; exit code 0, and of lines that are piped in 1 where an answer failed.</summary>
    public async Task<int> RunAsync()
    {
        if (screen.IsInteractive)
            screen.Tell("Ctrl-C stops an answer, Ctrl-D ends, /help lists the rest.");
        int code = 0;
        while (screen.Read() is { } line)
        {
            if (line.Trim().Length == 0)
            {
                if (screen.IsInteractive)
                    continue;
                break;
            }
            if (line.StartsWith('/') && !line.StartsWith("//", StringComparison.Ordinal))
            {
                ChatStep step = session.Run(line.Trim(), out string said);
                if (said.Length > 0)
                    screen.Tell(said);
                if (step == ChatStep.Exit)
                    break;
                if (step == ChatStep.Answer)
                    code |= await AnswerAsync();
                continue;
            }
            session.Say(line.StartsWith("//", StringComparison.Ordinal) ? line[1..] : line);
            code |= await AnswerAsync();
        }
        return screen.IsInteractive ? 0 : code;
    }

    /// <summary>Answers what was said last; 0, or 1 where that failed.</summary>
    public async Task<int> AnswerAsync()
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        using IDisposable? watch = screen.Watch(() => _ = stop.CancelAsync()); // what waits for it does not go on inside the watch
        StringBuilder text = new();
        try
        {
            for (int attempt = 1; ; attempt++)
                try
                {
                    await ShowAsync(text, stop.Token);
                    break;
                }
                catch (RpcException fault) when (fault.StatusCode == StatusCode.Unavailable && text.Length == 0 && attempt < MostTries && screen.IsInteractive && !stop.IsCancellationRequested)
                {
                    screen.Tell($"{describe(fault)} Asked again in {attempt} s; Ctrl-C stops.");
                    await Task.Delay(TimeSpan.FromSeconds(attempt), stop.Token);
                }
            session.Answered(text.ToString());
            return 0;
        }
        catch (Exception fault) when (stop.IsCancellationRequested && fault is RpcException or OperationCanceledException)
        {
            ChatScreen.Write("\n");
            screen.Tell("[stopped]");
            session.Answered(text.ToString());
            return 0;
        }
        catch (RpcException fault)
        {
            if (text.Length > 0)
                ChatScreen.Write("\n");
            screen.Tell("tpserve: " + describe(fault) + (screen.IsInteractive ? " The message is kept: /regenerate asks again." : ""));
            return 1;
        }
    }

    private async Task ShowAsync(StringBuilder text, CancellationToken stop)
    {
        MarkdownWriter answer = new(screen.IsStyled), thought = new(isStyled: false);
        bool isThinking = false;
        try
        {
            await foreach (GenerateEvent happened in ask(session.Request(), stop))
            {
                if (happened.Recovering is { } recovering)
                    screen.Tell($"[a worker was lost; the answer goes on when it is back: {recovering.Reason}]");
                if (happened.Delta is { } delta)
                {
                    if (delta.Reasoning.Length > 0 && screen.IsInteractive)
                    {
                        ChatScreen.Write((isThinking || !screen.IsStyled ? "" : "\e[2m") + thought.Write(delta.Reasoning));
                        isThinking = true;
                    }
                    if (delta.Text.Length > 0)
                    {
                        if (isThinking)
                            ChatScreen.Write(screen.IsStyled ? "\e[0m\n\n" : "\n\n");
                        isThinking = false;
                        text.Append(delta.Text);
                        // What is piped on is the model's own words.
                        ChatScreen.Write(screen.IsInteractive ? answer.Write(delta.Text) : delta.Text);
                    }
                }
                if (happened.Finished is { Usage: { } usage } finished)
                {
                    ChatScreen.Write(answer.End() + "\n");
                    screen.Tell(FormattableString.Invariant($"[{usage.PromptTokens} prompt tokens, {usage.CompletionTokens} generated, {finished.Reason}]"));
                }
            }
        }
        catch
        {
            ChatScreen.Write(screen.IsStyled ? "\e[0m" : "");
            throw;
        }
    }
}
