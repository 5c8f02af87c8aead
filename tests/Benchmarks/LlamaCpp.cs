using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace TpServe.Benchmarks;

/// <summary>How llama.cpp is run.</summary>
/// <param name="Threads">Compute threads.</param>
/// <param name="Flash">Its fused attention.</param>
internal sealed record LlamaCppSetting(int Threads, bool Flash)
{
    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Threads}t{(Flash ? " fa" : "")}");
}

/// <summary>llama.cpp in a process of its own, with one model loaded: node-llama-cpp's prebuilt library (tests/Benchmarks/peers).</summary>
/// <remarks>
/// The package brings one CPU library for each generation of processors, and llama.cpp loads the best that this one executes. For a narrower one the package is
/// copied without the others: every other module is a link.
/// </remarks>
internal sealed class LlamaCpp : IAsyncDisposable
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(10);
    private readonly Process _node;

    private LlamaCpp(Process node) => _node = node;

    /// <summary>The CPU library it has loaded, and what it says of itself.</summary>
    public string Library { get; private set; } = "";

    /// <summary>Where the modules lie.</summary>
    /// <exception cref="DirectoryNotFoundException">They are not installed.</exception>
    public static string Folder(string repository)
    {
        string peers = Path.Combine(repository, "tests", "Benchmarks", "peers");
        return Directory.Exists(Path.Combine(peers, "node_modules", "node-llama-cpp"))
            ? peers : throw new DirectoryNotFoundException($"llama.cpp is not installed: `npm install --ignore-scripts` in {peers}.");
    }

    /// <summary>A copy of <paramref name="peers"/> whose only CPU library is the one for AVX2 (haswell).</summary>
    public static string Avx2Folder(string peers, string workFolder)
    {
        const string own = "node-llama-cpp", binaries = "@node-llama-cpp", platform = "linux-x64";
        string copy = Path.Combine(workFolder, "peers-avx2"), modules = Path.Combine(copy, "node_modules"), source = Path.Combine(peers, "node_modules");
        if (Directory.Exists(copy))
            Directory.Delete(copy, recursive: true); // links are removed, not followed
        Directory.CreateDirectory(modules);
        File.Copy(Path.Combine(peers, "llama-cpp.mjs"), Path.Combine(copy, "llama-cpp.mjs"));
        File.Copy(Path.Combine(peers, "package.json"), Path.Combine(copy, "package.json"));
        foreach (string module in Directory.EnumerateDirectories(source))
            if (Path.GetFileName(module) is not (own or binaries))
                Directory.CreateSymbolicLink(Path.Combine(modules, Path.GetFileName(module)), module);
        CopyFolder(Path.Combine(source, own), Path.Combine(modules, own), _ => true);
        CopyFolder(Path.Combine(source, binaries, platform), Path.Combine(modules, binaries, platform),
            name => !name.StartsWith("libggml-cpu-", StringComparison.Ordinal) || name == "libggml-cpu-haswell.so");
        return copy;
    }

    /// <summary>Loads a model.</summary>
    public static async Task<LlamaCpp> StartAsync(string folder, string file)
    {
        ProcessStartInfo start = new("node") { WorkingDirectory = folder, RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add("llama-cpp.mjs");
        start.ArgumentList.Add(file);
        LlamaCpp peer = new(Process.Start(start)!);
        try
        {
            using JsonDocument ready = await peer.ReadAsync();
            peer.Library = $"{ready.RootElement.GetProperty("library").GetString()} of {ready.RootElement.GetProperty("release").GetString()}: {ready.RootElement.GetProperty("system").GetString()}";
            return peer;
        }
        catch
        {
            await peer.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a workload: tokens a second of each of its phases.</summary>
    public async Task<double[]> RunAsync(Workload work, LlamaCppSetting setting)
    {
        await _node.StandardInput.WriteLineAsync(JsonSerializer.Serialize(new
        {
            threads = setting.Threads,
            flash = setting.Flash,
            sequences = work.Sequences,
            context = work.PromptTokens + work.DecodeTokens + 64,
            prompt = work.PromptTokens,
            decode = work.DecodeTokens,
        }));
        await _node.StandardInput.FlushAsync();
        using JsonDocument answer = await ReadAsync();
        double first = answer.RootElement.GetProperty("first").GetDouble(), rest = answer.RootElement.GetProperty("rest").GetDouble();
        if (answer.RootElement.GetProperty("threads").GetInt32() != setting.Threads)
            throw new InvalidOperationException($"llama.cpp ran on {answer.RootElement.GetProperty("threads").GetInt32()} threads instead of {setting.Threads}.");
        int tokens = answer.RootElement.GetProperty("tokens").GetInt32();
        if (work.Sequences == 1)
            return work.DecodeTokens == 0 ? [work.PromptTokens / first] : [work.PromptTokens / first, tokens / rest];
        double batch = answer.RootElement.GetProperty("batch").GetDouble();
        return batch >= 0.95 * work.Sequences ? [tokens / rest] : throw new InvalidOperationException($"llama.cpp decoded {batch:F1} of {work.Sequences} sequences in a batch.");
    }

    /// <summary>Ends it: its input ends.</summary>
    public async ValueTask DisposeAsync()
    {
        _node.StandardInput.Close();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
        try
        {
            await _node.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            _node.Kill();
            await _node.WaitForExitAsync();
        }
        _node.Dispose();
    }

    private static void CopyFolder(string from, string to, Func<string, bool> wanted)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.EnumerateFiles(from))
            if (wanted(Path.GetFileName(file)))
                File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        foreach (string folder in Directory.EnumerateDirectories(from))
            CopyFolder(folder, Path.Combine(to, Path.GetFileName(folder)), wanted);
    }

    /// <summary>The next line of JSON; others are the library's own.</summary>
    private async Task<JsonDocument> ReadAsync()
    {
        using CancellationTokenSource patience = new(s_timeout);
        while (await _node.StandardOutput.ReadLineAsync(patience.Token) is { } line)
            if (line.StartsWith('{'))
                return JsonDocument.Parse(line);
        throw new InvalidOperationException("llama.cpp's process has ended.");
    }
}
