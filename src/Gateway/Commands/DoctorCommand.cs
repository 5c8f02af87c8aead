using System.CommandLine;
using Spectre.Console;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Doctor;
using TpServe.Gateway.Commands.Models;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve doctor: checks what this host or container gives for the same flags as serve, and says which line to change.</summary>
internal static class DoctorCommand
{
    /// <param name="sources">Where settings come from beside the flags.</param>
    public static Command Create(SettingSources sources)
    {
        Option<bool> json = new("--json") { Description = "Print JSON." };
        Command doctor = new("doctor", "Checks what this host or container gives, for the flags of serve, and prints the lines to change. Exit code 1 where something fails.") { json };
        SettingFlags flags = SettingFlags.AddTo(doctor, SettingsTable.All);
        doctor.SetAction(async (parsed, cancellation) =>
        {
            (GatewayOptions options, IReadOnlyList<string> faults) = GatewaySettings.Read(sources, flags.Given(parsed));
            try
            {
                options = (await NamedModels.ResolveAsync(options, sources.Environment, mayDownload: false, cancellation)).Options;
            }
            catch (ModelLoadException fault)
            {
                faults = [.. faults, fault.Message];
            }
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
