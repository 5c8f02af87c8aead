using System.Text;
using System.Text.RegularExpressions;
using OpenTelemetry.Exporter;

namespace TpServe.Gateway.Telemetry;

/// <summary>GET /metrics: the exporter's text with the names that dashboards expect.</summary>
/// <remarks>
/// Names of instruments may hold no colon, and vLLM's have one, `vllm:num_requests_running`: so what the exporter writes as `tpserve_…` goes out as `tpserve:…`. Names begin a line,
/// or stand after the word of a comment, and label values do neither.
/// </remarks>
internal static partial class PrometheusEndpoint
{
    /// <summary>Where it is served.</summary>
    public const string Path = "/metrics";

    private const string TextFormat = "text/plain;version=0.0.4"; // of which every scraper knows the names as they are

    /// <summary>Maps it.</summary>
    public static void Map(WebApplication app) => app.MapPrometheusScrapingEndpoint(Path, null, branch => branch.Use(RenameAsync), null);

    private static async Task RenameAsync(HttpContext http, RequestDelegate next)
    {
        http.Request.Headers.Accept = TextFormat;
        Stream client = http.Response.Body;
        using MemoryStream written = new();
        http.Response.Body = written;
        try
        {
            await next(http);
        }
        finally
        {
            http.Response.Body = client;
        }
        http.Response.ContentLength = null;
        string text = Encoding.UTF8.GetString(written.GetBuffer(), 0, (int)written.Length);
        await client.WriteAsync(Encoding.UTF8.GetBytes(Names().Replace(text, "$1tpserve:")), http.RequestAborted);
    }

    [GeneratedRegex("^(# (?:TYPE|HELP|UNIT) )?tpserve_", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex Names();
}
