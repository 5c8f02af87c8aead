// The gateway, and the command line around it: serve (default), chat, complete, plan, doctor, health, drain. Read on: Commands/ServeCommand.
using System.CommandLine;
using TpServe.Gateway.Commands;

RootCommand tpserve = new("TpServe: a tensor-parallel LLM inference server. Without a command it serves.");
ServeCommand.AddTo(tpserve);
tpserve.Subcommands.Add(ServeCommand.Create());
tpserve.Subcommands.Add(ChatCommand.Create());
tpserve.Subcommands.Add(CompleteCommand.Create());
tpserve.Subcommands.Add(PlanCommand.Create());
tpserve.Subcommands.Add(DoctorCommand.Create());
tpserve.Subcommands.Add(HealthCommand.Create());
tpserve.Subcommands.Add(DrainCommand.Create());

// The default of two seconds would end the process before a frozen worker is given up and killed.
InvocationConfiguration invocation = new() { ProcessTerminationTimeout = TimeSpan.FromSeconds(10) };
return await tpserve.Parse(args).InvokeAsync(invocation);
