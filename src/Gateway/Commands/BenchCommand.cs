using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using TpServe.Gateway.Commands.Bench;
using TpServe.Gateway.Reports.Inputs;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve bench: loads a running server, ours over gRPC or any of OpenAI's API, and tells its latencies and throughput as vLLM's `bench serve` does.</summary>
internal sealed class BenchCommand
{
    private const int MostPrompts = 1_000_000;

    private readonly Option<string?> _baseUrl = new("--base-url") { Description = "A server of OpenAI's API to load, instead of ours over gRPC.", HelpName = "URL" };
    private readonly Option<string> _server = new("--server") { Description = "Address of a running server's gRPC interface.", HelpName = "URL", DefaultValueFactory = _ => "http://127.0.0.1:8081" };
    private readonly Option<string?> _key = new("--api-key") { Description = "Key that the server asks for; @FILE reads it from a file.", HelpName = "KEY" };
    private readonly Option<string?> _model = new("--model") { Description = "With --base-url: the model that requests name. Default: the first that the server lists.", HelpName = "NAME" };
    private readonly Option<bool> _chat = new("--chat") { Description = "With --base-url: /v1/chat/completions instead of /v1/completions." };
    private readonly Option<int> _prompts = new("--num-prompts") { Description = "Requests in all.", HelpName = "N", DefaultValueFactory = _ => 100 };
    private readonly Option<string> _rate = new("--request-rate") { Description = "Requests a second on average; inf sends all at once.", HelpName = "R", DefaultValueFactory = _ => "inf" };
    private readonly Option<double> _burstiness = new("--burstiness") { Description = "Shape of the gaps between arrivals: 1 = Poisson, less comes in bursts, more is even.", HelpName = "B", DefaultValueFactory = _ => 1 };
    private readonly Option<int?> _concurrency = new("--max-concurrency") { Description = "Most requests at once; others wait for a place before they are sent.", HelpName = "N" };
    private readonly Option<int> _input = new("--input-len") { Description = "Tokens of a random prompt; over HTTP near enough.", HelpName = "N", DefaultValueFactory = _ => 128 };
    private readonly Option<int> _output = new("--output-len") { Description = "Most tokens of an answer.", HelpName = "N", DefaultValueFactory = _ => 64 };
    private readonly Option<double> _ratio = new("--range-ratio") { Description = "Lengths are uniform within this share of them, 0 to 1.", HelpName = "R", DefaultValueFactory = _ => 0 };
    private readonly Option<string?> _dataset = new("--dataset") { Description = "File of prompts instead of random ones: a line is a JSON string, or an object with \"prompt\" and perhaps \"output_tokens\".", HelpName = "FILE.jsonl" };
    private readonly Option<int> _seed = new("--seed") { Description = "Chooses prompts, lengths and arrivals.", HelpName = "N", DefaultValueFactory = _ => 0 };
    private readonly Option<bool> _ignoreEos = new("--ignore-eos") { Description = "Answers go on to their last token." };
    private readonly Option<float?> _temperature = new("--temperature") { Description = "0 = greedy. Default: the server's.", HelpName = "T" };
    private readonly Option<string[]> _goodput = new("--goodput") { Description = "Bounds in milliseconds that a good request keeps: ttft:500 tpot:50 e2el:5000.", HelpName = "NAME:MS", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string> _percentiles = new("--percentiles") { Description = "Percentiles told beside mean and median.", HelpName = "P,…", DefaultValueFactory = _ => "90,99" };
    private readonly Option<int> _timeout = new("--timeout") { Description = "Seconds that a request may take.", HelpName = "N", DefaultValueFactory = _ => 600 };
    private readonly Option<string?> _json = new("--json") { Description = "File for all figures, in the names of vLLM's bench serve.", HelpName = "FILE" };

    public static Command Create()
    {
        BenchCommand own = new();
        Command bench = new("bench", "Loads a running server and tells its latencies and throughput; exit code 1 where a request failed.");
        foreach (Option option in new Option[] { own._baseUrl, own._server, own._key, own._model, own._chat, own._prompts, own._rate, own._burstiness, own._concurrency, own._input, own._output, own._ratio, own._dataset, own._seed, own._ignoreEos, own._temperature, own._goodput, own._percentiles, own._timeout, own._json })
            bench.Options.Add(option);
        bench.SetAction(own.RunAsync);
        return bench;
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellation)
    {
        try
        {
            // 1. What is wrong is said before anything is sent.
            BenchOrder order = OrderOf(parsed);
            using IBenchTarget target = TargetOf(parsed);
            PromptPool pool = await target.PrepareAsync(cancellation);
            IReadOnlyList<BenchRequest> requests = parsed.GetValue(_dataset) is { } file
                ? BenchWorkload.OfFile(file, order.Prompts, parsed.GetValue(_output))
                : BenchWorkload.Random(pool, order.Prompts, parsed.GetValue(_input), parsed.GetValue(_output), parsed.GetValue(_ratio), order.Seed);
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"bench     {target.Name}: {order.Prompts} requests, {(double.IsPositiveInfinity(order.Rate) ? "all at once" : $"{order.Rate} a second, burstiness {order.Burstiness}")}{(order.Concurrency is { } most ? $", at most {most} at once" : "")}"));

            // 2. Load.
            (IReadOnlyList<BenchRecord> records, double seconds) result;
            using (BenchProgress progress = new(order.Prompts))
                result = await BenchRun.RunAsync(target, order, requests, progress.Add, cancellation);
            if (result.records.Count == 0)
                return Fail("cancelled before a request was sent.");

            // 3. Tell.
            BenchFigures figures = new(order, result.records, result.seconds);
            foreach (string line in figures.Lines())
                Console.WriteLine(line);
            if (parsed.GetValue(_json) is { } path)
                await File.WriteAllTextAsync(path, figures.ToJson(target.Name, TimeProvider.System.GetUtcNow()).ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n", CancellationToken.None);
            return figures.Failures.Count == 0 ? 0 : 1;
        }
        catch (Exception fault) when (fault is BenchFault or FormatException or InputFileException or IOException or UnauthorizedAccessException)
        {
            return Fail(fault.Message);
        }
        catch (OperationCanceledException)
        {
            return Fail("cancelled before a request was sent.");
        }
    }

    private BenchOrder OrderOf(ParseResult parsed) => new()
    {
        Prompts = Within(_prompts, parsed.GetValue(_prompts), 1, MostPrompts),
        Rate = RateOf(parsed.GetValue(_rate)!),
        Burstiness = Within(_burstiness, parsed.GetValue(_burstiness), 0.01, 1000),
        Concurrency = parsed.GetValue(_concurrency) is { } most ? Within(_concurrency, most, 1, MostPrompts) : null,
        Seed = parsed.GetValue(_seed),
        Timeout = TimeSpan.FromSeconds(Within(_timeout, parsed.GetValue(_timeout), 1, 86_400)),
        Percentiles = PercentilesOf(parsed.GetValue(_percentiles)!),
        Goodput = Goodput.Parse(parsed.GetValue(_goodput) ?? []),
    };

    private IBenchTarget TargetOf(ParseResult parsed)
    {
        Within(_input, parsed.GetValue(_input), 1, MostPrompts);
        Within(_output, parsed.GetValue(_output), 1, MostPrompts);
        Within(_ratio, parsed.GetValue(_ratio), 0, 1);
        string? url = parsed.GetValue(_baseUrl), key = RemoteServer.ReadKey(parsed.GetValue(_key));
        if (!ServerAddress.TryParse(url ?? parsed.GetValue(_server)!, out Uri? address, out string fault))
            throw new BenchFault(url is null ? fault : fault.Replace("--server", "--base-url", StringComparison.Ordinal));
        return url is null
            ? new GrpcTarget(address, key, parsed.GetValue(_ignoreEos), parsed.GetValue(_temperature))
            : new OpenAiTarget(address, key, parsed.GetValue(_model), parsed.GetValue(_chat), parsed.GetValue(_ignoreEos), parsed.GetValue(_temperature));
    }

    private static double RateOf(string text) => text == "inf" ? double.PositiveInfinity
        : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double rate) && rate > 0 && double.IsFinite(rate) ? rate
        : throw new BenchFault($"--request-rate {text}: write a number above 0, or inf.");

    private static double[] PercentilesOf(string text) => [.. text.Split(',', StringSplitOptions.TrimEntries).Select(part =>
        double.TryParse(part, NumberStyles.Float, CultureInfo.InvariantCulture, out double p) && p is >= 0 and <= 100 ? p : throw new BenchFault($"--percentiles {text}: '{part}' is not in 0..100."))];

    private static T Within<T>(Option option, T value, T least, T most) where T : IComparable<T> => value.CompareTo(least) >= 0 && value.CompareTo(most) <= 0
        ? value
        : throw new BenchFault(string.Create(CultureInfo.InvariantCulture, $"{option.Name} {value}: it must be in {least}..{most}."));

    private static int Fail(string reason)
    {
        UsageFault.Tell("bench: " + reason);
        return 1;
    }
}
