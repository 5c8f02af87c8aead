using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>How soon a server answers, and how well at first: start to ready, the first request beside later ones, and what a worker's memory reaches.</summary>
/// <remarks>
/// Usage     start [smollm2|1b|3b] [format] [--tp N] [--rounds N] [--program FILE]. Each round starts a server of its own; one round before is not counted: it warms this client.
/// Ready     from the start of the process to the line that says so; nothing asks the server anything before.
/// Requests  a prompt of 128 tokens that no cache knows, 64 tokens of answer, one after the other. Rate: the tokens after the first.
/// Memory    RssAnon and RssShmem of each worker, read every 10 ms from its birth to the end of the first request: what the process alone pays for. VmHWM also
///           counts the pages of files that are mapped at the moment, which the page cache has anyhow.
/// </remarks>
internal static class StartBench
{
    private const int PromptTokens = 128, AnswerTokens = 64, LaterRequests = 4;

    public static async Task RunAsync(string repository, string workFolder, string[] words)
    {
        string program = ServedModel.Program(repository);
        List<string> flags = [];
        RandomLlama.Shape shape = RandomLlama.Shape.SmolLM2;
        TensorType? format = null;
        int rounds = 5;
        for (int i = 0; i < words.Length; i++)
            if (words[i] == "--program" && i + 1 < words.Length)
                program = words[++i];
            else if (words[i] == "--rounds" && i + 1 < words.Length)
                rounds = int.Parse(words[++i], CultureInfo.InvariantCulture);
            else if (words[i] == "--tp" && i + 1 < words.Length)
                flags.AddRange(["--tp", words[++i]]);
            else if (BenchModel.ShapeOf(words[i]) is { } known)
                shape = known;
            else if (Enum.TryParse(words[i], ignoreCase: true, out TensorType type))
                format = type;
            else
                throw new ArgumentException($"'{words[i]}' is no model, format or known word.");
        Directory.CreateDirectory(workFolder);
        string smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        string file = shape == RandomLlama.Shape.SmolLM2 && format is null ? smol : BenchModel.Write(shape, format ?? TensorType.Q8_0, workFolder, smol);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(file)}, {new FileInfo(file).Length / 1048576.0:F0} MiB, {program} {string.Join(' ', flags)}"));

        List<Round> counted = [];
        for (int round = 0; round <= rounds; round++)
        {
            ReadOnce(file);
            Round one = await StartOnceAsync(program, [.. flags, "--model", file, "--max-model-len", "8192", "--log-level", round == 0 ? "debug" : "error"], print: round == 0);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {(round == 0 ? "(warm)" : $"round {round}")} ready {one.Ready:F2} s; first request: first token {1e3 * one.First.FirstToken:F0} ms, {one.First.Rate:F1} tokens/s; later: {1e3 * one.LaterFirstToken:F0} ms, {one.LaterRate:F1}; memory {string.Join(", ", one.Memory)}"));
            if (round > 0)
                counted.Add(one);
        }
        Console.WriteLine($"  ready       {Spread.Of(counted.Select(one => one.Ready)).Text(2)} s");
        Console.WriteLine($"  first rate  {Spread.Of(counted.Select(one => one.First.Rate)).Text(1)} tokens/s of {Spread.Of(counted.Select(one => one.LaterRate)).Text(1)}: {Spread.Of(counted.Select(one => one.First.Rate / one.LaterRate)).Text(2)}");
        Console.WriteLine($"  first token {Spread.Of(counted.Select(one => 1e3 * one.First.FirstToken)).Text(0)} ms, later {Spread.Of(counted.Select(one => 1e3 * one.LaterFirstToken)).Text(0)} ms");
        for (int rank = 0; rank < counted[0].Memory.Count; rank++)
            Console.WriteLine($"  rank {rank}      anonymous {Spread.Of(counted.Select(one => one.Memory[rank].Anonymous)).Text(0)} MiB, VmHWM {Spread.Of(counted.Select(one => one.Memory[rank].HighWater)).Text(0)} MiB");
    }

    /// <summary>So that the page cache holds it.</summary>
    private static void ReadOnce(string file)
    {
        using FileStream stream = File.OpenRead(file);
        byte[] buffer = new byte[1 << 20];
        while (stream.Read(buffer) > 0)
        {
        }
    }

    private static async Task<Round> StartOnceAsync(string program, string[] arguments, bool print)
    {
        using CancellationTokenSource done = new();
        List<(double Seconds, string Line)> lines = [];
        using ServedModel server = ServedModel.Launch(program, arguments, line =>
        {
            lock (lines)
                lines.Add((ServedModel.Now(), line));
        });
        Task<IReadOnlyList<WorkerMemory>> watching = WatchAsync(server.Id, done.Token);
        double start = server.Started;
        try
        {
            double ready = await server.SaidAsync("serving");
            if (print)
                foreach ((double seconds, string line) in Snapshot())
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"    {seconds - start,6:F3} {line}"));
            Answer first = await AskAsync(server, 0);
            await done.CancelAsync();
            IReadOnlyList<WorkerMemory> memory = await watching;
            List<Answer> later = [];
            for (int request = 1; request <= LaterRequests; request++)
                later.Add(await AskAsync(server, request));
            return new Round(ready - start, first, Spread.Of(later.Select(answer => answer.FirstToken)).Median, Spread.Of(later.Select(answer => answer.Rate)).Median, memory);
        }
        finally
        {
            await done.CancelAsync();
            await server.StopAsync();
        }

        (double, string)[] Snapshot()
        {
            lock (lines)
                return [.. lines];
        }
    }

    private static async Task<Answer> AskAsync(ServedModel server, int seed)
    {
        int[] prompt = [.. Enumerable.Range(0, PromptTokens).Select(i => 1000 + (i * 37 + seed * 1009 + i * i * seed) % 5000)];
        TokenStream stream = await server.StreamAsync(prompt, AnswerTokens);
        return new Answer(stream.Times[0] - stream.Start, (stream.Tokens.Count - 1) / (stream.Times[^1] - stream.Times[0]));
    }

    /// <summary>The workers of a gateway, in the order of their ids, until the token.</summary>
    private static async Task<IReadOnlyList<WorkerMemory>> WatchAsync(int gateway, CancellationToken until)
    {
        SortedDictionary<int, WorkerMemory> most = [];
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(10));
        try
        {
            while (await pause.WaitForNextTickAsync(until))
                foreach (int pid in Children(gateway))
                {
                    WorkerMemory now = WorkerMemory.Read(pid);
                    WorkerMemory before = most.GetValueOrDefault(pid, new WorkerMemory(0, 0));
                    most[pid] = new WorkerMemory(Math.Max(before.Anonymous, now.Anonymous), Math.Max(before.HighWater, now.HighWater));
                }
        }
        catch (OperationCanceledException) when (until.IsCancellationRequested)
        {
            // The first request has ended.
        }
        return [.. most.Where(worker => Directory.Exists($"/proc/{worker.Key}")).Select(worker => worker.Value)];
    }

    private static int[] Children(int pid)
    {
        try
        {
            return [.. Directory.EnumerateDirectories($"/proc/{pid}/task").SelectMany(task => File.ReadAllText(task + "/children").Split(' ', StringSplitOptions.RemoveEmptyEntries)).Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
        }
        catch (IOException)
        {
            return []; // it has ended, or a thread of it
        }
    }

    /// <summary>One request: seconds to its first token, and tokens a second after it.</summary>
    private sealed record Answer(double FirstToken, double Rate);

    /// <summary>One life of a server.</summary>
    private sealed record Round(double Ready, Answer First, double LaterFirstToken, double LaterRate, IReadOnlyList<WorkerMemory> Memory);

    /// <summary>The most a worker held, in MiB: memory of its own, and all that was resident at once.</summary>
    private sealed record WorkerMemory(double Anonymous, double HighWater)
    {
        public static WorkerMemory Read(int pid)
        {
            try
            {
                Dictionary<string, double> fields = File.ReadLines($"/proc/{pid}/status").Select(line => line.Split(':', 2))
                    .Where(field => field[1].EndsWith(" kB", StringComparison.Ordinal))
                    .ToDictionary(field => field[0], field => double.Parse(field[1][..^3], CultureInfo.InvariantCulture) / 1024);
                return new WorkerMemory(fields.GetValueOrDefault("RssAnon") + fields.GetValueOrDefault("RssShmem"), fields.GetValueOrDefault("VmHWM"));
            }
            catch (IOException)
            {
                return new WorkerMemory(0, 0); // it has ended
            }
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Anonymous:F0} ({HighWater:F0}) MiB");
    }
}
