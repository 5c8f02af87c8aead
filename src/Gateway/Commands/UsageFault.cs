using System.CommandLine;
using System.CommandLine.Invocation;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands;

/// <summary>A command line that is not understood.</summary>
internal static class UsageFault
{
    /// <summary>The process's exit code, as of other programs; 1 is for a command that was understood and failed.</summary>
    public const int ExitCode = 2;

    /// <summary>One line on standard error, where somebody has it open: a process that ends with a reason does not end with another one because nobody reads it.</summary>
    public static void Tell(string reason)
    {
        try
        {
            Console.Error.WriteLine("tpserve: " + reason.ReplaceLineEndings(" "));
        }
        catch (Exception fault) when (IsClosedTerminal(fault))
        {
            // The exit code tells.
        }
    }

    /// <summary>Whether a standard stream is closed, or its disk is full.</summary>
    public static bool IsClosedTerminal(Exception fault) => fault is IOException or UnauthorizedAccessException or ObjectDisposedException;

    /// <summary>What is wrong, in one line that names the nearest flag or command there is; null where the line is understood.</summary>
    public static string? Of(ParseResult parsed)
    {
        if (parsed.Action is not ParseErrorAction)
            return null;
        Command command = parsed.CommandResult.Command;
        string help = $"'tpserve {(parsed.RootCommandResult.Command == command ? "" : command.Name + " ")}--help' lists what there is.";
        if (parsed.UnmatchedTokens is not [string unknown, ..])
            return $"{parsed.Errors[0].Message.ReplaceLineEndings(" ")} {help}";
        string name = unknown.Split('=', ':')[0];
        IEnumerable<string> known = name.StartsWith('-') ? command.Options.Select(option => option.Name) : command.Subcommands.Where(sub => !sub.Hidden).Select(sub => sub.Name);
        if (!known.Any())
            return $"{name}: nothing is expected here. {help}";
        if (name is "help" or "version")
            return $"{name}: no such command, but a flag: --{name}. {help}";
        string kind = name.StartsWith('-') ? "flag" : "command";
        return Spelling.Near(name, known) is { } near ? $"{name}: no such {kind}; the nearest is {near}. {help}" : $"{name}: no such {kind}. {help}";
    }
}
