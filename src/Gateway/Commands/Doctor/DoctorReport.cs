using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>Prints findings: a table and the lines to change for people, one JSON document for programs.</summary>
internal static class DoctorReport
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string ToJson(IReadOnlyList<Finding> findings) => JsonSerializer.Serialize(
        new
        {
            ok = !findings.Any(finding => finding.Verdict == Verdict.Fail),
            checks = findings.Select(finding => new { check = finding.Check, verdict = Word(finding.Verdict), text = finding.Text, fix = finding.Fix }),
        },
        Json);

    public static void Print(IReadOnlyList<Finding> findings, IAnsiConsole console, TextWriter output)
    {
        Table table = new Table().Border(TableBorder.Simple).AddColumn(new TableColumn("check").NoWrap()).AddColumn("").AddColumn("found");
        foreach (Finding finding in findings)
            table.AddRow(new Text(finding.Check), new Text(Word(finding.Verdict), Colour(finding.Verdict)), new Text(finding.Text));
        console.Write(table);

        // Outside the table: a line that is to be copied must not be broken.
        Finding[] faulty = [.. findings.Where(finding => finding.Verdict != Verdict.Ok)];
        if (faulty.Length == 0)
            output.WriteLine("Nothing to change.");
        foreach (Finding finding in faulty)
            output.WriteLine($"{Word(finding.Verdict)} {finding.Check}: {finding.Fix}");
    }

    private static string Word(Verdict verdict) => verdict switch
    {
        Verdict.Ok => "OK",
        Verdict.Warn => "WARN",
        _ => "FAIL",
    };

    private static Style Colour(Verdict verdict) => verdict switch
    {
        Verdict.Ok => new Style(Color.Green),
        Verdict.Warn => new Style(Color.Yellow),
        _ => new Style(Color.Red),
    };
}
