using Microsoft.Extensions.Options;
using TpServe.Checkpoint;

namespace TpServe.Gateway.Settings;

/// <summary>Where settings come from beside the command line.</summary>
/// <param name="Environment">The process's variables.</param>
/// <param name="Files">appsettings.json files, the later one wins; those that do not exist are passed over.</param>
internal sealed record SettingSources(IReadOnlyList<KeyValuePair<string, string>> Environment, IReadOnlyList<string> Files);

/// <summary>A setting as somebody wrote it.</summary>
/// <param name="Setting">Which.</param>
/// <param name="Source">Where, as faults name it: "--tp", "--tp (TPSERVE_TP)".</param>
/// <param name="Text">What.</param>
internal sealed record GivenSetting(Setting Setting, string Source, string Text);

/// <summary>Reads the settings from all sources by <see cref="SettingsTable"/>.</summary>
/// <remarks>
/// Later sources win: appsettings.json beside the program, appsettings.json in the working directory, environment, flags. Two names of a setting in the
/// environment must agree. Outside flags an empty text is no text, so that a compose file may pass on a variable that nobody has set.
/// </remarks>
internal static class GatewaySettings
{
    private const string LongPrefix = GatewayOptions.Section + "__";

    /// <summary>The settings, and every fault in them; what cannot be read keeps its default.</summary>
    public static (GatewayOptions Options, IReadOnlyList<string> Faults) Read(SettingSources sources, IReadOnlyList<GivenSetting> flags)
    {
        // 1. Who says what.
        List<string> faults = [];
        Dictionary<Setting, GivenSetting> given = [];
        foreach (string file in sources.Files)
            Take(ReadFile(file, faults), given);
        Take(ReadEnvironment(sources.Environment, faults), given);
        Take(flags, given);

        // 2. Each text by its kind.
        GatewayOptions options = new();
        HashSet<string> unread = [];
        foreach (GivenSetting setting in given.Values)
        {
            (options, string? fault) = setting.Setting.Apply(options, setting.Text);
            if (fault is null)
                continue;
            faults.Add($"{setting.Source}: {fault}");
            unread.Add(setting.Setting.Name);
        }

        // 3. What must fit together; a setting that could not be read says nothing here.
        faults.AddRange(SettingRules.Faults(options, unread));
        return (options, faults);
    }

    /// <summary>The settings.</summary>
    /// <exception cref="OptionsValidationException">Every fault found, not only the first.</exception>
    public static GatewayOptions Require(SettingSources sources, IReadOnlyList<GivenSetting> flags)
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = Read(sources, flags);
        return faults.Count == 0 ? options : throw new OptionsValidationException(GatewayOptions.Section, typeof(GatewayOptions), faults);
    }

    private static void Take(IEnumerable<GivenSetting> settings, Dictionary<Setting, GivenSetting> given)
    {
        foreach (GivenSetting setting in settings)
            given[setting.Setting] = setting;
    }

    private static List<GivenSetting> ReadFile(string file, List<string> faults)
    {
        List<GivenSetting> given = [];
        IConfigurationSection section;
        if (RegularFile.Fault(file) is { } irregular)
        {
            faults.Add($"{file}: {irregular}; a regular file is needed.");
            return given;
        }
        try
        {
            section = new ConfigurationBuilder().AddJsonFile(file, optional: true).Build().GetSection(GatewayOptions.Section);
        }
        catch (Exception fault) when (fault is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            faults.Add($"{file}: {fault.GetBaseException().Message}");
            return given;
        }
        foreach (IConfigurationSection entry in section.GetChildren())
        {
            IConfigurationSection[] parts = [.. entry.GetChildren()];
            Add($"{file}, {entry.Path}", entry.Key, parts.Length > 0 ? string.Join(',', parts.Select(part => part.Value)) : entry.Value ?? "", parts.Length > 0, given, faults);
        }
        return given;
    }

    private static List<GivenSetting> ReadEnvironment(IReadOnlyList<KeyValuePair<string, string>> environment, List<string> faults)
    {
        List<GivenSetting> given = [];

        // 1. Gateway__Tp, and Gateway__Workers__0, Gateway__Workers__1, … in the order of their numbers.
        IEnumerable<(string Variable, string[] Path, string Text)> long_ = environment
            .Where(item => item.Key.StartsWith(LongPrefix, StringComparison.OrdinalIgnoreCase))
            .Select(item => (item.Key, item.Key[LongPrefix.Length..].Split("__"), item.Value));
        foreach (IGrouping<string, (string Variable, string[] Path, string Text)> group in long_.GroupBy(item => item.Path[0], StringComparer.OrdinalIgnoreCase))
        {
            (string Variable, string[] Path, string Text)[] parts = [.. group.Where(item => item.Text.Length > 0).OrderBy(item => int.TryParse(item.Path[^1], out int index) ? index : -1)];
            Add(group.First().Variable, group.Key, string.Join(',', parts.Select(part => part.Text)), group.Any(item => item.Path.Length > 1), given, faults);
        }

        // 2. TPSERVE_TP.
        foreach ((string variable, string text) in environment.Where(item => item.Key.StartsWith(Setting.VariablePrefix, StringComparison.Ordinal)))
            if (SettingsTable.All.FirstOrDefault(setting => setting.Variable == variable) is not { } known)
            {
                if (!SettingsTable.IsForeign(variable))
                    faults.Add($"{variable}={text}: no such setting; the nearest is {Spelling.Nearest(variable, SettingsTable.All.Select(setting => setting.Variable))}.");
            }
            else if (given.FirstOrDefault(other => other.Setting == known) is { } other && text.Length > 0 && other.Text != text)
                faults.Add($"{known.Flag}: {variable}={text} and {known.LongVariable}={other.Text} are the same setting; give one of them.");
            else
                Add(variable, known.Name, text, isList: false, given, faults);
        return given;
    }

    private static void Add(string source, string name, string text, bool isList, List<GivenSetting> given, List<string> faults)
    {
        Setting? setting = SettingsTable.All.FirstOrDefault(setting => setting.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (setting is null)
        {
            string nearest = Spelling.Nearest(name, SettingsTable.All.Select(known => known.Name));
            faults.Add($"{source}={text}: no such setting; the nearest is {source[(source.LastIndexOf(' ') + 1)..^name.Length]}{nearest}.");
        }
        else if (isList && !setting.IsList)
            faults.Add($"{setting.Flag} ({source}): it is no list.");
        else if (text.Length > 0)
            given.Add(new GivenSetting(setting, $"{setting.Flag} ({source})", text));
    }
}

/// <summary>What a misspelt name may have meant.</summary>
internal static class Spelling
{
    /// <summary>The candidate that begins with the name, or else has the fewest letters to insert, remove or replace, in any case; the first of several.</summary>
    public static string Nearest(string name, IEnumerable<string> candidates) => candidates.MinBy(candidate =>
        candidate.StartsWith(name, StringComparison.OrdinalIgnoreCase) ? 0 : Distance(name.ToUpperInvariant(), candidate.ToUpperInvariant()))!;

    /// <summary>The nearest, where no more than half of the name's letters need a change; null where nothing resembles it.</summary>
    public static string? Near(string name, IEnumerable<string> candidates)
    {
        string nearest = Nearest(name, candidates);
        return nearest.StartsWith(name, StringComparison.OrdinalIgnoreCase)
            || 2 * Distance(name.ToUpperInvariant(), nearest.ToUpperInvariant()) <= name.TrimStart('-').Length ? nearest : null;
    }

    /// <summary>Levenshtein 1966, row by row.</summary>
    private static int Distance(string from, string to)
    {
        int[] row = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 1; i <= from.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= to.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (from[i - 1] == to[j - 1] ? 0 : 1)));
        }
        return row[^1];
    }
}
