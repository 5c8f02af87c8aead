using System.CommandLine;
using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve health: asks a running server whether it is ready, or a worker whether it answers; made for container health checks, which may have no curl.</summary>
internal static class HealthCommand
{
    public static Command Create()
    {
        Option<string> server = new("--server")
        {
            Description = "Address of a running server's HTTP interface.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:8080",
        };
        Option<string> worker = new("--worker") { Description = "Asks this worker instead, which was started by hand; needs --secret-file.", HelpName = "URL" };
        Option<string> secretFile = new("--secret-file") { Description = "File with the secret shared with the worker.", HelpName = "FILE" };
        Option<string> tls = new(LinkSecurity.TlsFlag) { Description = "Folder with the certificate shared with the worker, whose address then begins with https.", HelpName = "DIR", DefaultValueFactory = _ => "" };
        Option<int> timeout = new("--timeout") { Description = "Seconds to wait for the answer.", HelpName = "N", DefaultValueFactory = _ => 4 };
        Command health = new("health", "Exit code 0 where a server is ready for requests (or a worker answers), else 1 and one line that says why.") { server, worker, secretFile, tls, timeout };
        health.SetAction(async (parsed, cancellation) =>
        {
            TimeSpan wait = TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(timeout), 1, 3600));
            return parsed.GetValue(worker) is { Length: > 0 } address
                ? await AskWorkerAsync(address, parsed.GetValue(secretFile), parsed.GetValue(tls)!, wait, cancellation)
                : await AskServerAsync(parsed.GetValue(server)!, wait, cancellation);
        });
        return health;
    }

    private static async Task<int> AskServerAsync(string address, TimeSpan wait, CancellationToken cancellation)
    {
        if (!ServerAddress.TryParse(address, out Uri? uri, out string unfit))
            return Fail(unfit);
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false }) { Timeout = wait };
        try
        {
            using HttpResponseMessage answer = await client.GetAsync(new Uri(uri, "/health/ready"), cancellation);
            string status = (await answer.Content.ReadAsStringAsync(cancellation)).Trim();
            if (!answer.IsSuccessStatusCode)
                return Fail($"{address} is not ready: {(int)answer.StatusCode} {status}");
            Console.WriteLine(status);
            return 0;
        }
        catch (HttpRequestException)
        {
            return Fail(RemoteServer.Nobody(address));
        }
        catch (TaskCanceledException)
        {
            return Fail(string.Create(CultureInfo.InvariantCulture, $"{address} did not answer within {wait.TotalSeconds:F0} s."));
        }
    }

    private static async Task<int> AskWorkerAsync(string address, string? secretFile, string tls, TimeSpan wait, CancellationToken cancellation)
    {
        if (!IsAddress(address, out _))
            return Fail($"--worker '{address}' is not an http://host:port address.");
        if (LinkSecurity.Fault(address, tls.Length > 0, insecure: false) is { } unfit)
            return Fail($"--worker '{address}' {unfit}.");
        if (RegularFile.Fault(secretFile ?? "") is { } irregular)
            return Fail($"--secret-file '{secretFile}' {irregular}; a regular file is needed.");
        if (!File.Exists(secretFile))
            return Fail($"--secret-file '{secretFile}' does not exist.");
        try
        {
            using WorkerClient client = new(address, (await File.ReadAllTextAsync(secretFile, cancellation)).Trim(), LinkSecurity.Read(tls, insecure: false));
            HelloReply hello = await client.HelloAsync(surveyGpus: false, wait, cancellation);
            Console.WriteLine($"{hello.Device}, release {hello.Version}");
            return 0;
        }
        catch (Exception fault) when (fault is WorkerStartException or LinkException or IOException or UnauthorizedAccessException)
        {
            return Fail(fault.Message);
        }
        catch (OperationCanceledException)
        {
            return Fail($"asking {address} was cancelled.");
        }
    }

    private static bool IsAddress(string text, out Uri? uri) => Uri.TryCreate(text, UriKind.Absolute, out uri) && uri.Scheme is "http" or "https";

    private static int Fail(string reason)
    {
        Console.Error.WriteLine("tpserve: " + reason);
        return 1;
    }
}
