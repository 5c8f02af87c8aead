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

// A server has its own way to end (DrainingLifetime); the other commands are cancelled.
ParseResult parsed = tpserve.Parse(args);
InvocationConfiguration invocation = new() { ProcessTerminationTimeout = parsed.CommandResult.Command is RootCommand or { Name: "serve" } ? null : TimeSpan.FromSeconds(10) };
return await parsed.InvokeAsync(invocation);
