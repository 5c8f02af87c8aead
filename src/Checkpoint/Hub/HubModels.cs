using System.Globalization;

namespace TpServe.Checkpoint.Hub;

/// <summary>A model of the hub as it lies in the cache.</summary>
/// <param name="Id">As asked.</param>
/// <param name="Commit">What its revision is.</param>
/// <param name="Path">The GGUF file or the folder to open.</param>
/// <param name="Note">What a person should know of how it was found; null = nothing.</param>
public sealed record HubModel(HubModelId Id, string Commit, string Path, string? Note = null);

/// <summary>Models of the hub by name: found in the cache, or downloaded into it.</summary>
/// <remarks>
/// Threads  any, and any number of processes on one cache.
/// Errors   <see cref="HubException"/> for everything, the disk's faults included.
/// </remarks>
public sealed class HubModels(HubOptions options)
{
    private const long SpareBytes = 64 << 20; // what a disk should still have when all is there

    private static readonly string[] s_expected = [HubSelection.TokenizerJson, "tokenizer_config.json", "generation_config.json"];

    /// <summary>The cache.</summary>
    public HubCache Cache { get; } = new(options.Cache, options.Links);

    /// <summary>A model in the cache, without asking the hub; null where it is not there whole.</summary>
    public HubModel? Find(HubModelId id) => Look(id)?.Model;

    /// <summary>A model, from the cache where it is whole there, else from the hub.</summary>
    /// <param name="id">Which.</param>
    /// <param name="refresh">Ask the hub what the revision is now, even where the cache has it.</param>
    /// <param name="progress">How far it is; called from any thread.</param>
    /// <param name="cancellation">Ends it; what has come stays, and is gone on with the next time.</param>
    /// <exception cref="HubException">It cannot be had.</exception>
    public async Task<HubModel> GetAsync(HubModelId id, bool refresh, Action<HubProgress> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(id);
        ArgumentNullException.ThrowIfNull(progress);
        try
        {
            // 1. The cache.
            (HubModel Model, bool IsCertain)? cached = Look(id);
            if (cached is { } certain && (options.Offline || certain.IsCertain && !refresh))
                return certain.Model;
            if (options.Offline)
                throw new HubException(HubFault.Offline, $"{id} is not in the cache {Cache.Root}, or not whole, and the hub is not asked (--offline, HF_HUB_OFFLINE).");

            // 2. The hub.
            try
            {
                return await DownloadAsync(id, progress, cancellation);
            }
            catch (HubException fault) when (fault.Fault == HubFault.Unreachable && cached is not null && !refresh)
            {
                return cached.Value.Model with { Note = $"{fault.Message} What the cache has is taken." };
            }
            catch (HubException fault) when (fault.Fault == HubFault.Unreachable)
            {
                throw new HubException(HubFault.Unreachable, $"{id} is {(cached is null ? $"not in the cache {Cache.Root}, and" : "in the cache, but")} the hub {options.Endpoint} does not give it: {fault.Message}", fault);
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new HubException(HubFault.Disk, $"the cache {Cache.Root} cannot be used: {fault.Message}", fault);
        }
    }

    private (HubModel Model, bool IsCertain)? Look(HubModelId id)
    {
        if (Cache.CommitOf(id.Repository, id.Revision) is not { } commit || Cache.Files(id.Repository, commit) is not { Count: > 0 } names)
            return null;
        HubSelection.Choice choice;
        try
        {
            choice = HubSelection.Choose(id, names);
        }
        catch (HubException)
        {
            return null; // what fits, or what else there is, the hub knows
        }
        string folder = Cache.Snapshot(id.Repository, commit);
        if (choice.First is { } file)
            return HubSelection.IsWhole([.. choice.Files]) ? (new HubModel(id, commit, Path.Combine(folder, file)), id.Selection is not null) : null;
        if (!names.Contains(HubSelection.TokenizerJson) || choice.HasIndex && HubSelection.Shards(Path.Combine(folder, HubSelection.Index)).Any(shard => !names.Contains(shard)))
            return null;
        // A folder that another program filled may lack what that program had no use for; whether the repository has it the hub knows.
        return (new HubModel(id, commit, folder), s_expected.All(names.Contains));
    }

    private async Task<HubModel> DownloadAsync(HubModelId id, Action<HubProgress> progress, CancellationToken cancellation)
    {
        // 1. What there is, and what of it is the model.
        using HubClient client = new(options, note => progress(new HubProgress("", 0, 0, note)));
        HubListing listing = await client.ListAsync(id, cancellation);
        HubSelection.Choice choice = HubSelection.Choose(id, listing.Names);
        if (choice.First is not null && !HubSelection.IsWhole([.. choice.Files]))
            throw new HubException(HubFault.NotFound, $"{id.Repository} at {id.Revision} does not have all parts of {choice.First}.");
        string folder = Cache.Snapshot(id.Repository, listing.Commit);

        // 2. The files, and then those that an index names.
        await FetchAsync(client, id, listing.Commit, choice.Files, progress, cancellation);
        if (choice.HasIndex)
            await FetchAsync(client, id, listing.Commit, HubSelection.Shards(Path.Combine(folder, HubSelection.Index)), progress, cancellation);

        // 3. Last the name: a revision in the cache means a model that is whole.
        Cache.SetRef(id.Repository, id.Revision, listing.Commit);
        return new HubModel(id, listing.Commit, choice.First is { } file ? Path.Combine(folder, file) : folder);
    }

    private async Task FetchAsync(HubClient client, HubModelId id, string commit, IReadOnlyList<string> names, Action<HubProgress> progress, CancellationToken cancellation)
    {
        List<HubFile> missing = [];
        foreach (string name in names)
            if (!HubCache.Holds(Path.Combine(Cache.Snapshot(id.Repository, commit), name)))
                missing.Add(await client.DescribeAsync(id, commit, name, cancellation));
        RequireRoom(id, missing);
        HubDownload download = new(Cache, client, options, progress);
        foreach (HubFile file in missing)
            await download.RunAsync(id, commit, file, cancellation);
    }

    private void RequireRoom(HubModelId id, IReadOnlyList<HubFile> missing)
    {
        long needed = missing.Sum(file => HubCache.LengthOf(Cache.Blob(id.Repository, file.Hash)) == file.Bytes ? 0 : Math.Max(0, file.Bytes - HubCache.LengthOf(Cache.Blob(id.Repository, file.Hash) + ".incomplete")));
        if (needed == 0)
            return;
        Directory.CreateDirectory(Cache.Root);
        long free = options.FreeBytes(Cache.Root);
        if (needed > free - SpareBytes)
            throw new HubException(HubFault.Disk, string.Create(CultureInfo.InvariantCulture, $"{id} needs {needed / 1048576.0:F1} MiB in {Cache.Root}, whose disk has {free / 1048576.0:F1} MiB free."));
    }
}
