namespace TpServe.Checkpoint.Hub;

/// <summary>Where models of the hub come from and lie.</summary>
public sealed record HubOptions
{
    /// <summary>The hub where no other one is named.</summary>
    public const string DefaultEndpoint = "https://huggingface.co";

    private const int LongestToken = 4096;

    /// <summary>The cache's folder; it need not exist yet.</summary>
    public required string Cache { get; init; }

    /// <summary>The hub's address.</summary>
    public string Endpoint { get; init; } = DefaultEndpoint;

    /// <summary>Who asks; null = nobody in particular.</summary>
    public string? Token { get; init; }

    /// <summary>Whether only the cache is looked at.</summary>
    public bool Offline { get; init; }

    /// <summary>Whether snapshots hold links to the blobs; where the file system has none, or false, they hold the files themselves.</summary>
    public bool Links { get; init; } = true;

    /// <summary>Attempts after the first at whatever may pass: 429, 5xx, a cut connection.</summary>
    public int Retries { get; init; } = 5;

    /// <summary>The first pause between two attempts; each further one is twice as long.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The longest pause that a hub may ask for.</summary>
    public TimeSpan LongestDelay { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long an answer, or the next bytes of one, may take; and how long another process's download may stand still.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Free bytes of the disk that holds a folder.</summary>
    public Func<string, long> FreeBytes { get; init; } = folder => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>What the variables of Hugging Face's own programs say.</summary>
    /// <param name="environment">HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME; HF_ENDPOINT; HF_TOKEN, else the file HF_TOKEN_PATH or token in HF_HOME; HF_HUB_OFFLINE; HF_HUB_DISABLE_SYMLINKS.</param>
    /// <exception cref="HubException">None of the first four leads to a folder.</exception>
    public static HubOptions From(IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        string? caches = AbsoluteOf("XDG_CACHE_HOME") ?? (AbsoluteOf("HOME") is { } user ? Path.Combine(user, ".cache") : null);
        string? home = Variable("HF_HOME") ?? (caches is null ? null : Path.Combine(caches, "huggingface"));
        string cache = Variable("HF_HUB_CACHE") ?? (home is null ? null : Path.Combine(home, "hub"))
            ?? throw new HubException(HubFault.Refused, "the hub's cache has no folder: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set.");
        return new HubOptions
        {
            Cache = Path.GetFullPath(cache),
            Endpoint = Variable("HF_ENDPOINT") ?? DefaultEndpoint,
            Token = Variable("HF_TOKEN") ?? TokenFile(Variable("HF_TOKEN_PATH") ?? (home is null ? null : Path.Combine(home, "token"))),
            Offline = IsOn("HF_HUB_OFFLINE"),
            Links = !IsOn("HF_HUB_DISABLE_SYMLINKS"),
        };

        string? Variable(string name) => environment.FirstOrDefault(item => item.Key == name).Value is { } value && value.Trim() is { Length: > 0 } text ? text : null;

        string? AbsoluteOf(string name) => Variable(name) is { } path && Path.IsPathFullyQualified(path) ? path : null;

        bool IsOn(string name) => Variable(name)?.ToUpperInvariant() is "1" or "TRUE" or "YES" or "ON";
    }

    /// <summary>What `hf auth login` has written.</summary>
    private static string? TokenFile(string? path)
    {
        try
        {
            return path is not null && RegularFile.Fault(path) is null && File.Exists(path) && new FileInfo(path).Length <= LongestToken && File.ReadAllText(path).Trim() is { Length: > 0 } token ? token : null;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null; // as if there were none: the hub says where one is needed
        }
    }
}

/// <summary>What stands between a name and a model.</summary>
public enum HubFault
{
    /// <summary>No such repository, revision or file.</summary>
    NotFound,

    /// <summary>The hub wants to know who asks, or has its terms accepted first.</summary>
    Forbidden,

    /// <summary>Not in the cache, and the hub is not to be asked.</summary>
    Offline,

    /// <summary>The hub cannot be reached, or does not answer in time.</summary>
    Unreachable,

    /// <summary>What came is not what was announced.</summary>
    Damaged,

    /// <summary>A name, an address or an answer that is not taken.</summary>
    Refused,

    /// <summary>The disk has no room, or the cache cannot be written.</summary>
    Disk,

    /// <summary>Another process holds it and does not get on.</summary>
    Busy,
}

/// <summary>A model cannot be had from the hub or its cache; the message names what was looked for and where.</summary>
public sealed class HubException : Exception
{
    /// <summary>A failure with its reason.</summary>
    public HubException(HubFault fault, string message, Exception? inner = null) : base(message, inner) => Fault = fault;

    /// <summary>Of what kind.</summary>
    public HubFault Fault { get; }

    /// <summary>Whether the same may go well a little later.</summary>
    internal bool MayPass { get; init; }

    /// <summary>When the hub wants to be asked again; null = it does not say.</summary>
    internal TimeSpan? After { get; init; }
}

/// <summary>How far a download is.</summary>
/// <param name="File">The file under way.</param>
/// <param name="DoneBytes">Bytes of it that are here.</param>
/// <param name="TotalBytes">Bytes it has.</param>
/// <param name="Note">What a person should know, as why it waits; null = nothing.</param>
public readonly record struct HubProgress(string File, long DoneBytes, long TotalBytes, string? Note = null);
