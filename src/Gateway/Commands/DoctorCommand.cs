using System.CommandLine;
using Spectre.Console;
using TpServe.Gateway.Commands.Doctor;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve doctor: checks what this host or container gives for the same flags as serve, and says which line to change.</summary>
internal static class DoctorCommand
{
    public static Command Create()
    {
        Option<bool> json = new("--json") { Description = "Print JSON." };
        Command doctor = new("doctor", "Checks what this host or container gives, for the flags of serve, and prints the lines to change. Exit code 1 where something fails.") { json };
        ServeCommand.AddFlagsTo(doctor);
        doctor.SetAction(async (parsed, cancellation) =>
        {
            (GatewayOptions options, IReadOnlyList<string> faults) = GatewaySettings.Read(GatewaySettings.CreateBuilder(ServeCommand.Overrides(parsed)).Configuration);
            IReadOnlyList<Finding> findings = Examination.Run(await FactGathering.RunAsync(options, faults, cancellation));
            if (parsed.GetValue(json))
                Console.WriteLine(DoctorReport.ToJson(findings));
            else
                DoctorReport.Print(findings, AnsiConsole.Console, Console.Out);
            return findings.Any(finding => finding.Verdict == Verdict.Fail) ? 1 : 0;
        });
        return doctor;
    }
}
