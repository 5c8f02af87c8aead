using System.Diagnostics;
using System.Globalization;

namespace TpServe.Benchmarks;

/// <summary>Many streams at once, on SmolLM2: beside llama.cpp, what the gateway's process takes of a step, how streams fare beside a long prompt, and what being watched costs.</summary>
/// <remarks>
/// Usage     load [--rounds N]
/// Beside    16 and 32 sequences decode. Ours through HTTP, server-sent events read by this process; theirs as node-llama-cpp ships it, one batched context in its own process
///           (<see cref="LlamaCpp"/>), without HTTP or text of tokens sent: what its server would add to that is on no account of theirs. Turn by turn; a ratio is of one round.
/// Gateway   the processor time of its process (all threads) by the time that passed while 32 streams decoded.
/// Stutter   the gaps between tokens of 16 streams while a prompt of 2,000 tokens prefills.
/// Watched   steps of 32 streams with log level information and /metrics read every second, beside neither: two servers, turn by turn.
/// </remarks>
internal static class LoadBench
{
    private const int Decoded = 64, Together = 192, LongPrompt = 2000, Gateways = 32, Stuttering = 16;

    public static async Task RunAsync(string repository, string[] words)
    {
        int rounds = words is ["--rounds", string count] ? int.Parse(count, CultureInfo.InvariantCulture) : 5;
        string file = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"), program = ServedModel.Program(repository);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessorCount} cores, {rounds} rounds; median (range)"));
        await using (LlamaCpp theirs = await LlamaCpp.StartAsync(LlamaCpp.Folder(repository), file))
        await using (ServedModel ours = await ServedModel.StartAsync(program, "--model", file, "--max-model-len", "4096"))
        {
            Console.WriteLine($"llama.cpp: {theirs.Library}");
            foreach (int sequences in new[] { 16, 32 })
                await BesideAsync(new Workload(sequences, 16, Together), rounds, theirs, ours);
        }
        await using (ServedModel server = await ServedModel.StartAsync(program, "--model", file, "--max-model-len", "4096"))
        {
            await DecodeAsync(server);
            List<Decoding> runs = [];
            for (int round = 0; round < rounds; round++)
                runs.Add(await DecodeAsync(server));
            Console.WriteLine($"gateway    {Gateways} streams: {Spread.Of(runs.Select(run => 100 * run.GatewayShare)).Text(1)} % of one processor; step {Spread.Of(runs.Select(run => 1e3 * run.StepSeconds)).Text(2)} ms, of that the gateway's processor time {Spread.Of(runs.Select(run => 1e6 * run.GatewayShare * run.StepSeconds)).Text(0)} us");
            List<double> medians = [], ratios = [];
            for (int round = 0; round < rounds; round++)
            {
                (double median, double p99) = await StutterAsync(server);
                medians.Add(median);
                ratios.Add(p99 / median);
            }
            Console.WriteLine($"stutter    {Stuttering} streams beside a prompt of {LongPrompt}: gap median {Spread.Of(medians).Text(1)} ms, p99 {Spread.Of(ratios).Text(2)} x");
        }
        await WatchedAsync(program, file, rounds);
    }

    private static async Task BesideAsync(Workload work, int rounds, LlamaCpp theirs, ServedModel ours)
    {
        int cores = Environment.ProcessorCount;
        LlamaCppSetting[] settings = [new(cores, false), new(cores, true)];
        foreach (LlamaCppSetting setting in settings)
            await theirs.RunAsync(work, setting);
        await work.RunAsync(ours);
        Dictionary<LlamaCppSetting, List<double>> their = settings.ToDictionary(setting => setting, _ => new List<double>());
        List<double> our = [];
        for (int round = 0; round < rounds; round++)
        {
            if (round % 2 == 1)
                our.Add((await work.RunAsync(ours))[0]);
            foreach (LlamaCppSetting setting in settings)
                their[setting].Add((await theirs.RunAsync(work, setting))[0]);
            if (round % 2 == 0)
                our.Add((await work.RunAsync(ours))[0]);
        }
        (LlamaCppSetting best, List<double> rates) = their.MaxBy(tried => Spread.Of(tried.Value).Median);
        Console.WriteLine($"beside     {work.Sequences} streams: {Spread.Of(rates).Text(0)} {best} -> {Spread.Of(our).Text(0)} tokens/s; ratio {Spread.Of(our.Zip(rates, (a, b) => a / b)).Text(2)}");
    }

    private static async Task<Decoding> DecodeAsync(ServedModel server)
    {
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously), ends = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int running = 0;
        Task[] all = [.. Enumerable.Range(0, Gateways).Select(stream => server.StreamAsync(ServingBench.Prompt(16, stream), 2 * Decoded, came: count =>
        {
            if (count == 8 && Interlocked.Increment(ref running) == Gateways)
                begun.TrySetResult();
            if (count == (2 * Decoded) - 4)
                ends.TrySetResult();
        }))];
        using Process gateway = Process.GetProcessById(server.Id);
        await begun.Task;
        (double cpu, double at, long steps) = (Cpu(), ServedModel.Now(), (await ServingBench.TotalsAsync(server))[0].Steps);
        await ends.Task;
        (double cpuThen, double then, long stepsThen) = (Cpu(), ServedModel.Now(), (await ServingBench.TotalsAsync(server))[0].Steps);
        await Task.WhenAll(all);
        return new Decoding((then - at) / (stepsThen - steps), (cpuThen - cpu) / (then - at));

        double Cpu()
        {
            gateway.Refresh();
            return gateway.TotalProcessorTime.TotalSeconds;
        }
    }

    private static async Task<(double Median, double P99)> StutterAsync(ServedModel server)
    {
        bool prefilling = false;
        List<double> gaps = [];
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int running = 0;
        using CancellationTokenSource enough = new();
        Task[] all = [.. Enumerable.Range(0, Stuttering).Select(async stream =>
        {
            double last = 0;
            try
            {
                await server.StreamAsync(ServingBench.Prompt(16, stream), 3000, came: count =>
                {
                    double now = ServedModel.Now();
                    if (Volatile.Read(ref prefilling) && last != 0)
                        lock (gaps)
                            gaps.Add(1e3 * (now - last));
                    last = now;
                    if (count == 8 && Interlocked.Increment(ref running) == Stuttering)
                        begun.TrySetResult();
                }, cancellation: enough.Token);
            }
            catch (OperationCanceledException) when (enough.IsCancellationRequested)
            {
                // It has told what it was for.
            }
        })];
        await begun.Task;
        Volatile.Write(ref prefilling, true);
        await server.StreamAsync(ServingBench.Prompt(LongPrompt, 99), 1);
        Volatile.Write(ref prefilling, false);
        await enough.CancelAsync();
        await Task.WhenAll(all);
        double[] sorted = [.. gaps.Order()];
        return (sorted[sorted.Length / 2], sorted[(int)(sorted.Length * 0.99)]);
    }

    private static async Task WatchedAsync(string program, string file, int rounds)
    {
        await using ServedModel quiet = await ServedModel.StartAsync(program, "--model", file, "--log-level", "error");
        await using ServedModel watched = await ServedModel.StartAsync(program, "--model", file, "--log-level", "information");
        using CancellationTokenSource enough = new();
        Task scraping = ScrapeAsync();
        await DecodeAsync(quiet);
        await DecodeAsync(watched);
        List<double> without = [], with = [];
        for (int round = 0; round < rounds; round++)
        {
            without.Add(1e3 * (await DecodeAsync(quiet)).StepSeconds);
            with.Add(1e3 * (await DecodeAsync(watched)).StepSeconds);
        }
        await enough.CancelAsync();
        await scraping;
        Console.WriteLine($"watched    {Gateways} streams: step {Spread.Of(without).Text(2)} -> {Spread.Of(with).Text(2)} ms with logs and a scrape a second; ratio {Spread.Of(with.Zip(without, (a, b) => a / b)).Text(3)}");

        async Task ScrapeAsync()
        {
            using PeriodicTimer second = new(TimeSpan.FromSeconds(1));
            try
            {
                while (await second.WaitForNextTickAsync(enough.Token))
                    await watched.Http.GetStringAsync(new Uri("/metrics", UriKind.Relative), enough.Token);
            }
            catch (OperationCanceledException)
            {
                // Enough.
            }
        }
    }

    /// <summary>What a run of decoding streams came to.</summary>
    /// <param name="StepSeconds">A step's time.</param>
    /// <param name="GatewayShare">The gateway's processor time by time.</param>
    private sealed record Decoding(double StepSeconds, double GatewayShare);
}
