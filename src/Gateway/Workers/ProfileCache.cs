using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using TpServe.Checkpoint;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Keeps what measured workers said, a file for each group of them and model, so that the next start need not time them.</summary>
/// <remarks>
/// A file holds its whole key: one that another group, another release or something else has written counts as none. Files are replaced as a whole.
/// A cache that cannot be read or written costs a measurement, never a start; each such case is one line in the log.
/// Threads  any; of two that write at once the later one stays.
/// </remarks>
/// <param name="folder">Where; it need not exist.</param>
/// <param name="release">Of the workers.</param>
/// <param name="log">Told what is passed over.</param>
internal sealed partial class ProfileCache(string folder, string release, ILogger log)
{
    /// <summary>The word for no cache.</summary>
    public const string Off = "off";

    private const int LargestBytes = 4 << 20;

    /// <summary>The folder that a setting names, or the user's own; null = nothing is kept.</summary>
    /// <param name="setting">--profile-cache.</param>
    /// <param name="environment">The process's variables.</param>
    public static string? FolderOf(string setting, IReadOnlyList<KeyValuePair<string, string>> environment)
    {
        if (setting.Equals(Off, StringComparison.OrdinalIgnoreCase))
            return null;
        if (setting.Length > 0)
            return Path.GetFullPath(setting);
        // The XDG base directory specification: a relative path is no path.
        string caches = Variable("XDG_CACHE_HOME") is { } own && Path.IsPathFullyQualified(own) ? own : Variable("HOME") is { } home && Path.IsPathFullyQualified(home) ? Path.Combine(home, ".cache") : "";
        return caches.Length == 0 ? null : Path.Combine(caches, "tpserve");

        string? Variable(string name) => environment.FirstOrDefault(item => item.Key == name).Value;
    }

    /// <summary>What is kept under a key; null = nothing that can be used.</summary>
    public GroupMeasurement? Read(string key)
    {
        string path = PathOf(key);
        if (!File.Exists(path))
            return null;
        try
        {
            if (RegularFile.Fault(path) is { } irregular)
                throw new InvalidDataException(irregular);
            if (new FileInfo(path).Length > LargestBytes)
                throw new InvalidDataException("it is too large");
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            JsonElement root = document.RootElement;
            if (Text(root, "key") != key)
                throw new InvalidDataException("it is of other workers or another model");
            if (Text(root, "release") is var written && written != release)
                throw new InvalidDataException($"it is of release {written}, this is {release}");
            GroupMeasurement kept = new(
                [.. root.GetProperty("devices").EnumerateArray().Select(item => JsonParser.Default.Parse<MeasureReply>(item.GetRawText()))],
                [.. root.GetProperty("pairs").EnumerateArray().Select(item => JsonParser.Default.Parse<MeasureLinkReply>(item.GetRawText()))],
                root.GetProperty("roundTripSeconds").GetDouble(), root.GetProperty("at").GetDateTimeOffset());
            int ranks = key.Count(letter => letter == '\n');
            if (kept.Devices.Count != ranks || kept.Pairs.Count != GroupMeasurer.Epochs(ranks))
                throw new InvalidDataException("a worker or a pair is missing");
            return kept;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or InvalidDataException or JsonException or InvalidProtocolBufferException or FormatException
            or KeyNotFoundException or InvalidOperationException)
        {
            LogPassedOver(path, fault.Message);
            return null;
        }
    }

    /// <summary>Keeps a measurement.</summary>
    public void Write(string key, GroupMeasurement measured)
    {
        string path = PathOf(key), fresh = string.Create(CultureInfo.InvariantCulture, $"{path}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(folder);
            using (FileStream file = new(fresh, FileMode.CreateNew))
            using (Utf8JsonWriter json = new(file, new JsonWriterOptions { Indented = true }))
            {
                json.WriteStartObject();
                json.WriteString("release", release);
                json.WriteString("key", key);
                json.WriteString("at", measured.At);
                json.WriteNumber("roundTripSeconds", measured.RoundTripSeconds);
                WriteAll(json, "devices", measured.Devices);
                WriteAll(json, "pairs", measured.Pairs);
                json.WriteEndObject();
            }
            File.Move(fresh, path, overwrite: true);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            LogNotKept(path, fault.Message);
            if (File.Exists(fresh))
                File.Delete(fresh);
        }
    }

    private static void WriteAll(Utf8JsonWriter json, string name, IEnumerable<IMessage> messages)
    {
        json.WriteStartArray(name);
        foreach (IMessage message in messages)
            json.WriteRawValue(JsonFormatter.Default.Format(message));
        json.WriteEndArray();
    }

    private static string Text(JsonElement root, string name) => root.GetProperty(name).GetString() ?? "";

    private string PathOf(string key) => Path.Combine(folder, $"profile-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))[..24]}.json");

    [LoggerMessage(1073, LogLevel.Information, "Profile {Path} is passed over: {Reason}")]
    private partial void LogPassedOver(string path, string reason);

    [LoggerMessage(1074, LogLevel.Warning, "Profile {Path} cannot be kept: {Reason}")]
    private partial void LogNotKept(string path, string reason);
}
