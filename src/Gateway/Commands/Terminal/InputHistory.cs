using System.Text;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>What was written at the prompt, one message a line of a file that only its owner may read; \n and \ are escaped.</summary>
/// <remarks>A file that cannot be read or written costs the history and nothing else.</remarks>
internal sealed class InputHistory
{
    private const int MostEntries = 1000;
    private const int MostCharacters = 20_000;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly string? _path;
    private readonly List<string> _entries = [];

    /// <param name="path">The file; null = nothing is kept.</param>
    public InputHistory(string? path)
    {
        _path = path;
        try
        {
            if (path is not null && File.Exists(path))
                _entries.AddRange(File.ReadLines(path).TakeLast(MostEntries).Select(Unescape));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            _path = null;
        }
    }

    /// <summary>The file in the user's cache folder; null where there is no home.</summary>
    /// <param name="environment">The process's variables.</param>
    public static string? PathOf(IEnumerable<KeyValuePair<string, string>> environment)
    {
        Dictionary<string, string> variables = environment.DistinctBy(one => one.Key).ToDictionary(one => one.Key, one => one.Value);
        string? root = variables.GetValueOrDefault("XDG_CACHE_HOME") is { Length: > 0 } cache && Path.IsPathRooted(cache) ? cache
            : variables.GetValueOrDefault("HOME") is { Length: > 0 } home ? Path.Combine(home, ".cache") : null;
        return root is null ? null : Path.Combine(root, "tpserve", "chat-history");
    }

    /// <summary>The oldest first.</summary>
    public IReadOnlyList<string> Entries => _entries;

    /// <summary>Adds a message, unless it is the last one again.</summary>
    public void Add(string text)
    {
        if (text.Length is 0 or > MostCharacters || (_entries.Count > 0 && _entries[^1] == text))
            return;
        _entries.Add(text);
        if (_entries.Count > MostEntries)
            _entries.RemoveAt(0);
        if (_path is null)
            return;
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
            string fresh = $"{_path}.{Environment.ProcessId}";
            FileStreamOptions options = new() { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
                options.UnixCreateMode = OwnerOnly;
            using (FileStream file = new(fresh, options))
                file.Write(Encoding.UTF8.GetBytes(string.Concat(_entries.Select(entry => Escape(entry) + "\n"))));
            File.Move(fresh, _path, overwrite: true);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // What was written stays in memory.
        }
    }

    private static string Escape(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "", StringComparison.Ordinal);

    private static string Unescape(string line)
    {
        StringBuilder text = new();
        for (int i = 0; i < line.Length; i++)
            text.Append(line[i] != '\\' || i + 1 == line.Length ? line[i] : line[++i] == 'n' ? '\n' : line[i]);
        return text.ToString();
    }
}
