namespace TpServe.Checkpoint.Hub;

/// <summary>The hub's cache on disk, as huggingface_hub lays it: models--ORG--NAME/{blobs, refs, snapshots}, and .locks beside them.</summary>
/// <remarks>
/// A blob is named by its hash and never changes; a snapshot is a commit's folder of links to blobs, or of files where links fail; a ref is a file with the commit
/// of a branch. What appears under its final name is whole: it is written under another one and renamed.
/// Threads  any, and any number of processes: each blob's lock decides who writes it.
/// Source   huggingface_hub's guide "Understand caching".
/// </remarks>
public sealed class HubCache
{
    private const string Prefix = "models--";
    private const int LongestRef = 256;

    private readonly bool _links;

    /// <param name="root">The folder; it need not exist.</param>
    /// <param name="links">Whether snapshots hold links.</param>
    public HubCache(string root, bool links = true)
    {
        Root = Path.GetFullPath(root);
        _links = links;
    }

    /// <summary>The cache's folder.</summary>
    public string Root { get; }

    /// <summary>A repository's folder, whether it is there or not.</summary>
    public string FolderOf(string repository) => Path.Combine(Root, Prefix + repository.Replace("/", "--", StringComparison.Ordinal));

    /// <summary>The repositories that are there, sorted.</summary>
    public IReadOnlyList<string> Repositories => Directory.Exists(Root)
        ? [.. Directory.EnumerateDirectories(Root, Prefix + "*").Select(path => Path.GetFileName(path)[Prefix.Length..].Replace("--", "/", StringComparison.Ordinal)).Where(HubModelId.IsRepository).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>Names of a repository's refs with their commits.</summary>
    public IReadOnlyDictionary<string, string> Refs(string repository)
    {
        string folder = Path.Combine(FolderOf(repository), "refs");
        SortedDictionary<string, string> refs = new(StringComparer.Ordinal);
        if (Directory.Exists(folder))
            foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
                if (Path.GetRelativePath(folder, file) is var name && HubModelId.IsRevision(name) && CommitOf(repository, name) is { } commit)
                    refs.Add(name, commit);
        return refs;
    }

    /// <summary>The commit of a revision; null where the cache does not know it.</summary>
    public string? CommitOf(string repository, string revision)
    {
        if (IsCommit(revision))
            return revision;
        string file = Path.Combine(FolderOf(repository), "refs", revision);
        return RegularFile.Fault(file) is null && File.Exists(file) && new FileInfo(file).Length <= LongestRef && File.ReadAllText(file).Trim() is var commit && IsCommit(commit) ? commit : null;
    }

    /// <summary>A commit's folder, whether it is there or not.</summary>
    public string Snapshot(string repository, string commit) => Path.Combine(FolderOf(repository), "snapshots", commit);

    /// <summary>The commits that have a folder, sorted.</summary>
    public IReadOnlyList<string> Commits(string repository) => Path.Combine(FolderOf(repository), "snapshots") is var folder && Directory.Exists(folder)
        ? [.. Directory.EnumerateDirectories(folder).Select(path => Path.GetFileName(path)!).Where(IsCommit).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>Names of a snapshot's files whose content is there, with / between folders, sorted.</summary>
    public IReadOnlyList<string> Files(string repository, string commit) => Snapshot(repository, commit) is var folder && Directory.Exists(folder)
        ? [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(Holds).Select(path => Path.GetRelativePath(folder, path).Replace('\\', '/')).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>Where the content of a hash lies.</summary>
    public string Blob(string repository, string hash) => Path.Combine(FolderOf(repository), "blobs", hash);

    /// <summary>The file whose lock decides who writes a blob.</summary>
    public string Lock(string repository, string hash) => Path.Combine(LocksOf(repository), hash + ".lock");

    /// <summary>Has a revision mean a commit.</summary>
    public void SetRef(string repository, string revision, string commit)
    {
        if (IsCommit(revision) || CommitOf(repository, revision) == commit)
            return;
        string file = Path.Combine(FolderOf(repository), "refs", revision);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        string fresh = Fresh(file);
        File.WriteAllText(fresh, commit);
        File.Move(fresh, file, overwrite: true);
    }

    /// <summary>Has a snapshot's file be a blob: by a link to it, or where there can be none, by moving it.</summary>
    public void Place(string repository, string commit, string name, string blob)
    {
        string file = Path.Combine(Snapshot(repository, commit), name);
        string folder = Path.GetDirectoryName(file)!;
        Directory.CreateDirectory(folder);
        if (_links)
        {
            string link = Fresh(file);
            try
            {
                File.CreateSymbolicLink(link, Path.GetRelativePath(folder, blob));
                File.Move(link, file, overwrite: true);
                return;
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or PlatformNotSupportedException)
            {
                File.Delete(link); // and go on without links
            }
        }
        File.Move(blob, file, overwrite: true);
    }

    /// <summary>What a removal takes away.</summary>
    /// <param name="id">A repository, or a revision of it, or one selection.</param>
    /// <exception cref="HubException">It is not there.</exception>
    public HubRemoval Removal(HubModelId id, bool everyRevision)
    {
        ArgumentNullException.ThrowIfNull(id);
        string folder = FolderOf(id.Repository);
        if (!Directory.Exists(folder))
            throw new HubException(HubFault.NotFound, $"{id.Repository} is not in the cache {Root}.");
        string[] commits = everyRevision ? [.. Commits(id.Repository)] : [CommitOf(id.Repository, id.Revision) ?? throw new HubException(HubFault.NotFound, $"{id.Repository} has no revision {id.Revision} in the cache {Root}.")];
        List<string> files = [];
        foreach (string commit in commits)
        {
            IReadOnlyList<string> there = Files(id.Repository, commit);
            files.AddRange((id.Selection is null ? there : HubSelection.Matches(there, id.Selection)).Select(name => Path.Combine(Snapshot(id.Repository, commit), name)));
        }
        if (id.Selection is not null && files.Count == 0)
            throw new HubException(HubFault.NotFound, $"{id.Repository} has nothing named '{id.Selection}' in the cache {Root}.");
        bool whole = id.Selection is null && commits.Length >= Commits(id.Repository).Count;
        return new HubRemoval(id, commits, files, whole, whole ? SizeOf(folder) : files.Select(file => ContentOf(file)).Distinct().Sum(file => new FileInfo(file).Length));
    }

    /// <summary>Takes it away: links, refs, then blobs that nothing links to any more.</summary>
    /// <exception cref="HubException">Another process downloads into the repository.</exception>
    public void Remove(HubRemoval removal)
    {
        ArgumentNullException.ThrowIfNull(removal);
        string repository = removal.Id.Repository, folder = FolderOf(repository), locks = LocksOf(repository);
        List<IDisposable> held = [];
        try
        {
            foreach (string file in Directory.Exists(locks) ? Directory.EnumerateFiles(locks, "*.lock") : [])
                held.Add(HubLock.TryTake(file) ?? throw new HubException(HubFault.Busy, $"{repository} is being downloaded by another process."));
            if (removal.IsWhole)
            {
                Directory.Delete(folder, recursive: true);
                if (Directory.Exists(locks))
                    Directory.Delete(locks, recursive: true);
                return;
            }
            HashSet<string> contents = [.. removal.Files.Select(ContentOf)];
            foreach (string file in removal.Files)
                File.Delete(file);
            if (removal.Id.Selection is null)
            {
                foreach (string commit in removal.Commits)
                    Directory.Delete(Snapshot(repository, commit), recursive: true);
                foreach ((string name, string commit) in Refs(repository))
                    if (removal.Commits.Contains(commit))
                        File.Delete(Path.Combine(folder, "refs", name));
            }
            HashSet<string> used = [.. Commits(repository).SelectMany(commit => Files(repository, commit).Select(name => ContentOf(Path.Combine(Snapshot(repository, commit), name))))];
            foreach (string blob in contents.Where(content => !used.Contains(content)))
                File.Delete(blob);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new HubException(HubFault.Disk, $"{folder} cannot be removed: {fault.Message}", fault);
        }
        finally
        {
            held.ForEach(one => one.Dispose());
        }
    }

    /// <summary>Bytes of a repository's folder, links not followed.</summary>
    public static long SizeOf(string folder) => Directory.Exists(folder)
        ? new DirectoryInfo(folder).EnumerateFiles("*", SearchOption.AllDirectories).Where(file => file.LinkTarget is null).Sum(file => file.Length)
        : 0;

    /// <summary>Bytes of a file, 0 where there is none: asked once, for another process may rename it in between.</summary>
    internal static long LengthOf(string file) => new FileInfo(file) is { Exists: true } found ? found.Length : 0;

    /// <summary>Whether a snapshot's file is there with its content: a link that leads to nothing is none.</summary>
    internal static bool Holds(string file) => File.Exists(file) && File.Exists(ContentOf(file));

    /// <summary>The file that a snapshot's file leads to: itself where it is no link.</summary>
    public static string ContentOf(string file) => Path.GetFullPath(new FileInfo(file).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? file);

    internal static bool IsCommit(string text) => text.Length == 40 && text.All(char.IsAsciiHexDigitLower);

    private string LocksOf(string repository) => Path.Combine(Root, ".locks", Path.GetFileName(FolderOf(repository)));

    private static string Fresh(string file) => $"{file}.{Guid.NewGuid():N}";
}

/// <summary>What would be removed from the cache.</summary>
/// <param name="Id">As asked.</param>
/// <param name="Commits">The snapshots it is about.</param>
/// <param name="Files">Their files.</param>
/// <param name="IsWhole">Whether nothing of the repository stays.</param>
/// <param name="Bytes">Room that it gives back at most.</param>
public sealed record HubRemoval(HubModelId Id, IReadOnlyList<string> Commits, IReadOnlyList<string> Files, bool IsWhole, long Bytes);

/// <summary>A lock file held by this process: an advisory lock of the kernel, as huggingface_hub takes it, which ends with the process however that ends.</summary>
internal static class HubLock
{
    /// <summary>Takes it; null where another process has it.</summary>
    public static IDisposable? TryTake(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        try
        {
            return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
        }
        catch (IOException) when (File.Exists(file))
        {
            return null;
        }
    }
}
