namespace TpServe.Checkpoint.Hub;

/// <summary>A model in the cache.</summary>
/// <param name="Id">What --model takes for it.</param>
/// <param name="Revisions">The refs that mean its commit; none where it was asked for by the commit.</param>
/// <param name="Commit">Its commit.</param>
/// <param name="Kind">The label of its quantisation, or safetensors.</param>
/// <param name="Path">What to open.</param>
/// <param name="Bytes">What its files take.</param>
/// <param name="IsWhole">Whether all of them are there.</param>
public sealed record CachedModel(HubModelId Id, IReadOnlyList<string> Revisions, string Commit, string Kind, string Path, long Bytes, bool IsWhole);

/// <summary>The models that a cache holds.</summary>
public static class HubInventory
{
    /// <summary>All of them, by repository, commit and file. What holds no weights (data sets, tokenizers alone) is none.</summary>
    public static IReadOnlyList<CachedModel> Of(HubCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        List<CachedModel> models = [];
        foreach (string repository in cache.Repositories)
        {
            IReadOnlyDictionary<string, string> refs = cache.Refs(repository);
            foreach (string commit in cache.Commits(repository))
                Add(cache, repository, commit, [.. refs.Where(item => item.Value == commit).Select(item => item.Key)], models);
        }
        return models;
    }

    private static void Add(HubCache cache, string repository, string commit, IReadOnlyList<string> revisions, List<CachedModel> models)
    {
        IReadOnlyList<string> names = cache.Files(repository, commit);
        string folder = cache.Snapshot(repository, commit);
        string revision = revisions.Contains(HubModelId.DefaultRevision) ? HubModelId.DefaultRevision : revisions.Count > 0 ? revisions[0] : commit;
        IReadOnlyList<string[]> files = HubSelection.Models(names);
        foreach (string[] model in files)
        {
            string label = HubSelection.LabelOf(model[0]);
            string selection = HubSelection.Matches(names, label).SequenceEqual(model) ? label : model[0];
            models.Add(new CachedModel(new HubModelId(repository, revision, selection), revisions, commit, label, Path.Combine(folder, model[0]), model.Sum(Bytes), HubSelection.IsWhole(model)));
        }
        string[] weights = [.. names.Where(name => name.EndsWith(".safetensors", StringComparison.Ordinal) && !name.Contains('/'))];
        if (!names.Contains(HubSelection.ConfigJson) || weights.Length == 0 && !names.Contains(HubSelection.Index))
            return;
        bool isWhole = names.Contains(HubSelection.TokenizerJson) && (names.Contains(HubSelection.Index) ? Shards(Path.Combine(folder, HubSelection.Index)).All(names.Contains) : names.Contains(HubSelection.Single));
        models.Add(new CachedModel(new HubModelId(repository, revision, null), revisions, commit, "safetensors", folder, weights.Sum(Bytes), isWhole));

        long Bytes(string name) => new FileInfo(HubCache.ContentOf(Path.Combine(folder, name))).Length;
    }

    private static IReadOnlyList<string> Shards(string index)
    {
        try
        {
            return HubSelection.Shards(index);
        }
        catch (HubException)
        {
            return [""]; // a damaged index: opening it says of what
        }
    }
}
