using System.Globalization;
using System.Text;

namespace TpServe.Gateway.Settings;

/// <summary>The gateway's part of docs/SETTINGS.md, from the table; the worker's program prints its own.</summary>
internal static class SettingsPage
{
    public static string Render()
    {
        StringBuilder page = new("""
            # Settings

            Printed by `make settings` from the tables in `src/Gateway/Settings/SettingsTable.cs` and `src/Worker/WorkerSettings.cs`; a test compares. Change those.

            Sources, of which the later one wins: `appsettings.json` beside the program, `appsettings.json` in the working directory, the environment, flags. In a file a setting is
            a key of the section `Gateway`, as in `{"Gateway": {"Tp": 3}}`; in the environment it is `TPSERVE_TP` or `Gateway__Tp`. A name that no setting has, and a value that is not
            allowed, are errors: the server reports all of them in one line and ends with code 1. `tpserve doctor` with the same flags reports them too.

            Durations are seconds (`5`), or `500ms`, `5s`, `2m`, `1h`, `hh:mm:ss`. Sizes are `64KiB`, `512MiB`, `2GiB`.

            """);
        foreach (IGrouping<string, Setting> group in SettingsTable.All.GroupBy(setting => setting.Group))
        {
            page.Append(CultureInfo.InvariantCulture, $"\n## {group.Key}\n\n| flag | environment | name | default | allowed | what it does |\n| --- | --- | --- | --- | --- | --- |\n");
            foreach (Setting setting in group)
                page.Append(CultureInfo.InvariantCulture, $"| `{setting.Flag}` | `{setting.Variable}` | `{setting.Name}` | {setting.Default} | {setting.Allowed} | {setting.Summary} |\n");
        }
        return page.ToString();
    }
}
