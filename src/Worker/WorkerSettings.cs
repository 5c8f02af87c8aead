using System.Text;
using TpServe.Checkpoint;
using TpServe.Links;

namespace TpServe.Worker;

/// <summary>The worker's settings: one table from which flags, environment variables, checks, --help and the worker's part of docs/SETTINGS.md come.</summary>
/// <remarks>
/// Later sources win: appsettings.json beside the program, appsettings.json in the working directory, environment, flags. A worker that the gateway
/// started reads its flags alone: what else it finds is the gateway's.
/// </remarks>
internal static class WorkerSettings
{
    /// <summary>The flag that prints the table.</summary>
    public const string Help = "--help";

    /// <summary>The command that prints the worker's part of docs/SETTINGS.md.</summary>
    public const string PageCommand = "settings";

    private const string AliasPrefix = "TPSERVE_";
    private const int MostSecretBytes = 4096; // it goes into every call's headers
    private static readonly string[] s_logLevels = ["trace", "debug", "information", "warning", "error"];

    /// <summary>One setting.</summary>
    /// <param name="Name">Key in the section Worker.</param>
    /// <param name="Flag">On the command line.</param>
    /// <param name="Allowed">Values, in words.</param>
    /// <param name="Default">What holds where it is not given.</param>
    /// <param name="Summary">What it is for.</param>
    /// <param name="Set">The options with the value, or what is wrong with it.</param>
    /// <param name="Bare">What the flag means without a value; null where it needs one.</param>
    internal sealed record Setting(string Name, string Flag, string Allowed, string Default, string Summary, Func<WorkerOptions, string, (WorkerOptions Options, string Fault)> Set, string? Bare = null)
    {
        /// <summary>TPSERVE_SECRET_FILE for --secret-file.</summary>
        public string Alias => AliasPrefix + Flag[2..].Replace('-', '_').ToUpperInvariant();

        /// <summary>Worker__SecretFile.</summary>
        public string Variable => $"{WorkerOptions.Section}__{Name}";

        /// <summary>Worker:SecretFile.</summary>
        public string Key => $"{WorkerOptions.Section}:{Name}";
    }

    /// <summary>Every setting.</summary>
    public static IReadOnlyList<Setting> Table { get; } =
    [
        new(nameof(WorkerOptions.Listen), "--listen", "HOST:PORT or unix:/PATH", "none: it must be given", "Where it serves the gateway and its peers. A host's name is resolved at start.",
            (options, text) => ListenAddress.TryParse(text, out ListenAddress address, out string fault) ? (options with { Listen = address }, "") : (options, fault)),
        new(nameof(WorkerOptions.SecretFile), "--secret-file", "FILE", "none: it must be given", "File with the secret shared with the gateway; its content is trimmed.",
            (options, text) => (options with { SecretFile = text }, FileFault(text))),
        new(nameof(WorkerOptions.Tls), LinkSecurity.TlsFlag, "DIR", "none: links are not encrypted", "Folder with the group's certificate and key, which tpserve secret --tls DIR writes: gateway and peers must show it, and are shown it.",
            (options, text) => (options with { Tls = text }, TlsFault(text))),
        new(nameof(WorkerOptions.InsecureLinks), LinkSecurity.InsecureFlag, "true, false", "false", "Lets it listen beyond this host without --tls, where the network is trusted: who listens in there reads prompts and answers.",
            (options, text) => bool.TryParse(text, out bool insecure) ? (options with { InsecureLinks = insecure }, "") : (options, "is neither true nor false"), Bare: "true"),
        new(nameof(WorkerOptions.Advertise), "--advertise", "http://HOST:PORT, with --tls https://HOST:PORT", "the address of --listen", "Address under which the other workers reach this one.",
            (options, text) => (options with { Advertise = text }, Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https" ? "" : "is not an http://HOST:PORT address")),
        new(nameof(WorkerOptions.LogLevel), "--log-level", string.Join(", ", s_logLevels), "information", "Least level of what is logged.",
            (options, text) => (options with { LogLevel = text }, s_logLevels.Contains(text) ? "" : $"is not one of {string.Join(", ", s_logLevels)}")),
        new(nameof(WorkerOptions.Supervised), "--supervised", "true, false", "false", "Given by a gateway that starts the worker: the secret comes on standard input, whose end ends the worker.",
            (options, text) => bool.TryParse(text, out bool supervised) ? (options with { Supervised = supervised }, "") : (options, "is neither true nor false")),
    ];

    /// <summary>Reads and checks all sources.</summary>
    /// <param name="arguments">Of the command line: --listen VALUE, --listen=VALUE, --Worker:Listen=VALUE.</param>
    /// <param name="environment">The process's variables.</param>
    /// <param name="files">appsettings.json files, the later one wins; those that do not exist are passed over.</param>
    /// <returns>The settings, and every fault found.</returns>
    public static (WorkerOptions Options, IReadOnlyList<string> Faults) Read(
        IReadOnlyList<string> arguments, IEnumerable<KeyValuePair<string, string>> environment, IEnumerable<string> files)
    {
        List<string> faults = [];
        Dictionary<Setting, (string Source, string Value)> given = [];
        Dictionary<Setting, (string Source, string Value)> flags = ReadFlags(arguments, faults);
        bool supervised = flags.Any(flag => flag.Key.Name == nameof(WorkerOptions.Supervised) && bool.TryParse(flag.Value.Value, out bool value) && value);
        if (!supervised)
        {
            ReadFiles(files, given, faults);
            ReadEnvironment(environment, given, faults);
        }
        foreach ((Setting setting, (string, string) value) in flags)
            given[setting] = value;

        WorkerOptions options = new();
        foreach ((Setting setting, (string source, string value)) in given)
        {
            (options, string fault) = setting.Set(options, value);
            if (fault.Length > 0)
                faults.Add($"{source}: '{value}' {fault}.");
        }
        if (!given.Keys.Any(setting => setting.Name == nameof(WorkerOptions.Listen)))
            faults.Add("--listen: an address is needed, HOST:PORT or unix:/PATH.");
        if (options.Supervised == (options.SecretFile.Length > 0))
            faults.Add("--secret-file: a file with the group's secret is needed, or --supervised true where the gateway gives the secret, and not both.");
        if (LinkSecurity.ListenFault(options.Listen.EndPoints, options.Tls.Length > 0, options.InsecureLinks) is { } open)
            faults.Add($"--listen: '{options.Listen.Text}' {open}.");
        if (options.Advertise.Length > 0 && options.Listen.Socket is null && options.Advertise.StartsWith("https:", StringComparison.OrdinalIgnoreCase) != options.Tls.Length > 0)
            faults.Add($"--advertise: '{options.Advertise}' must begin with {(options.Tls.Length > 0 ? "https, as --tls is given" : "http, as --tls is not given")}.");
        return (options, faults);
    }

    /// <summary>What --help prints.</summary>
    public static string HelpText()
    {
        StringBuilder text = new("TpServe worker: one rank on one device. The gateway starts those of its own host; start others by hand.\n\n");
        foreach (Setting setting in Table)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"  {setting.Flag,-16} {setting.Summary} Allowed: {setting.Allowed}. Default: {setting.Default}. Environment: {setting.Alias}, {setting.Variable}.\n");
        return text.Append("\n  devices [--json]  prints what this process can compute on, and ends.\n").ToString();
    }

    /// <summary>The worker's part of docs/SETTINGS.md.</summary>
    public static string Page()
    {
        StringBuilder page = new("\n## Worker\n\nOf `TpServe.Worker`, for workers that are started by hand. The section of appsettings.json is `Worker`; the environment knows `Worker__NAME` too.\n\n");
        page.Append("| flag | environment | name | default | allowed | what it does |\n| --- | --- | --- | --- | --- | --- |\n");
        foreach (Setting setting in Table)
            page.Append(System.Globalization.CultureInfo.InvariantCulture, $"| `{setting.Flag}` | `{setting.Alias}` | `{setting.Name}` | {setting.Default} | {setting.Allowed} | {setting.Summary} |\n");
        return page.ToString();
    }

    private static Dictionary<Setting, (string Source, string Value)> ReadFlags(IReadOnlyList<string> arguments, List<string> faults)
    {
        Dictionary<Setting, (string, string)> flags = [];
        for (int i = 0; i < arguments.Count; i++)
        {
            string[] parts = arguments[i].Split('=', 2);
            Setting? setting = Table.FirstOrDefault(setting => setting.Flag == parts[0] || parts[0].Equals("--" + setting.Key, StringComparison.OrdinalIgnoreCase));
            if (setting is null)
                faults.Add($"{arguments[i]}: no such flag; there are {string.Join(", ", Table.Select(known => known.Flag))}.");
            else if (parts.Length == 2)
                flags[setting] = (parts[0], parts[1]);
            else if (setting.Bare is { } bare && (i + 1 == arguments.Count || arguments[i + 1].StartsWith("--", StringComparison.Ordinal)))
                flags[setting] = (parts[0], bare);
            else if (i + 1 < arguments.Count)
                flags[setting] = (parts[0], arguments[++i]);
            else
                faults.Add($"{parts[0]}: a value is needed: {setting.Allowed}.");
        }
        return flags;
    }

    private static void ReadFiles(IEnumerable<string> files, Dictionary<Setting, (string, string)> given, List<string> faults)
    {
        foreach (string file in files)
            try
            {
                if (RegularFile.Fault(file) is { } irregular)
                    throw new InvalidDataException($"{irregular}; a regular file is needed");
                foreach (IConfigurationSection entry in new ConfigurationBuilder().AddJsonFile(file, optional: true).Build().GetSection(WorkerOptions.Section).GetChildren())
                    Take(entry.Key, entry.Value ?? "", $"{file}, {WorkerOptions.Section}:{entry.Key}", given, faults);
            }
            catch (Exception fault) when (fault is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                faults.Add($"{file}: {fault.GetBaseException().Message}");
            }
    }

    private static void ReadEnvironment(IEnumerable<KeyValuePair<string, string>> environment, Dictionary<Setting, (string, string)> given, List<string> faults)
    {
        const string Prefix = WorkerOptions.Section + "__";
        foreach ((string name, string value) in environment)
            if (name.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
                Take(name[Prefix.Length..], value, name, given, faults);
            else if (Table.FirstOrDefault(setting => setting.Alias == name) is { } setting)
                Take(setting.Name, value, name, given, faults);
    }

    /// <summary>Empty = not given: so a compose file may pass on a variable that nobody has set.</summary>
    private static void Take(string name, string value, string source, Dictionary<Setting, (string, string)> given, List<string> faults)
    {
        Setting? setting = Table.FirstOrDefault(setting => setting.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (setting is null)
            faults.Add($"{source}={value}: no such setting; there are {string.Join(", ", Table.Select(known => known.Name))}.");
        else if (value.Length > 0)
            given[setting] = (source, value);
    }

    private static string TlsFault(string folder)
    {
        try
        {
            GroupCertificate.Read(folder);
            return "";
        }
        catch (LinkException fault)
        {
            return "is no folder with the group's certificate: " + fault.Message.TrimEnd('.');
        }
    }

    private static string FileFault(string path)
    {
        if (RegularFile.Fault(path) is { } irregular)
            return $"{irregular}; a regular file is needed";
        try
        {
            using FileStream file = File.OpenRead(path);
            return file.Length > MostSecretBytes ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"has {file.Length} bytes; a secret has at most {MostSecretBytes}") : "";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return $"cannot be read: {fault.Message.TrimEnd('.')}";
        }
    }
}
