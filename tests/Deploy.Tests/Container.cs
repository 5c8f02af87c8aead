using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace TpServe.Deploy.Tests;

/// <summary>A root, namespaces and a user like a container's, made by container.sh; programs are started in it by name.</summary>
/// <remarks>Disposal ends the first process of its namespace, and by that everything in it.</remarks>
internal sealed class Container : IAsyncDisposable
{
    public const int User = 1654;
    private static readonly TimeSpan s_answerTimeout = TimeSpan.FromSeconds(90);

    /// <summary>Where the runtime of this test lies, which the image's base would bring.</summary>
    public static string DotnetFolder { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));

    private readonly Process _process;
    private readonly string _work;

    private Container(Process process, string work)
    {
        _process = process;
        _work = work;
    }

    /// <summary>Why this machine cannot make one, or null.</summary>
    public static string? Missing()
    {
        if (!OperatingSystem.IsLinux())
            return "namespaces are Linux's";
        if (!string.Equals(Environment.UserName, "root", StringComparison.Ordinal))
            return "only root may make another root and become another user";
        if (new[] { "unshare", "setpriv", "chroot", "ip" }.FirstOrDefault(program => !OnPath(program)) is { } program)
            return $"{program} is missing";
        using Process trial = Process.Start(new ProcessStartInfo("unshare") { ArgumentList = { "--mount", "--pid", "--net", "--ipc", "--fork", "--", "mount", "-t", "tmpfs", "tmpfs", "/mnt" }, RedirectStandardError = true })!;
        return trial.WaitForExit(TimeSpan.FromSeconds(10)) && trial.ExitCode == 0 ? null : "this machine allows no mount in a namespace of its own: " + trial.StandardError.ReadToEnd().Trim();
    }

    public static async Task<Container> CreateAsync(PublishedImage image, string name)
    {
        string work = image.CreateFolder(name), root = image.CreateFolder(name + "-root");
        ProcessStartInfo start = new("unshare") { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (string argument in new[]
        {
            "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child", "--", "sh", DeployFiles.PathOf("tests/Deploy.Tests/container.sh"),
            image.Folder, root, work, DotnetFolder, DeployFiles.PathOf("models"), User.ToString(CultureInfo.InvariantCulture),
        })
            start.ArgumentList.Add(argument);
        Container container = new(Process.Start(start)!, work);
        if (await container.AnswerAsync() is var (output, code) && code == 0)
            return container;
        await container.DisposeAsync();
        throw new InvalidOperationException(output);
    }

    /// <summary>Starts a program in the background under a name.</summary>
    public async Task StartAsync(string name, IReadOnlyDictionary<string, string> environment, IEnumerable<string> words)
    {
        await SetEnvironmentAsync(name, environment);
        await CommandAsync($"start {name} {string.Join(' ', words)}");
    }

    /// <summary>Runs a program to its end, as `docker exec` does: under the environment of a started one.</summary>
    public Task<(string Output, int Code)> RunAsync(string name, IEnumerable<string> words) => CommandAsync($"run {name} {string.Join(' ', words)}");

    /// <summary>Any other command of container.sh.</summary>
    public async Task<(string Output, int Code)> CommandAsync(string command)
    {
        await _process.StandardInput.WriteLineAsync(command);
        await _process.StandardInput.FlushAsync();
        return await AnswerAsync();
    }

    /// <summary>Writes the environment under which a name's programs run.</summary>
    public Task SetEnvironmentAsync(string name, IReadOnlyDictionary<string, string> environment) =>
        File.WriteAllLinesAsync(Path.Combine(_work, name + ".env"), environment.Select(item => $"{item.Key}={item.Value}"));

    /// <summary>Runs a program again and again until it ends with a code; fails at the deadline with what the named ones printed.</summary>
    public async Task UntilAsync(int code, string name, string[] words, TimeSpan timeout)
    {
        long start = Stopwatch.GetTimestamp();
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(200));
        while (true)
        {
            (string output, int got) = await RunAsync(name, words);
            if (got == code)
                return;
            if (Stopwatch.GetElapsedTime(start) > timeout)
                throw new InvalidOperationException($"'{string.Join(' ', words)}' still ends with {got} after {timeout.TotalSeconds:F0} s: {output} {(await CommandAsync($"log {name}")).Output}");
            await pause.WaitForNextTickAsync();
        }
    }

    /// <summary>Waits until a program has printed something so many times.</summary>
    public async Task UntilLogAsync(string name, string text, int times, TimeSpan timeout)
    {
        long start = Stopwatch.GetTimestamp();
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
        while ((await CommandAsync($"log {name}")).Output is var log && log.Split(text).Length <= times)
        {
            if (Stopwatch.GetElapsedTime(start) > timeout)
                throw new InvalidOperationException($"{name} did not print '{text}' {times} times within {timeout.TotalSeconds:F0} s: {log}");
            await pause.WaitForNextTickAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close(); // container.sh ends, and with it its namespace
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(10));
        try
        {
            await _process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill(entireProcessTree: true);
        }
        _process.Dispose();
    }

    private async Task<(string Output, int Code)> AnswerAsync()
    {
        using CancellationTokenSource deadline = new(s_answerTimeout);
        StringBuilder output = new();
        while (await _process.StandardOutput.ReadLineAsync(deadline.Token) is { } line)
        {
            if (line.StartsWith("=> ", StringComparison.Ordinal))
                return int.TryParse(line[3..], CultureInfo.InvariantCulture, out int code) ? (output.ToString(), code) : (line, -1);
            output.AppendLine(line);
        }
        return (output + "the container ended", -1);
    }

    private static bool OnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
}
