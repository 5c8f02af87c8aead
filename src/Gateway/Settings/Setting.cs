using System.Globalization;
using TpServe.Gateway.Devices;

namespace TpServe.Gateway.Settings;

/// <summary>One row of <see cref="SettingsTable"/>: a setting with every name it has, what it may be, and what it means.</summary>
/// <param name="Group">Heading under which the page lists it.</param>
/// <param name="Name">Property of <see cref="GatewayOptions"/> and key of appsettings.json: MaxRunning.</param>
/// <param name="Flag">On the command line: --max-running.</param>
/// <param name="Summary">What it does, in whole sentences.</param>
internal abstract record Setting(string Group, string Name, string Flag, string Summary)
{
    /// <summary>What the names of environment variables begin with.</summary>
    public const string VariablePrefix = "TPSERVE_";

    /// <summary>Environment variable: TPSERVE_MAX_RUNNING.</summary>
    public string Variable { get; } = VariablePrefix + Flag[2..].Replace('-', '_').ToUpperInvariant();

    /// <summary>The other environment variable: Gateway__MaxRunning.</summary>
    public string LongVariable { get; } = $"{GatewayOptions.Section}__{Name}";

    /// <summary>What stands after the flag in help: "N", "on|off".</summary>
    public abstract string Placeholder { get; }

    /// <summary>The values there are, in words: "1..64".</summary>
    public abstract string Allowed { get; }

    /// <summary>What holds where it is not given.</summary>
    public abstract string Default { get; }

    /// <summary>Whether it may be given several times; its text then is the parts with commas between them.</summary>
    public abstract bool IsList { get; }

    /// <summary>What its flag means without a value; null where it needs one.</summary>
    public abstract string? Bare { get; }

    /// <summary>The options with this setting as the text says; unchanged, with what is wrong, where the text is not allowed.</summary>
    public abstract (GatewayOptions Options, string? Fault) Apply(GatewayOptions options, string text);
}

/// <summary>A setting of a type.</summary>
internal sealed record Setting<T>(
    string Group, string Name, string Flag, SettingKind<T> Kind, Func<GatewayOptions, T> Get, Func<GatewayOptions, T, GatewayOptions> Set, string Summary, string? DefaultInWords)
    : Setting(Group, Name, Flag, Summary)
{
    private static readonly GatewayOptions s_defaults = new();

    public override string Placeholder => Kind.Placeholder;

    public override string Allowed => Kind.Allowed;

    public override string Default => DefaultInWords ?? Kind.Format(Get(s_defaults));

    public override bool IsList => Kind.IsList;

    public override string? Bare => Kind.Bare;

    public override (GatewayOptions Options, string? Fault) Apply(GatewayOptions options, string text)
    {
        (T value, string? fault) = Kind.Parse(text);
        return fault is null ? (Set(options, value), null) : (options, fault);
    }
}

/// <summary>How the values of a type are written, and which are allowed.</summary>
/// <param name="Placeholder">In help, after the flag.</param>
/// <param name="Allowed">In words; faults end with it.</param>
/// <param name="Parse">The value, or what is wrong with the text.</param>
/// <param name="Format">Text that <paramref name="Parse"/> reads back.</param>
/// <param name="IsList">Whether it may be given several times.</param>
/// <param name="Bare">What the flag means without a value; null where it needs one.</param>
internal sealed record SettingKind<T>(string Placeholder, string Allowed, Func<string, (T Value, string? Fault)> Parse, Func<T, string> Format, bool IsList = false, string? Bare = null);

/// <summary>The kinds there are.</summary>
internal static class SettingKinds
{
    /// <summary>Any text.</summary>
    public static SettingKind<string> Text(string placeholder, string allowed) => new(placeholder, allowed, text => (text, null), text => text);

    /// <summary>A whole number.</summary>
    public static SettingKind<int> Whole(int least, int most) => new(
        "N",
        string.Create(CultureInfo.InvariantCulture, $"{least}..{most}"),
        text => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) && value >= least && value <= most
            ? (value, null)
            : (0, string.Create(CultureInfo.InvariantCulture, $"'{text}' is no whole number in {least}..{most}.")),
        value => value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A whole number that has no default.</summary>
    public static SettingKind<int?> WholeOrNone(int least, int most)
    {
        SettingKind<int> whole = Whole(least, most);
        return new SettingKind<int?>(
            whole.Placeholder,
            whole.Allowed,
            text =>
            {
                (int value, string? fault) = whole.Parse(text);
                return (fault is null ? value : null, fault);
            },
            value => value is { } number ? whole.Format(number) : "");
    }

    /// <summary>A whole number that nobody need choose: auto.</summary>
    public static SettingKind<int?> WholeOrAuto(int least, int most)
    {
        SettingKind<int?> whole = WholeOrNone(least, most);
        return whole with
        {
            Placeholder = "auto|N",
            Allowed = "auto, " + whole.Allowed,
            Parse = text => text.Equals("auto", StringComparison.OrdinalIgnoreCase) ? (null, null) : whole.Parse(text),
            Format = value => value is null ? "auto" : whole.Format(value),
        };
    }

    /// <summary>One for all workers, or one each with commas between them.</summary>
    public static SettingKind<PerRank<T>> EachRank<T>(SettingKind<T> one)
        where T : struct => new(
        $"{one.Placeholder}[,{one.Placeholder}…]",
        $"{one.Allowed}, for all workers or one for each",
        text =>
        {
            List<T> values = [];
            foreach (string part in text.Split(','))
            {
                (T value, string? fault) = one.Parse(part.Trim());
                if (fault is not null)
                    return (new PerRank<T>([]), fault);
                values.Add(value);
            }
            return (new PerRank<T>(values), null);
        },
        each => string.Join(',', each.Values.Select(one.Format)));

    /// <summary>A number with a fraction.</summary>
    public static SettingKind<double> Number(double least, double most) => new(
        string.Create(CultureInfo.InvariantCulture, $"{least}..{most}"),
        string.Create(CultureInfo.InvariantCulture, $"{least}..{most}"),
        text => double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value) && value >= least && value <= most
            ? (value, null)
            : (0, string.Create(CultureInfo.InvariantCulture, $"'{text}' is no number in {least}..{most}.")),
        value => value.ToString(CultureInfo.InvariantCulture));

    /// <summary>One of an enum's words.</summary>
    public static SettingKind<T> Word<T>(Words<T> words) where T : struct, Enum => new(
        string.Join('|', words.All),
        string.Join(", ", words.All),
        text => words.TryParse(text, out T value) ? (value, null) : (default, $"'{text}' is not one of {string.Join(", ", words.All)}."),
        words.Of);

    /// <summary>One of some words that stay text; in lower case.</summary>
    public static SettingKind<string> Word(params string[] words) => new(
        string.Join('|', words),
        string.Join(", ", words),
        text => words.FirstOrDefault(word => word.Equals(text, StringComparison.OrdinalIgnoreCase)) is { } known ? (known, null) : ("", $"'{text}' is not one of {string.Join(", ", words)}."),
        word => word);

    /// <summary>on or off, and on where only the flag is given; true and false are what JSON writes.</summary>
    public static SettingKind<bool> OnOff() => new(
        "on|off",
        "on, off",
        text => text.ToUpperInvariant() switch
        {
            "ON" or "TRUE" => (true, null),
            "OFF" or "FALSE" => (false, null),
            _ => (false, $"'{text}' is neither on nor off."),
        },
        value => value ? "on" : "off",
        Bare: "on");

    /// <summary>A duration.</summary>
    public static SettingKind<TimeSpan> Duration(TimeSpan least, TimeSpan most)
    {
        string range = $"{Durations.Format(least)}..{Durations.Format(most)}";
        return new SettingKind<TimeSpan>(
            "DURATION",
            range,
            text => !Durations.TryParse(text, out TimeSpan value) ? (value, $"'{text}' is no duration; write seconds, or 500ms, 5s, 2m, 1h, hh:mm:ss, in {range}.")
                : value < least || value > most ? (value, $"'{text}' is not in {range}.")
                : (value, null),
            Durations.Format);
    }

    /// <summary>A number of bytes.</summary>
    public static SettingKind<long> Bytes(long least, long most)
    {
        string range = $"{ByteSizes.Format(least)}..{ByteSizes.Format(most)}";
        return new SettingKind<long>(
            "SIZE",
            range,
            text => !ByteSizes.TryParse(text, out long value) ? (value, $"'{text}' is no size; write 64KiB, 512MiB, 2GiB, in {range}.")
                : value < least || value > most ? (value, $"'{text}' is not in {range}.")
                : (value, null),
            ByteSizes.Format);
    }

    /// <summary>The KV cache's size.</summary>
    public static SettingKind<KvCacheSize> KvCache() => new(
        "auto|SIZE|TOKENS",
        string.Create(CultureInfo.InvariantCulture, $"auto, 1..{KvCacheSize.MostTokens} tokens, or bytes as in 512MiB, 2GiB"),
        text => KvCacheSize.TryParse(text, out KvCacheSize size)
            ? (size, null)
            : (size, string.Create(CultureInfo.InvariantCulture, $"'{text}' is neither a number of tokens in 1..{KvCacheSize.MostTokens} nor bytes as in 512MiB, 2GiB.")),
        size => size.ToString());

    /// <summary>An address to listen on.</summary>
    public static SettingKind<string> Address() => new(
        "HOST:PORT",
        "IP address or localhost, and a port",
        text => Endpoints.TryParse(text, out _, out string? fault) ? (text, null) : ("", fault),
        address => address);

    /// <summary>What to compute on.</summary>
    public static SettingKind<DeviceWish> Device() => new(
        "auto|cpu|cuda|cuda:N,…|cuda-emulated",
        "auto, cpu, cuda, cuda-emulated, or a GPU for each worker as in cuda:0,cuda:1 or cuda:GPU-UUID",
        text => DeviceWish.TryParse(text, out DeviceWish wish, out string? fault) ? (wish, null) : (wish, fault),
        wish => wish.Text);

    /// <summary>How the model is split.</summary>
    public static SettingKind<PartitionWish> Split() => new(
        "even|auto|w0,w1,…",
        "even, auto, or a number in 0.000001..1000000 for each worker as in 2,1",
        PartitionWish.Parse,
        wish => wish.Text);

    /// <summary>Names that are not empty and differ.</summary>
    public static SettingKind<IReadOnlyList<string>> Names(int most, int mostCharacters)
    {
        string allowed = string.Create(CultureInfo.InvariantCulture, $"1 to {mostCharacters} printable characters without spaces and commas, at most {most} names, each once");
        return new SettingKind<IReadOnlyList<string>>(
            "NAME",
            allowed,
            text =>
            {
                string[] names = text.Split(',', StringSplitOptions.TrimEntries);
                if (names.FirstOrDefault(name => name.Length == 0 || name.Length > mostCharacters || name.Any(letter => char.IsWhiteSpace(letter) || char.IsControl(letter))) is { } wrong)
                    return ([], $"'{wrong}' is not a name of {allowed}.");
                return names.Length <= most && names.Distinct(StringComparer.Ordinal).Count() == names.Length ? (names, null) : ([], $"'{text}' is not {allowed}.");
            },
            names => string.Join(',', names),
            IsList: true);
    }

    /// <summary>Folders by name: NAME=PATH, names that differ.</summary>
    public static SettingKind<IReadOnlyList<string>> NamedFolders(int most, int mostCharacters) => new(
        "NAME=PATH",
        string.Create(CultureInfo.InvariantCulture, $"NAME=PATH, the name of 1 to {mostCharacters} printable characters without spaces, at most {most} of them, each name once"),
        text =>
        {
            string[] all = text.Split(',', StringSplitOptions.TrimEntries);
            foreach (string one in all)
                if (one.IndexOf('=', StringComparison.Ordinal) is var at && (at < 1 || at > mostCharacters || at == one.Length - 1 || one[..at].Any(letter => char.IsWhiteSpace(letter) || char.IsControl(letter))))
                    return ([], $"'{one}' is not NAME=PATH.");
            return all.Length <= most && all.Select(one => one[..one.IndexOf('=', StringComparison.Ordinal)]).Distinct(StringComparer.Ordinal).Count() == all.Length ? (all, null) : ([], $"'{text}' has a name twice, or more than {most}.");
        },
        folders => string.Join(',', folders),
        IsList: true);

    /// <summary>Origins of web pages.</summary>
    public static SettingKind<IReadOnlyList<string>> Origins(int most) => new(
        "ORIGIN",
        string.Create(CultureInfo.InvariantCulture, $"* or scheme://host[:port] without a path, at most {most} of them"),
        text =>
        {
            string[] origins = text.Split(',', StringSplitOptions.TrimEntries);
            foreach (string origin in origins)
                if (origin != "*" && (!Uri.TryCreate(origin, UriKind.Absolute, out Uri? uri) || !uri.GetLeftPart(UriPartial.Authority).Equals(origin, StringComparison.OrdinalIgnoreCase)))
                    return ([], $"'{origin}' is no origin; write scheme://host[:port] without a path, or *.");
            return origins.Length <= most ? (origins, null) : ([], string.Create(CultureInfo.InvariantCulture, $"{origins.Length} are more than {most}."));
        },
        origins => string.Join(',', origins),
        IsList: true);

    /// <summary>Addresses of servers.</summary>
    public static SettingKind<IReadOnlyList<string>> Urls(int most) => new(
        "URL",
        string.Create(CultureInfo.InvariantCulture, $"http://host:port or https://host:port, at most {most} of them"),
        text =>
        {
            string[] urls = text.Split(',', StringSplitOptions.TrimEntries);
            foreach (string url in urls)
                if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https"))
                    return ([], $"'{url}' is not an http://host:port address.");
            return urls.Length <= most ? (urls, null) : ([], string.Create(CultureInfo.InvariantCulture, $"{urls.Length} are more than {most}."));
        },
        urls => string.Join(',', urls),
        IsList: true);
}
