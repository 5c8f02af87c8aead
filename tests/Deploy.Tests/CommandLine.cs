using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;
using TpServe.Testing;

namespace TpServe.Deploy.Tests;

/// <summary>The command lines that files name, checked against what tpserve --help says.</summary>
internal static partial class CommandLine
{
    private static readonly ConcurrentDictionary<string, HashSet<string>> s_flags = new();

    /// <summary>What is wrong with a command line of tpserve: its command, or a flag.</summary>
    public static IEnumerable<string> Faults(IReadOnlyList<string> arguments)
    {
        string command = arguments.FirstOrDefault(argument => argument[0] != '-') is { } first && arguments[0] == first ? first : "serve";
        if (!Commands.Contains(command))
            return [$"'tpserve {command}' is no command"];
        HashSet<string> known = s_flags.GetOrAdd(command, FlagsOf);
        return arguments.Where(argument => argument.StartsWith("--", StringComparison.Ordinal) && !known.Contains(argument))
            .Select(argument => $"'tpserve {command}' has no flag {argument}");
    }

    /// <summary>Every command of tpserve.</summary>
    public static HashSet<string> Commands { get; } =
        [.. CommandLineOfHelp().Matches(Help()[Help().IndexOf("Commands:", StringComparison.Ordinal)..]).Select(match => match.Groups[1].Value)];

    private static HashSet<string> FlagsOf(string command) => [.. Flag().Matches(Help(command)).Select(match => match.Value)];

    /// <summary>Runs tpserve to its end.</summary>
    public static (int Code, string Output, string Errors) Run(params string[] words)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(TestData.Repository, "src", "Gateway", "bin", configuration, "net10.0", "TpServe.Gateway.dll"));
        foreach (string word in words)
            start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromSeconds(60)))
        {
            process.Kill(entireProcessTree: true);
            throw new InvalidOperationException($"tpserve {string.Join(' ', words)} did not end");
        }
        return (process.ExitCode, output.GetAwaiter().GetResult(), errors.GetAwaiter().GetResult());
    }

    private static string Help(params string[] command) =>
        Run([.. command, "--help"]) is (0, var output, _) ? output : throw new InvalidOperationException($"tpserve {string.Join(' ', command)} --help failed");

    [GeneratedRegex(@"(?<=^|[\s,])--[a-z][a-z-]*", RegexOptions.Multiline)]
    private static partial Regex Flag();

    [GeneratedRegex(@"^  ([a-z]+)\b", RegexOptions.Multiline)]
    private static partial Regex CommandLineOfHelp();
}
