using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Safetensors;

/// <summary>A model in a folder as Hugging Face repositories are laid out: config.json, safetensors files, tokenizer.json.</summary>
internal static class HubCheckpoint
{
    private const long MaxConfigBytes = 16 << 20, MaxIndexBytes = 64 << 20;
    private const int MaxShards = 10_000;
    private const string CachedPrefix = "models--"; // of a repository's folder in the hub's cache

    /// <summary>Opens a folder with config.json.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="withTokenizer">Read the tokenizer's material too.</param>
    /// <exception cref="ModelLoadException">Something in the files is wrong.</exception>
    public static ModelCheckpoint Open(string path, bool withTokenizer)
    {
        string configPath = Path.Combine(path, "config.json");
        JsonSection root = JsonSection.ReadFile(configPath, MaxConfigBytes) ?? throw new ModelLoadException($"{configPath}: there is no such file.");
        ModelConfig config = HubModelConfig.Read(root);
        GenerationDefaults generation = HubGeneration.Read(root, JsonSection.ReadFile(Path.Combine(path, "generation_config.json"), MaxConfigBytes));
        bool known = HubFamily.Find(config.Architecture) is not null;
        TokenizerFiles? tokenizer = withTokenizer ? HubTokenizer.Read(path, required: known) : null;

        TensorTable table = new();
        // Of an architecture that is refused anyway, the reason to give is the architecture, not the kind of its weights.
        if (!known)
            return new MappedCheckpoint(path, NameOf(path), table, config, generation, tokenizer);
        List<string> warnings = [];
        try
        {
            if (JsonSection.ReadFile(Path.Combine(path, "model.safetensors.index.json"), MaxIndexBytes) is { } index)
                AddShards(path, index, table);
            else
                AddFile(SingleFile(path), table);
            HubQuantisation.Assemble(path, root, table, warnings);
            HubNames.Apply(table, config.Architecture);
            HubExtras.Ignore(table, config, warnings);
            config = HubExtras.WithHead(table, config, warnings);
            return new MappedCheckpoint(path, NameOf(path), table, config, generation, tokenizer, HubPooling.Read(path, MaxConfigBytes), warnings);
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    private static string SingleFile(string path)
    {
        string file = Path.Combine(path, "model.safetensors");
        return File.Exists(file)
            ? file
            : throw new ModelLoadException($"{path}: there is neither model.safetensors nor model.safetensors.index.json; TpServe reads no other weights.");
    }

    private static void AddFile(string path, TensorTable table)
    {
        foreach (TensorPlace place in SafetensorsFile.Read(table.Own(MappedFile.Open(path)), TextName))
            table.Add(place);
    }

    // The index says which file holds a tensor; each file's own header says where.
    private static void AddShards(string path, JsonSection index, TensorTable table)
    {
        JsonSection map = index.Object("weight_map") ?? throw index.Missing("weight_map");
        Dictionary<string, HashSet<string>> shards = new(StringComparer.Ordinal);
        foreach ((string name, string shard) in map.StringMembers())
        {
            if (!shard.EndsWith(".safetensors", StringComparison.Ordinal) || shard.AsSpan().IndexOfAny('/', '\\', '\0') >= 0)
                throw map.Fault(name, $"is '{shard}'; it must be the name of a .safetensors file beside the index");
            if (!shards.TryGetValue(shard, out HashSet<string>? names))
                shards.Add(shard, names = new HashSet<string>(StringComparer.Ordinal));
            names.Add(name);
        }
        if (shards.Count > MaxShards)
            throw new ModelLoadException($"{index.File}: the weights lie in {shards.Count} files; the limit is {MaxShards}.");

        foreach ((string shard, HashSet<string> names) in shards.OrderBy(s => s.Key, StringComparer.Ordinal))
        {
            string file = Path.Combine(path, shard);
            if (!File.Exists(file))
                throw new ModelLoadException($"{file}: there is no such file, but {index.File} names it.");
            foreach (TensorPlace place in SafetensorsFile.Read(table.Own(MappedFile.Open(file)), name => names.Remove(name) ? TextName(name) : null))
                table.Add(place);
            if (names.Count > 0)
                throw new ModelLoadException($"{file}: tensor '{names.Order(StringComparer.Ordinal).First()}' is not in it, but {index.File} says so.");
        }
    }

    // Models with images hold the text model under a prefix, of which there are two kinds, and much that text needs not.
    private static string? TextName(string name)
    {
        if (name.StartsWith("language_model.", StringComparison.Ordinal))
            return name["language_model.".Length..];
        if (name.StartsWith("model.language_model.", StringComparison.Ordinal))
            return "model." + name["model.language_model.".Length..];
        string[] images = ["vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."];
        return images.Any(prefix => name.StartsWith(prefix, StringComparison.Ordinal)) ? null : name;
    }

    /// <summary>The folder's name; of a snapshot in the hub's cache, models--ORG--NAME/snapshots/REVISION, the repository's.</summary>
    private static string NameOf(string path)
    {
        DirectoryInfo folder = new(path);
        return folder.Parent is { Name: "snapshots", Parent.Name: var cached } && cached.StartsWith(CachedPrefix, StringComparison.Ordinal)
            ? cached[CachedPrefix.Length..].Replace("--", "/", StringComparison.Ordinal)
            : folder.Name;
    }
}
