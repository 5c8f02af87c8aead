using System.Globalization;

namespace TpServe.Benchmarks;

/// <summary>What tensor parallelism costs or brings where it adds no hardware: all cores in one worker, beside workers that share them, turn by turn in one run.</summary>
/// <remarks>
/// Usage     tp [smollm2|1b…] [--rounds N]. All servers stay up with the model loaded; the order of turns rotates. Ratios are taken within a round, to one worker.
/// </remarks>
internal static class TpBench
{
    public static async Task RunAsync(string repository, string workFolder, string[] words)
    {
        int at = Array.IndexOf(words, "--rounds"), rounds = at >= 0 ? int.Parse(words[at + 1], CultureInfo.InvariantCulture) : 6;
        string[] names = at >= 0 ? [.. words[..at], .. words[(at + 2)..]] : words;
        int cores = Environment.ProcessorCount, half = Math.Max(1, cores / 2);
        (string Name, string[] Arguments)[] groups =
        [
            ($"1 x {cores} threads", ["--tp", "1", "--threads", Text(cores)]),
            ($"2 x {half}, shm", ["--tp", "2", "--threads", Text(half), "--transport", "shm"]),
            ($"2 x {half}, ring", ["--tp", "2", "--threads", Text(half), "--transport", "ring"]),
        ];
        string smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        Workload work = Workload.Usual;
        Console.WriteLine($"{cores} cores; tokens/s, median (range) of {rounds} rounds; ratio to one worker in the same round");
        Console.WriteLine($"{"model",-18} {"phase",-12} {"workers",-16} {"tokens/s",-24} ratio");
        foreach (BenchModel model in BenchModel.All.Take(2)) // SmolLM2, and the 1B shape with 8-bit weights
        {
            if (names.Length > 0 && !names.Any(name => model.Name.Contains(name, StringComparison.OrdinalIgnoreCase)))
                continue;
            string file = BenchModel.Write(model.Shape, model.Format, workFolder, smol);
            List<ServedModel> servers = [];
            try
            {
                foreach ((string name, string[] arguments) in groups)
                {
                    Console.Error.WriteLine($"{model.Name}: loading {name}");
                    servers.Add(await ServedModel.StartAsync(ServedModel.Program(repository), ["--model", file, "--max-model-len", "1024", "--device", "cpu", .. arguments]));
                }
                List<double[]>[] rates = [.. groups.Select(_ => new List<double[]>())];
                for (int round = -1; round < rounds; round++)
                    for (int turn = 0; turn < groups.Length; turn++)
                    {
                        int group = (turn + round + 1) % groups.Length;
                        double[] measured = await work.RunAsync(servers[group]);
                        if (round >= 0) // the first round warms up
                            rates[group].Add(measured);
                    }
                for (int phase = 0; phase < work.Phases.Count; phase++)
                    for (int group = 0; group < groups.Length; group++)
                    {
                        Spread ratio = Spread.Of(rates[group].Zip(rates[0], (mine, one) => mine[phase] / one[phase]));
                        Console.WriteLine($"{model.Name,-18} {work.Phases[phase],-12} {groups[group].Name,-16} {Spread.Of(rates[group].Select(rate => rate[phase])).Text(1),-24} {(group == 0 ? "" : ratio.Text(2))}".TrimEnd());
                    }
            }
            finally
            {
                foreach (ServedModel server in servers)
                    await server.DisposeAsync();
            }
        }
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
