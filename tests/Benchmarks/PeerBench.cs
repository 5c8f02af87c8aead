using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Benchmarks;

/// <summary>Whole models beside llama.cpp: the same file, the same machine, turn by turn in one run.</summary>
/// <remarks>
/// Usage     peers [MODEL…] [batch] [b16] [context] [avx2] [--rounds N] [--json FILE]. A model is any part of a name (1b, q8_0, "llama-1b q8_0"); without one all run.
///           batch: 8 and 32 sequences at once; b16: 16. context: prompts of 2,000 and 8,000 tokens. avx2: both sides on AVX2.
/// Ours is what a user gets: the server's own process and its workers with their default degree, over HTTP, prompts as token ids. Theirs is llama.cpp in its own
/// process (<see cref="LlamaCpp"/>). Both stay up with the model loaded and take turns, round by round, because shared machines drift; who begins alternates.
/// Theirs is tried on one thread, on all cores, and there with and without its fused attention; what is far behind in the first try is dropped, and the best median
/// counts. A ratio is ours by theirs in one round; printed are the medians and ranges of rates and of ratios.
/// Where one sequence decodes after a short prompt, the weights of the file are read once a token: their share of the streaming read, which is measured
/// before and after each round; the better counts.
/// </remarks>
internal static class PeerBench
{
    private const double NearEnough = 0.85;
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    public static async Task RunAsync(string repository, string workFolder, string[] words)
    {
        Wish wish = Wish.Read(words);
        string peers = LlamaCpp.Folder(repository), smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        if (wish.Avx2)
            peers = LlamaCpp.Avx2Folder(peers, workFolder);
        using CpuThreads threads = new(Environment.ProcessorCount);
        using MachineLimits limits = new(threads, InstructionFamily.Of(wish.Avx2 ? IsaPath.Avx2 : Isa.Detect()) ?? throw new PlatformNotSupportedException("The limits of the machine are measured by emitted code."));
        long start = Stopwatch.GetTimestamp();
        Console.WriteLine($"{Environment.ProcessorCount} cores, {wish.Rounds} rounds; tokens/s and ratios: median (range); of read: the file's bytes times tokens/s by the streaming read");
        List<object> results = [];
        string library = "";
        for (int i = 0; i < wish.Models.Count; i++)
        {
            BenchModel model = wish.Models[i];
            string file = BenchModel.Write(model.Shape, model.Format, workFolder, smol);
            Progress(start, $"[{i + 1}/{wish.Models.Count}] {model.Name}: loading");
            await using LlamaCpp theirs = await LlamaCpp.StartAsync(peers, file);
            await using ServedModel ours = await ServedModel.StartAsync(
                ServedModel.Program(repository), wish.Avx2 ? [("DOTNET_EnableAVX512", "0")] : [],
                ["--model", file, "--max-model-len", wish.Context ? "8192" : "1024", .. wish.Avx2 ? ["--isa", "avx2"] : Array.Empty<string>()]);
            if (i == 0)
            {
                library = theirs.Library;
                using JsonDocument topology = JsonDocument.Parse(await ours.Http.GetStringAsync(new Uri("/topology", UriKind.Relative)));
                Console.WriteLine($"llama.cpp: {library}\nTpServe: {string.Join("; ", topology.RootElement.GetProperty("ranks").EnumerateArray().Select(rank => rank.GetProperty("backend").GetString()))}");
                Console.WriteLine($"{"model",-18} {"phase",-13} {"llama.cpp",-29} {"TpServe",-22} {"ratio",-18} of read: theirs, ours");
            }
            foreach (Workload work in wish.Works)
            {
                Progress(start, $"[{i + 1}/{wish.Models.Count}] {model.Name}: {string.Join(", ", work.Phases)}");
                results.AddRange(await MeasureAsync(model, new FileInfo(file).Length, work, wish.Rounds, theirs, ours, limits));
            }
        }
        double minutes = Stopwatch.GetElapsedTime(start).TotalMinutes;
        Console.WriteLine($"{minutes:F1} minutes");
        if (wish.Json is { } json)
            await File.WriteAllTextAsync(json, JsonSerializer.Serialize(new { cores = Environment.ProcessorCount, llamaCpp = library, avx2 = wish.Avx2, minutes, results }, s_json));
    }

    private static async Task<IEnumerable<object>> MeasureAsync(BenchModel model, long fileBytes, Workload work, int rounds, LlamaCpp theirs, ServedModel ours, MachineLimits limits)
    {
        // 1. Both come warm; settings that are far behind in every phase are dropped.
        int cores = Environment.ProcessorCount;
        List<(LlamaCppSetting Setting, double[] Rates)> tries = [];
        await theirs.RunAsync(work with { DecodeTokens = Math.Min(work.DecodeTokens, 2) }, new LlamaCppSetting(cores, false));
        foreach (LlamaCppSetting setting in new LlamaCppSetting[] { new(cores, false), new(cores, true), new(1, false) }.Distinct())
            tries.Add((setting, await theirs.RunAsync(work, setting)));
        double[] best = [.. work.Phases.Select((_, phase) => tries.Max(tried => tried.Rates[phase]))];
        LlamaCppSetting[] settings = [.. tries.Where(tried => tried.Rates.Where((rate, phase) => rate >= NearEnough * best[phase]).Any()).Select(tried => tried.Setting)];
        await work.RunAsync(ours);

        // 2. Turn by turn.
        Dictionary<LlamaCppSetting, List<double[]>> theirRates = settings.ToDictionary(setting => setting, _ => new List<double[]>());
        List<double[]> ourRates = [];
        List<double> reads = [];
        for (int round = 0; round < rounds; round++)
        {
            double read = limits.ReadGigabytes();
            if (round % 2 == 1)
                ourRates.Add(await work.RunAsync(ours));
            foreach (LlamaCppSetting setting in settings)
                theirRates[setting].Add(await theirs.RunAsync(work, setting));
            if (round % 2 == 0)
                ourRates.Add(await work.RunAsync(ours));
            reads.Add(Math.Max(read, limits.ReadGigabytes()));
        }

        // 3. Their best setting of each phase beside ours.
        List<object> results = [];
        for (int i = 0; i < work.Phases.Count; i++)
        {
            int phase = i;
            LlamaCppSetting chosen = settings.MaxBy(setting => Spread.Of(theirRates[setting].Select(rates => rates[phase])).Median)!;
            double[] theirPhase = [.. theirRates[chosen].Select(rates => rates[phase])], ourPhase = [.. ourRates.Select(rates => rates[phase])];
            Spread their = Spread.Of(theirPhase), our = Spread.Of(ourPhase), ratio = Spread.Of(ourPhase.Zip(theirPhase, (a, b) => a / b));
            bool readsWeights = Workload.ReadsWeights(work.Phases[phase]);
            double? theirShare = readsWeights ? Share(theirPhase) : null, ourShare = readsWeights ? Share(ourPhase) : null;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{model.Name,-18} {work.Phases[phase],-13} {their.Text(1) + " " + chosen,-29} {our.Text(1),-22} {ratio.Text(2),-18} {(readsWeights ? $"{theirShare:F2}, {ourShare:F2}" : "")}").TrimEnd());
            results.Add(new { model = model.Name, phase = work.Phases[phase], setting = chosen.ToString(), theirs = theirPhase, ours = ourPhase, ratio, theirShare, ourShare });
        }
        return results;

        double Share(double[] rates) => Spread.Of(rates.Zip(reads, (rate, read) => fileBytes * rate / 1e9 / read)).Median;
    }

    private static void Progress(long start, string what) =>
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(start).TotalMinutes,5:F1} min  {what}"));

    /// <summary>What the words ask for.</summary>
    private sealed record Wish(List<BenchModel> Models, List<Workload> Works, bool Context, bool Avx2, int Rounds, string? Json)
    {
        public static Wish Read(string[] words)
        {
            List<string> names = [];
            List<Workload> works = [Workload.Usual, new Workload(1, 512, 0)];
            bool context = false, avx2 = false;
            int rounds = 3;
            string? json = null;
            for (int i = 0; i < words.Length; i++)
                switch (words[i])
                {
                    case "batch":
                        works.AddRange([new Workload(8, 16, 48), new Workload(32, 16, 48)]);
                        break;
                    case "b16":
                        works.Add(new Workload(16, 16, 48));
                        break;
                    case "context":
                        works.AddRange([new Workload(1, 2000, 32), new Workload(1, 8000, 32)]);
                        context = true;
                        break;
                    case "avx2":
                        avx2 = true;
                        break;
                    case "--rounds" when i + 1 < words.Length:
                        rounds = int.Parse(words[++i], CultureInfo.InvariantCulture);
                        break;
                    case "--json" when i + 1 < words.Length:
                        json = words[++i];
                        break;
                    default:
                        names.Add(words[i]);
                        break;
                }
            List<BenchModel> models = [.. BenchModel.All.Where(model => names.Count == 0 || names.Any(name => model.Name.Contains(name, StringComparison.OrdinalIgnoreCase)))];
            if (models.Count == 0)
                throw new ArgumentException($"No model is named {string.Join(" or ", names)}; there are {string.Join(", ", BenchModel.All.Select(model => model.Name))}.");
            return new Wish(models, works, context, avx2, rounds, json);
        }
    }
}
