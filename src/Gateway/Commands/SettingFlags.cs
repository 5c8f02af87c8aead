using System.CommandLine;
using System.CommandLine.Parsing;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands;

/// <summary>Settings as flags of a command. Values are checked with those of all other sources, so that every fault is reported together.</summary>
internal sealed class SettingFlags
{
    private readonly IReadOnlyList<(Setting Setting, Option<string[]> Option)> _flags;

    private SettingFlags(IReadOnlyList<(Setting Setting, Option<string[]> Option)> flags) => _flags = flags;

    /// <summary>Gives a command the flags of these settings.</summary>
    public static SettingFlags AddTo(Command command, IEnumerable<Setting> settings)
    {
        SettingFlags flags = new([.. settings.Select(setting => (setting, new Option<string[]>(setting.Flag)
        {
            Description = $"{setting.Summary} Default: {setting.Default}. Allowed: {setting.Allowed}.",
            HelpName = setting.Placeholder,
            Arity = setting.Bare is null ? ArgumentArity.OneOrMore : ArgumentArity.ZeroOrMore,
        }))]);
        foreach ((_, Option option) in flags._flags)
            command.Options.Add(option);
        return flags;
    }

    /// <summary>What the command line says. Of a flag that is no list and stands there twice the last one holds.</summary>
    public IReadOnlyList<GivenSetting> Given(ParseResult parsed)
    {
        List<GivenSetting> given = [];
        foreach ((Setting setting, Option<string[]> option) in _flags)
            if (parsed.GetResult(option) is OptionResult { Implicit: false } result && (result.GetValue(option) is { Length: > 0 } texts ? texts : setting.Bare is { } bare ? [bare] : null) is { } words)
                given.Add(new GivenSetting(setting, setting.Flag, setting.IsList ? string.Join(',', words) : words[^1]));
        return given;
    }
}
