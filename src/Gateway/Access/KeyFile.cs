using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Access;

/// <summary>The keys file is not one, or cannot be read or written; the message says what is wrong.</summary>
public sealed class KeyFileException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The file of keys: JSON with names, scopes, hashes and limits. Whoever can read it cannot call; whoever can write it can.</summary>
/// <remarks>
/// Written whole beside itself and moved into place, so a reader sees one version or the other; mode 0600 from the first moment on. Two writers take turns by a lock file.
/// Errors   <see cref="KeyFileException"/>.
/// </remarks>
internal static class KeyFile
{
    /// <summary>Most keys; every call is compared with all of them.</summary>
    public const int MostKeys = 1000;

    private const int MostBytes = 1 << 20, HashDigits = 64;

    /// <summary>The file's bytes.</summary>
    public static byte[] ReadBytes(string path)
    {
        if (Checkpoint.RegularFile.Fault(path) is { } irregular)
            throw new KeyFileException($"'{path}' {irregular}; a regular file is needed.");
        try
        {
            if (!OperatingSystem.IsWindows() && File.Exists(path) && (File.GetUnixFileMode(path) & (UnixFileMode.GroupWrite | UnixFileMode.OtherWrite)) != 0)
                throw new KeyFileException($"'{path}' can be written by others than its owner, who could give themselves keys; chmod 600 mends it.");
            using FileStream file = File.OpenRead(path);
            if (file.Length > MostBytes)
                throw new KeyFileException(string.Create(CultureInfo.InvariantCulture, $"'{path}' has {file.Length} bytes; a keys file has at most {MostBytes}."));
            byte[] bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception fault) when (fault is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new KeyFileException($"'{path}' does not exist; 'tpserve keys add NAME --keys {path}' makes it.", fault);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"'{path}' cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>The keys in the file's bytes.</summary>
    public static IReadOnlyList<AccessKey> Parse(string path, ReadOnlySpan<byte> bytes)
    {
        KeyFileBody? body;
        try
        {
            body = JsonSerializer.Deserialize(bytes, KeyFileJson.Default.KeyFileBody);
        }
        catch (JsonException fault)
        {
            throw new KeyFileException($"'{path}' is no keys file: {fault.Message}", fault);
        }
        if (body?.Keys is not { } entries)
            throw new KeyFileException($"'{path}' is no keys file: it has no list 'keys'.");
        if (entries.Count > MostKeys)
            throw new KeyFileException(string.Create(CultureInfo.InvariantCulture, $"'{path}' has {entries.Count} keys; {MostKeys} are the most."));
        List<AccessKey> keys = [.. entries.Select((entry, index) => entry is null ? throw new KeyFileException($"'{path}': key {index} is null.") : Read(path, entry))];
        foreach (IGrouping<string, AccessKey> same in keys.GroupBy(key => key.Name, StringComparer.Ordinal).Where(same => same.Count() > 1))
            throw new KeyFileException($"'{path}' has key '{same.Key}' {same.Count()} times.");
        foreach (IGrouping<string, AccessKey> same in keys.GroupBy(key => key.Sha256, StringComparer.Ordinal).Where(same => same.Count() > 1))
            throw new KeyFileException($"'{path}': {string.Join(" and ", same.Select(key => $"'{key.Name}'"))} are the same key.");
        return keys;
    }

    /// <summary>Puts other keys into the file, which is made where it is not there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="change">The keys there are, to those there shall be; what it throws leaves the file as it is.</param>
    public static void Change(string path, Func<IReadOnlyList<AccessKey>, IReadOnlyList<AccessKey>> change)
    {
        string beside = path + ".new";
        try
        {
            using FileStream turn = new(path + ".lock", new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.ReadWrite,
                Share = FileShare.None,
                Options = FileOptions.DeleteOnClose,
            });
            IReadOnlyList<AccessKey> keys = change(File.Exists(path) ? Parse(path, ReadBytes(path)) : []);
            KeyFileBody body = new() { Keys = [.. keys.Select(Entry)] };
            File.Delete(beside);
            FileStreamOptions options = new() { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using (FileStream file = new(beside, options))
            {
                JsonSerializer.Serialize(file, body, KeyFileJson.Default.KeyFileBody);
                file.WriteByte((byte)'\n');
                file.Flush(flushToDisk: true);
            }
            File.Move(beside, path, overwrite: true);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"'{path}' cannot be written: {fault.Message}", fault);
        }
    }

    private static AccessKey Read(string path, KeyEntry entry)
    {
        if (!AccessKey.IsName(entry.Name))
            throw new KeyFileException($"'{path}': a key's name is {AccessKey.NameInWords}.");
        if (entry.Sha256.Length != HashDigits || !entry.Sha256.All(char.IsAsciiHexDigit))
            throw new KeyFileException($"'{path}': 'sha256' of key '{entry.Name}' is not {HashDigits} digits.");
        if (!TryScope(entry.Scope, out KeyScope scope))
            throw new KeyFileException($"'{path}': 'scope' of key '{entry.Name}' is neither generate nor admin.");
        if (new[] { entry.RequestsPerMinute, entry.Streams, entry.TokensPerMinute }.Any(limit => limit is < 1 or > KeyLimits.Most))
            throw new KeyFileException($"'{path}': a limit of key '{entry.Name}' is not within 1..{KeyLimits.Most}.");
        return new AccessKey(entry.Name, scope, entry.Sha256.ToLowerInvariant(), entry.Created, new KeyLimits(entry.RequestsPerMinute, entry.Streams, entry.TokensPerMinute));
    }

    /// <summary>A scope by its word.</summary>
    public static bool TryScope(string word, out KeyScope scope)
    {
        scope = word == "admin" ? KeyScope.Admin : KeyScope.Generate;
        return word is "admin" or "generate";
    }

    /// <summary>A scope's word.</summary>
    public static string WordOf(KeyScope scope) => scope == KeyScope.Admin ? "admin" : "generate";

    private static KeyEntry Entry(AccessKey key) => new()
    {
        Name = key.Name,
        Scope = WordOf(key.Scope),
        Sha256 = key.Sha256,
        Created = key.Created,
        RequestsPerMinute = key.Limits.RequestsPerMinute,
        Streams = key.Limits.Streams,
        TokensPerMinute = key.Limits.TokensPerMinute,
    };
}

/// <summary>The file.</summary>
internal sealed record KeyFileBody
{
    public required List<KeyEntry?> Keys { get; init; }
}

/// <summary>A key in it.</summary>
internal sealed record KeyEntry
{
    public required string Name { get; init; }

    public required string Scope { get; init; }

    public required string Sha256 { get; init; }

    public DateTimeOffset Created { get; init; }

    public int? RequestsPerMinute { get; init; }

    public int? Streams { get; init; }

    public int? TokensPerMinute { get; init; }
}

// A name that is not understood may be a limit that is misspelt: it is refused, not passed over.
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(KeyFileBody))]
internal sealed partial class KeyFileJson : JsonSerializerContext;
