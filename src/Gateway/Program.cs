// The gateway, and the command line around it: serve (default), chat, complete, plan, report, bench, doctor, models, trace, health, drain, keys, secret. Read on: Commands/ServeCommand.
using System.Collections;
using System.CommandLine;
using System.CommandLine.Help;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Commands.Models;
using TpServe.Gateway.Settings;

SettingSources sources = new(
    [.. Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(item => KeyValuePair.Create((string)item.Key, item.Value as string ?? ""))],
    [.. new[] { AppContext.BaseDirectory, Environment.CurrentDirectory }.Select(folder => Path.Combine(folder, "appsettings.json"))]);

RemoteServer.Key = sources.Environment.FirstOrDefault(item => item.Key == RemoteServer.KeyVariable).Value ?? "";

// A command of that name and not a RootCommand: help names what everything else here calls it, not the assembly.
Command tpserve = new("tpserve", "TpServe: a tensor-parallel LLM inference server. Without a command it serves.") { new HelpOption(), new VersionOption() };
ServeCommand.AddTo(tpserve, sources);
tpserve.Subcommands.Add(ServeCommand.Create(sources));
tpserve.Subcommands.Add(ChatCommand.Create(sources.Environment));
tpserve.Subcommands.Add(CompleteCommand.Create());
tpserve.Subcommands.Add(PlanCommand.Create(sources));
tpserve.Subcommands.Add(ReportCommand.Create(sources));
tpserve.Subcommands.Add(ReportCommand.CreateServer(sources));
tpserve.Subcommands.Add(BenchCommand.Create());
tpserve.Subcommands.Add(DoctorCommand.Create(sources));
tpserve.Subcommands.Add(ModelsCommand.Create(sources));
tpserve.Subcommands.Add(HealthCommand.Create());
tpserve.Subcommands.Add(DrainCommand.Create());
tpserve.Subcommands.Add(ReshardCommand.Create());
tpserve.Subcommands.Add(KeysCommand.Create(sources));
tpserve.Subcommands.Add(SecretCommand.Create());
tpserve.Subcommands.Add(TraceCommand.Create());
tpserve.Subcommands.Add(SettingsCommand.Create());

// What is not understood is one line, not the whole help.
ParseResult parsed = tpserve.Parse(args);
if (UsageFault.Of(parsed) is { } usage)
{
    UsageFault.Tell(usage);
    return UsageFault.ExitCode;
}

// A server has its own way to end (DrainingLifetime); the other commands are cancelled.
InvocationConfiguration invocation = new()
{
    EnableDefaultExceptionHandler = false,
    ProcessTerminationTimeout = parsed.CommandResult.Command == tpserve || parsed.CommandResult.Command is { Name: "serve" or ReportCommand.ServerName } ? null : TimeSpan.FromSeconds(10),
};
try
{
    return await parsed.InvokeAsync(invocation);
}
catch (Exception fault) when (UsageFault.IsClosedTerminal(fault))
{
    UsageFault.Tell("standard output cannot be written: " + fault.GetBaseException().Message);
    return 1;
}
