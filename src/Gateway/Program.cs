// The gateway, and the command line around it: serve (default), chat, complete, plan, doctor, health, drain. Read on: Commands/ServeCommand.
using System.Collections;
using System.CommandLine;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Settings;

SettingSources sources = new(
    [.. Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(item => KeyValuePair.Create((string)item.Key, item.Value as string ?? ""))],
    [.. new[] { AppContext.BaseDirectory, Environment.CurrentDirectory }.Select(folder => Path.Combine(folder, "appsettings.json"))]);

RootCommand tpserve = new("TpServe: a tensor-parallel LLM inference server. Without a command it serves.");
ServeCommand.AddTo(tpserve, sources);
tpserve.Subcommands.Add(ServeCommand.Create(sources));
tpserve.Subcommands.Add(ChatCommand.Create());
tpserve.Subcommands.Add(CompleteCommand.Create());
tpserve.Subcommands.Add(PlanCommand.Create(sources));
tpserve.Subcommands.Add(DoctorCommand.Create(sources));
tpserve.Subcommands.Add(HealthCommand.Create());
tpserve.Subcommands.Add(DrainCommand.Create());
tpserve.Subcommands.Add(SettingsCommand.Create());

// The default of two seconds would end the process before a frozen worker is given up and killed.
InvocationConfiguration invocation = new() { ProcessTerminationTimeout = TimeSpan.FromSeconds(10) };
return await tpserve.Parse(args).InvokeAsync(invocation);
