using System.Globalization;
using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>What a draft model gives and costs, through the whole server with two workers: tokens a second with and without guesses, turn by turn on one server; equal tokens.</summary>
/// <remarks>
/// The models hold random weights, of which all layers but the first two add a thousandth of what those add; the good draft is those two alone, which guesses as one that was
/// trained for it would where a text is easy; the bad one has other weights, and guesses nothing right. What a real pair gives lies between.
/// </remarks>
internal static class DraftBench
{
    private const int Rounds = 10, Tokens = 128, PromptTokens = 256;

    public static async Task RunAsync(string repository, string workFolder, string[] wanted)
    {
        Directory.CreateDirectory(workFolder);
        string program = ServedModel.Program(repository), smol = Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        foreach ((string word, RandomLlama.Shape shape, TensorType type) in new[] { ("smollm2", RandomLlama.Shape.SmolLM2, TensorType.Q4_1), ("1b", RandomLlama.Shape.Llama1B, TensorType.Q8_0) })
        {
            if (!Wanted(word))
                continue;
            string model = Write("deep", shape with { Living = 2 });
            Console.WriteLine($"{word} {type}: {Environment.ProcessorCount} cores, 2 workers of 1 thread");
            if (Wanted("good"))
                await CompareAsync(program, model, "good draft", Write("draft", shape with { Layers = 2 }));
            if (Wanted("bad"))
                await CompareAsync(program, model, "bad draft", Write("other", shape with { Layers = 2, Seed = 7 }));

            string Write(string what, RandomLlama.Shape own)
            {
                string path = Path.Combine(workFolder, $"{shape.Name}-{what}-{type}.gguf");
                RandomLlama.Write(path, own, type, smol);
                return path;
            }
        }

        // Words of a kind narrow each other; without one of a kind all of it is run.
        bool Wanted(string word) => (word is "good" or "bad" ? ["good", "bad"] : new[] { "smollm2", "1b" }) is var kind && (wanted.Contains(word) || !wanted.Any(kind.Contains));
    }

    private static async Task CompareAsync(string program, string model, string name, string draft)
    {
        await using ServedModel server = await ServedModel.StartAsync(program, "--model", model, "--draft", draft, "--max-model-len", "1024");
        foreach (int streams in new[] { 1, 4 })
        {
            List<double> plain = [], guessed = [], plainPrompt = [], guessedPrompt = [];
            List<int>?[] tokens = new List<int>?[streams];
            for (int round = 0; round < Rounds + 4; round++)
            {
                bool guesses = round % 2 == 1;
                TokenStream[] all = await Task.WhenAll(Enumerable.Range(0, streams).Select(stream => server.StreamAsync(Prompt(stream), Tokens, guesses ? 8 : 0)));
                for (int stream = 0; stream < streams; stream++)
                    if (!(tokens[stream] ??= all[stream].Tokens).SequenceEqual(all[stream].Tokens))
                        throw new InvalidOperationException("Guesses changed the tokens.");
                if (round < 4)
                    continue; // until all is compiled, and the times are known
                (guesses ? guessed : plain).Add(streams * (Tokens - 1) / (all.Max(stream => stream.Times[^1]) - all.Max(stream => stream.Times[0])));
                (guesses ? guessedPrompt : plainPrompt).Add(streams * PromptTokens / (all.Max(stream => stream.Times[0]) - all.Min(stream => stream.Start)));
            }
            Spread without = Spread.Of(plain), with = Spread.Of(guessed);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {name}, batch {streams}: {without.Text(1)} -> {with.Text(1)} tokens/s = {with.Median / without.Median:F2} x; prompt {Spread.Of(plainPrompt).Text(0)} -> {Spread.Of(guessedPrompt).Text(0)} tokens/s; equal tokens"));
        }
    }

    private static int[] Prompt(int seed) => [.. Enumerable.Range(0, PromptTokens).Select(i => 1000 + (i * 37 + seed * 1009 + i * i * (seed + 1)) % 5000)];
}
