namespace TpServe.Checkpoint.Config;

/// <summary>What config.json says layer by layer: which slide, which rotate.</summary>
internal static class HubLayers
{
    private const int MaxWindowLayersDefault = 28, NoRopeIntervalDefault = 4;

    /// <summary>Which layers rotate queries and keys; empty = all.</summary>
    public static IReadOnlyList<bool> Rope(JsonSection json, HubFamily family, int layers)
    {
        if (family.Name is not "smollm3")
            return [];
        if (json.Ints("no_rope_layers", 0, 1) is { } flags) // 1 means that the layer rotates, whatever the key's name says
        {
            return flags.Count >= layers
                ? [.. flags.Take(layers).Select(flag => flag == 1)]
                : throw json.Fault("no_rope_layers", $"has {flags.Count} elements; there are {layers} layers");
        }
        int interval = json.Int("no_rope_layer_interval", 1, ConfigLimits.MaxSize) ?? NoRopeIntervalDefault;
        return [.. Enumerable.Range(1, layers).Select(i => i % interval != 0)];
    }

    /// <summary>The window and the layers that use it; 0 and empty where none does.</summary>
    public static (int Window, IReadOnlyList<bool> Layers) Sliding(JsonSection json, HubFamily family, int layers, IReadOnlyList<bool> ropeLayers)
    {
        bool switchedOff = family.Sliding is SlidingRule.UpperLayers or SlidingRule.LayersWithoutRope && json.Bool("use_sliding_window") is not true;
        if (family.Sliding is SlidingRule.Never || switchedOff)
            return (0, []);
        int? window = json.Has("sliding_window") ? json.Int("sliding_window", 1, ConfigLimits.MaxSize) : family.SlidingWindow;
        if (window is null)
            return (0, []);

        IReadOnlyList<bool> sliding = family.Sliding switch
        {
            SlidingRule.All => [.. Enumerable.Repeat(true, layers)],
            _ when FromTypes(json, layers) is { } types => types,
            SlidingRule.UpperLayers => UpperLayers(json, layers),
            SlidingRule.LayersWithoutRope => [.. ropeLayers.Select(rotates => !rotates)],
            _ => Pattern(json, family, layers),
        };
        return sliding.Contains(true) ? (window.Value, sliding) : (0, []);
    }

    private static List<bool>? FromTypes(JsonSection json, int layers)
    {
        if (json.Strings("layer_types") is not { } types)
            return null;
        if (types.Count != layers)
            throw json.Fault("layer_types", $"has {types.Count} elements; there are {layers} layers");
        return [.. types.Select((type, i) => type switch
        {
            "sliding_attention" => true,
            "full_attention" => false,
            _ => throw json.Fault($"layer_types[{i}]", $"is '{type}'; supported are full_attention and sliding_attention"),
        })];
    }

    private static List<bool> UpperLayers(JsonSection json, int layers)
    {
        int first = json.Int("max_window_layers", 0, ConfigLimits.MaxSize) ?? MaxWindowLayersDefault;
        return [.. Enumerable.Range(0, layers).Select(i => i >= first)];
    }

    private static List<bool> Pattern(JsonSection json, HubFamily family, int layers)
    {
        int period = json.Int("sliding_window_pattern", 1, ConfigLimits.MaxSize)
            ?? json.Int("_sliding_window_pattern", 1, ConfigLimits.MaxSize)
            ?? family.SlidingPattern;
        return [.. Enumerable.Range(1, layers).Select(i => i % period != 0)];
    }
}
