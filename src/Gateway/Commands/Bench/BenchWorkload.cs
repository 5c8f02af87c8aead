using System.Globalization;
using System.Text.Json;
using TpServe.Gateway.Reports.Inputs;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>What prompts are put together of: token ids where the server takes them, else words.</summary>
/// <param name="Words">Words; empty where there are ids.</param>
/// <param name="TokenIds">Token ids; empty where there are words.</param>
/// <param name="TokensPerWord">How many tokens a word is on average; 1 for ids.</param>
internal sealed record PromptPool(IReadOnlyList<string> Words, IReadOnlyList<int> TokenIds, double TokensPerWord);

/// <summary>Requests and when they arrive. Pure: a seed decides.</summary>
internal static class BenchWorkload
{
    private const string Flag = "--dataset";

    /// <summary>Requests of random units; lengths are uniform in length · (1 ± ratio).</summary>
    public static IReadOnlyList<BenchRequest> Random(PromptPool pool, int count, int inputLength, int outputLength, double rangeRatio, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ =>
        {
            int input = Length(inputLength), output = Length(outputLength);
            int units = Math.Max(1, (int)Math.Round(input / pool.TokensPerWord));
            return pool.TokenIds.Count > 0
                ? new BenchRequest("", [.. Enumerable.Range(0, units).Select(_ => pool.TokenIds[random.Next(pool.TokenIds.Count)])], output)
                : new BenchRequest(string.Join(' ', Enumerable.Range(0, units).Select(_ => pool.Words[random.Next(pool.Words.Count)])), [], output);
        })];

        int Length(int middle) => Math.Max(1, random.Next((int)Math.Ceiling(middle * (1 - rangeRatio)), (int)Math.Floor(middle * (1 + rangeRatio)) + 1));
    }

    /// <summary>Requests of a file, in its order and from its beginning again where it is too short: a line is a JSON object with "prompt" and perhaps "output_tokens", or a JSON string.</summary>
    /// <exception cref="InputFileException">A line is none.</exception>
    public static IReadOnlyList<BenchRequest> OfFile(string path, int count, int outputLength)
    {
        List<BenchRequest> requests = [];
        foreach ((int number, string line) in InputFile.ReadLines(Flag, path))
            requests.Add(Parse(path, number, line, outputLength));
        if (requests.Count == 0)
            throw new InputFileException($"{Flag} {path} holds no prompt.");
        return [.. Enumerable.Range(0, count).Select(at => requests[at % requests.Count])];
    }

    private static BenchRequest Parse(string path, int number, string line, int outputLength)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line, InputFile.Json);
            JsonElement value = document.RootElement;
            int output = outputLength;
            if (value.ValueKind == JsonValueKind.Object)
            {
                if (value.TryGetProperty("output_tokens", out JsonElement tokens) && (tokens.ValueKind != JsonValueKind.Number || !tokens.TryGetInt32(out output) || output < 1))
                    throw new InputFileException(Flag, path, number, "\"output_tokens\" is no whole number from 1 on.");
                value = value.TryGetProperty("prompt", out JsonElement prompt) ? prompt : throw new InputFileException(Flag, path, number, "the object has no \"prompt\".");
            }
            return value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text
                ? new BenchRequest(text, [], output)
                : throw new InputFileException(Flag, path, number, "the prompt is no string, or an empty one.");
        }
        catch (JsonException fault)
        {
            throw new InputFileException(Flag, path, number, InputFile.Reason(fault));
        }
    }

    /// <summary>Seconds after the beginning at which each request arrives, ascending; gaps are gamma distributed, and the last one comes when the rate says.</summary>
    /// <remarks>
    /// Numerics gaps are scaled so that the mean rate is the one asked for, as vLLM's `bench serve` does.
    /// Source   Marsaglia and Tsang 2000, "A simple method for generating gamma variables".
    /// </remarks>
    public static double[] Arrivals(int count, double rate, double burstiness, int seed)
    {
        double[] times = new double[count];
        if (double.IsPositiveInfinity(rate) || count < 2)
            return times;
        Random random = new(seed ^ 0x5bd1e995);
        for (int at = 1; at < count; at++)
            times[at] = times[at - 1] + Gamma(random, burstiness);
        double scale = times[^1] > 0 ? (count - 1) / rate / times[^1] : 0;
        return [.. times.Select(time => time * scale)];
    }

    private static double Gamma(Random random, double shape)
    {
        if (shape < 1)
            return Gamma(random, shape + 1) * Math.Pow(1 - random.NextDouble(), 1 / shape);
        double d = shape - (1 / 3.0), c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            double x = Normal(random), v = 1 + (c * x);
            if (v <= 0)
                continue;
            v *= v * v;
            if (Math.Log(1 - random.NextDouble()) < (0.5 * x * x) + d - (d * v) + (d * Math.Log(v)))
                return d * v;
        }
    }

    private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    /// <summary>The words that prompts are put together of where only text may be sent.</summary>
    public static IReadOnlyList<string> Words { get; } =
        [.. SyntheticMix.EmbeddedText.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Distinct().Order(StringComparer.Create(CultureInfo.InvariantCulture, ignoreCase: false))];
}
