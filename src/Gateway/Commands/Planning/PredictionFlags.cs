using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The flags of tpserve plan that ask for a prediction. They are no settings: serve has none of them.</summary>
internal sealed class PredictionFlags
{
    private const int MostTokens = 1 << 24, MostBatch = 1 << 14;

    private readonly Option<string?> _devices = new("--devices")
    {
        Description = "Plans for the devices of this JSON file, which need not be here: names of common GPUs and CPUs with counts, data sheets or measured profiles, links.",
        HelpName = "FILE.json",
    };

    private readonly Option<bool> _measure = new("--measure") { Description = "Plans for the workers that serve would have here, as they are now: starts them, times them and the ways between them (some seconds)." };
    private readonly Option<bool> _fresh = new("--fresh") { Description = "With --measure: times the workers even where a profile of them is kept, and keeps the new one." };
    private readonly Option<string?> _objective = new("--objective") { Description = "What the plan is to be good at. Default: latency.", HelpName = string.Join('|', Words.Objectives.All) };
    private readonly Option<string?> _prompt = new("--prompt-tokens") { Description = "Tokens of a prompt. Default: 512.", HelpName = "N" };
    private readonly Option<string?> _output = new("--output-tokens") { Description = "Tokens generated for it. Default: 128.", HelpName = "N" };
    private readonly Option<string?> _batch = new("--batch") { Description = "Requests that decode together. Default: 1 for latency, 32 for throughput.", HelpName = "N" };
    private readonly Option<string?> _context = new("--context") { Description = "Tokens of KV cache that each of them must have room for. Default: prompt and output.", HelpName = "N" };
    private readonly Option<string?> _chunk = new("--chunk") { Description = "Most prompt tokens of a step. Default: 512.", HelpName = "N" };
    private readonly Option<bool> _explain = new("--explain") { Description = "Say which rank bounds which phase, and why." };
    private readonly Option<bool> _json = new("--json") { Description = "Print JSON." };
    private readonly Option<bool> _compose = new("--compose") { Description = "Print the docker-compose.override.yml of the plan." };

    private IEnumerable<Option> All => [_devices, _measure, _fresh, _objective, _prompt, _output, _batch, _context, _chunk, _explain, _json, _compose];

    /// <summary>Gives a command these flags.</summary>
    public static PredictionFlags AddTo(Command command)
    {
        PredictionFlags flags = new();
        foreach (Option option in flags.All)
            command.Options.Add(option);
        return flags;
    }

    /// <summary>What the command line says, and everything that is wrong with it.</summary>
    public GivenPrediction Given(ParseResult parsed)
    {
        List<string> faults = [];
        string? devices = parsed.GetValue(_devices);
        Option[] given = [.. All.Where(option => option != _devices && option != _measure && parsed.GetResult(option) is OptionResult { Implicit: false })];
        bool measures = parsed.GetValue(_measure);
        if (devices is null && !measures)
            return new GivenPrediction(null, false, false, null, false, false, false, given.Length == 0 ? [] : [$"{given[0].Name}: needs --devices FILE.json or --measure; predictions are made for known devices."]);
        if (devices is not null && measures)
            faults.Add("--devices and --measure: the devices are those of the file, or those that are here.");
        if (devices is not null && parsed.GetValue(_fresh))
            faults.Add("--fresh: only --measure times anything.");

        PlanObjective objective = default;
        if (parsed.GetValue(_objective) is { } word && !Words.Objectives.TryParse(word, out objective))
            faults.Add($"--objective: '{word}' is not one of {string.Join(", ", Words.Objectives.All)}.");
        Workload defaults = objective == PlanObjective.Throughput ? Workload.Throughput : Workload.Latency;
        int prompt = Number(_prompt, MostTokens, defaults.PromptTokens), output = Number(_output, MostTokens, defaults.OutputTokens);
        int context = Number(_context, MostTokens, Math.Min(MostTokens, prompt + output));
        Workload workload = new(objective, prompt, output, Number(_batch, MostBatch, defaults.Batch), context, Number(_chunk, MostTokens, defaults.ChunkTokens));
        if (faults.Count == 0 && context < prompt + output)
            faults.Add(string.Create(CultureInfo.InvariantCulture, $"--context: {context} is less than --prompt-tokens and --output-tokens together, {prompt + output}."));
        if (parsed.GetValue(_json) && parsed.GetValue(_compose))
            faults.Add("--json and --compose: one of them is printed.");
        return new GivenPrediction(devices, measures, parsed.GetValue(_fresh), workload, parsed.GetValue(_explain), parsed.GetValue(_json), parsed.GetValue(_compose), faults);

        int Number(Option<string?> option, int most, int fallback)
        {
            if (parsed.GetValue(option) is not { } text)
                return fallback;
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= 1 && number <= most)
                return number;
            faults.Add(string.Create(CultureInfo.InvariantCulture, $"{option.Name}: '{text}' is no whole number in 1..{most}."));
            return fallback;
        }
    }
}

/// <summary>A prediction as somebody asked for it.</summary>
/// <param name="Devices">The file; null = none.</param>
/// <param name="Measures">Whether it is for the devices that are here.</param>
/// <param name="IsFresh">Whether they are timed though a profile of them is kept.</param>
/// <param name="Workload">What for.</param>
/// <param name="Explains">Whether the report gives reasons.</param>
/// <param name="IsJson">Whether it is JSON.</param>
/// <param name="IsCompose">Whether it is a compose file.</param>
/// <param name="Faults">Everything that is wrong.</param>
internal sealed record GivenPrediction(string? Devices, bool Measures, bool IsFresh, Workload? Workload, bool Explains, bool IsJson, bool IsCompose, IReadOnlyList<string> Faults)
{
    /// <summary>Whether any is asked for.</summary>
    public bool IsAsked => Devices is not null || Measures;

    /// <summary>What is printed of a plan.</summary>
    public string Text(PredictedPlan predicted)
    {
        if (IsJson)
            return PlanJson.Of(predicted) + "\n";
        if (IsCompose)
            return PlanCompose.Of(predicted);
        StringWriter text = new(CultureInfo.InvariantCulture) { NewLine = "\n" };
        PlanReport.Print(predicted, Explains, text);
        return text.ToString();
    }
}
