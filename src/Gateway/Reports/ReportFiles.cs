using System.Globalization;
using System.Text;
using Google.Protobuf;
using TpServe.Checkpoint;
using TpServe.Gateway.Reports.Pages;
using TpServe.Gateway.Reports.TensorBoard;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports;

/// <summary>A report's folder: written by the command, read by the server that shows it.</summary>
/// <remarks>
/// The page is the last file to appear, and each appears whole, so that a server that looks meanwhile shows the old report or the new one. Only names that stand
/// here are ever opened.
/// </remarks>
internal static class ReportFiles
{
    private const string Page = "index.html", Message = "report.json", Runs = "tensorboard";
    private const long MostBytes = 32L << 20;
    private static readonly UTF8Encoding s_utf8 = new(encoderShouldEmitUTF8Identifier: false);
    private static readonly JsonFormatter s_json = new(JsonFormatter.Settings.Default.WithPreserveProtoFieldNames(true).WithFormatDefaultValues(true).WithIndentation());
    private static readonly JsonParser s_parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    /// <summary>Writes all files and says which. TensorBoard's runs of a report that lay there before go: it would show both.</summary>
    public static IReadOnlyList<string> Write(string folder, TpReport report, DateTimeOffset at)
    {
        Directory.CreateDirectory(folder);
        string runs = Path.Combine(folder, Runs);
        if (Directory.Exists(runs))
            foreach (string old in Directory.EnumerateFiles(runs, "events.out.tfevents.*.tpserve", SearchOption.AllDirectories).ToArray())
                File.Delete(old);
        List<string> written = [];
        foreach ((string name, string content) in CsvTables.Of(report))
            Put(name, s_utf8.GetBytes(content));
        foreach ((string run, string name, byte[] content) in TensorBoardRuns.Of(report, at))
            Put(Path.Combine(Runs, run, name), content);
        Put(Message, s_utf8.GetBytes(s_json.Format(report) + "\n"));
        Put(Page, s_utf8.GetBytes(ReportPage.Render(report)));
        return written;

        void Put(string name, byte[] content)
        {
            string path = Path.Combine(folder, name), fresh = string.Create(CultureInfo.InvariantCulture, $"{path}.{Environment.ProcessId}.new");
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(fresh, content);
            File.Move(fresh, path, overwrite: true);
            written.Add(path);
        }
    }

    /// <summary>What a client is told where there is none; a server's folders are not the client's business.</summary>
    public static string Missing(string folder) => folder.Length == 0 ? "This server shows no report: it was started without --report." : "No report has been written yet.";

    /// <summary>The page's bytes; null where none is there or it cannot be read.</summary>
    public static Task<byte[]?> ReadPageAsync(string folder, CancellationToken cancellation) => ReadAsync(folder, Page, cancellation);

    /// <summary>The report; null where none is there or it cannot be read.</summary>
    /// <exception cref="InvalidProtocolBufferException">What lies there is no report.</exception>
    public static async Task<TpReport?> ReadReportAsync(string folder, CancellationToken cancellation)
    {
        byte[]? bytes = await ReadAsync(folder, Message, cancellation);
        return bytes is null ? null : s_parser.Parse<TpReport>(s_utf8.GetString(bytes));
    }

    private static async Task<byte[]?> ReadAsync(string folder, string name, CancellationToken cancellation)
    {
        string path = Path.Combine(folder, name);
        if (folder.Length == 0 || RegularFile.Fault(path) is not null)
            return null;
        try
        {
            await using FileStream file = File.OpenRead(path);
            if (file.Length > MostBytes)
                return null;
            byte[] bytes = new byte[file.Length];
            await file.ReadExactlyAsync(bytes, cancellation);
            return bytes;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
