using System.Text.RegularExpressions;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Adapters;

/// <summary>A PEFT folder's adapter_config.json: which modules an adapter changes, by what rank and scale.</summary>
/// <remarks>
/// Source   Hu et al. 2021 (LoRA); rank-stabilised scale: Kalajdzievski 2023; keys and the way patterns are matched: PEFT.
/// Errors   <see cref="ModelLoadException"/> naming the key. What would change the arithmetic and is not served is refused by name, so that nothing is served wrongly.
/// </remarks>
public sealed class AdapterConfig
{
    /// <summary>Largest rank.</summary>
    public const int MostRank = 256;

    private const long MostBytes = 1 << 20;
    private const double MostAlpha = 1e6;
    private const string AllLinear = "all-linear";

    /// <summary>Keys that change no product: where the adapter comes from, how it was trained or begun.</summary>
    private static readonly HashSet<string> s_harmless = new(StringComparer.Ordinal)
    {
        "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "loftq_config",
        "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type",
    };

    private static readonly HashSet<string> s_read = new(StringComparer.Ordinal)
    {
        "alpha_pattern", "bias", "exclude_modules", "layers_to_transform", "lora_alpha", "peft_type", "r", "rank_pattern", "target_modules", "use_rslora",
    };

    private readonly int _rank;
    private readonly float _alpha;
    private readonly bool _isStabilised;
    private readonly Func<string, bool> _targets, _excludes;
    private readonly IReadOnlyList<int>? _layers;
    private readonly List<(Regex Name, int Rank)> _ranks = [];
    private readonly List<(Regex Name, float Alpha)> _alphas = [];

    private AdapterConfig(JsonSection json)
    {
        // 1. What is not served.
        foreach (string key in json.Names)
            if (!s_read.Contains(key) && !s_harmless.Contains(key) && !json.SaysNothing(key))
                throw json.Fault(key, "is not served: an adapter that sets it computes something else than y + scale · B · (A · x)");
        if (json.String("peft_type") is { } type && type != "LORA")
            throw json.Fault("peft_type", $"is '{type}'; expected LORA");
        if (json.String("bias") is { } bias && bias != "none")
            throw json.Fault("bias", $"is '{bias}'; adapters that train biases are not served, only 'none'");

        // 2. How much.
        _rank = json.RequiredInt("r", 1, MostRank);
        _alpha = json.RequiredFloat("lora_alpha", -MostAlpha, MostAlpha);
        _isStabilised = json.Bool("use_rslora") ?? false;
        foreach ((string name, float rank) in json.Object("rank_pattern")?.FloatMembers(1, MostRank) ?? [])
            _ranks.Add((Pattern(json, "rank_pattern", name), (int)rank));
        foreach ((string name, float alpha) in json.Object("alpha_pattern")?.FloatMembers(-MostAlpha, MostAlpha) ?? [])
            _alphas.Add((Pattern(json, "alpha_pattern", name), alpha));

        // 3. Where.
        _targets = Matcher(json, "target_modules") ?? throw json.Missing("target_modules");
        _excludes = Matcher(json, "exclude_modules") ?? (_ => false);
        if (!json.IsNull("layers_to_transform") && json.Has("layers_to_transform"))
            _layers = json.IsArray("layers_to_transform") ? json.Ints("layers_to_transform", 0, int.MaxValue) : [json.RequiredInt("layers_to_transform", 0, int.MaxValue)];
    }

    /// <summary>Reads the file of a folder.</summary>
    /// <exception cref="ModelLoadException">There is none, or it asks for what is not served.</exception>
    public static AdapterConfig Read(string path) => new(JsonSection.ReadFile(path, MostBytes) ?? throw new ModelLoadException($"{path}: there is no such file."));

    /// <summary>Whether a module of a layer is changed.</summary>
    public bool Targets(string module, int layer) => _targets(module) && !_excludes(module) && _layers?.Contains(layer) != false;

    /// <summary>Rows of a module's A.</summary>
    public int RankOf(string module) => _ranks.Find(pattern => pattern.Name.IsMatch(module)) is { Name: not null } found ? found.Rank : _rank;

    /// <summary>What B · (A · x) is multiplied by.</summary>
    public float ScaleOf(string module)
    {
        double alpha = _alphas.Find(pattern => pattern.Name.IsMatch(module)) is { Name: not null } found ? found.Alpha : _alpha;
        int rank = RankOf(module);
        return (float)(alpha / (_isStabilised ? Math.Sqrt(rank) : rank));
    }

    private static Func<string, bool>? Matcher(JsonSection json, string key)
    {
        if (json.IsArray(key))
        {
            IReadOnlyList<string> names = json.Strings(key)!;
            return module => names.Any(name => module == name || module.EndsWith("." + name, StringComparison.Ordinal));
        }
        if (json.String(key) is not { } text)
            return null;
        if (text == AllLinear)
            return _ => true; // of the modules that are asked about, which are linear
        Regex whole = Compile(json, key, text, $@"\A(?:{text})\z");
        return whole.IsMatch;
    }

    private static Regex Pattern(JsonSection json, string key, string name) => Compile(json, $"{key}.{name}", name, $@"\A(.*\.)?({name})\z");

    /// <summary>Takes time linear in what it is matched with, whatever the pattern.</summary>
    private static Regex Compile(JsonSection json, string key, string text, string pattern)
    {
        try
        {
            return new Regex(pattern, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
        }
        catch (Exception fault) when (fault is ArgumentException or NotSupportedException)
        {
            throw json.Fault(key, $"is no pattern that is served: '{text}'");
        }
    }
}
