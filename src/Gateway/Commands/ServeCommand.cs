using System.CommandLine;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve serve: every setting is a flag.</summary>
internal static class ServeCommand
{
    /// <param name="sources">Where settings come from beside the flags.</param>
    public static Command Create(SettingSources sources)
    {
        Command serve = new("serve", "Starts the workers and serves gRPC and HTTP (the default command).");
        AddTo(serve, sources);
        return serve;
    }

    /// <summary>Gives a command the flags of serve, and its action.</summary>
    public static void AddTo(Command command, SettingSources sources)
    {
        SettingFlags flags = SettingFlags.AddTo(command, SettingsTable.All);
        command.SetAction((parsed, cancellation) => Server.RunAsync(sources, flags.Given(parsed), cancellation));
    }
}

/// <summary>tpserve settings, which help does not name: prints the gateway's part of docs/SETTINGS.md.</summary>
internal static class SettingsCommand
{
    public static Command Create()
    {
        Command settings = new("settings", "Prints the table of settings as docs/SETTINGS.md has it.") { Hidden = true };
        settings.SetAction(_ => Console.Out.Write(SettingsPage.Render()));
        return settings;
    }
}
