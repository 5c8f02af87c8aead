// The gateway, and the command line around it: serve (default), chat, complete, plan. Read on: Commands/ServeCommand.
using System.CommandLine;
using TpServe.Gateway.Commands;

RootCommand tpserve = new("TpServe: a tensor-parallel LLM inference server. Without a command it serves.");
ServeCommand.AddTo(tpserve);
tpserve.Subcommands.Add(ServeCommand.Create());
tpserve.Subcommands.Add(ChatCommand.Create());
tpserve.Subcommands.Add(CompleteCommand.Create());
tpserve.Subcommands.Add(PlanCommand.Create());
return await tpserve.Parse(args).InvokeAsync();
