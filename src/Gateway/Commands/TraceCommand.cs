using System.CommandLine;
using System.Globalization;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve trace: what every rank of a running server did when, in its next steps, as a file for ui.perfetto.dev.</summary>
internal static class TraceCommand
{
    public static Command Create()
    {
        Option<string> server = new("--server")
        {
            Description = "Address of a running server's gRPC interface.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:8081",
        };
        Option<int> steps = new("--steps") { Description = "Steps to trace, 1 to 1000; they are those of whatever requests run.", HelpName = "N", DefaultValueFactory = _ => 20 };
        Option<int> timeout = new("--timeout") { Description = "Seconds to wait for them; what ran by then is written.", HelpName = "N", DefaultValueFactory = _ => 60 };
        Option<string> file = new("--out") { Description = "File to write.", HelpName = "FILE", DefaultValueFactory = _ => "tpserve-trace.json" };
        Command trace = new("trace", "Writes what every rank of a running server does in its next steps as a file that ui.perfetto.dev opens.") { server, steps, timeout, file };
        trace.SetAction((parsed, cancellation) => RunAsync(
            parsed.GetValue(server)!, parsed.GetValue(steps), TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(timeout), 1, 86_400)), parsed.GetValue(file)!, cancellation));
        return trace;
    }

    private static async Task<int> RunAsync(string address, int steps, TimeSpan timeout, string file, CancellationToken cancellation)
    {
        if (!ServerAddress.TryParse(address, out Uri? uri, out string unfit))
            return Fail(unfit);
        if (steps is < 1 or > StepTracer.MostSteps)
            return Fail($"--steps {steps} is not within 1..{StepTracer.MostSteps}.");
        List<TracedStep> traced = [];
        Console.Error.WriteLine($"waiting for {steps} steps of what the server runs, at most {timeout.TotalSeconds:F0} s");
        try
        {
            using GrpcChannel channel = RemoteServer.Connect(uri);
            using AsyncServerStreamingCall<TracedStep> call = new Control.ControlClient(channel).TraceSteps(new TraceStepsRequest { Steps = steps }, deadline: DateTime.UtcNow + timeout, cancellationToken: cancellation);
            await foreach (TracedStep step in call.ResponseStream.ReadAllAsync(cancellation))
                traced.Add(step);
        }
        catch (RpcException ended) when (traced.Count > 0 && (ended.StatusCode == StatusCode.DeadlineExceeded || cancellation.IsCancellationRequested))
        {
            // What ran by then is worth writing.
        }
        catch (RpcException fault)
        {
            return Fail(fault.StatusCode switch
            {
                _ when cancellation.IsCancellationRequested => "stopped before a step ran.",
                StatusCode.DeadlineExceeded => $"no step ran within {timeout.TotalSeconds:F0} s: the server has nothing to do.",
                StatusCode.Unavailable => RemoteServer.Nobody(address),
                _ => $"{fault.StatusCode}: {fault.Status.Detail}",
            });
        }
        if (traced.Count == 0)
            return Fail("the worker group ended before a step ran.");
        try
        {
            using FileStream output = File.Create(file);
            PerfettoTrace.Write(output, $"tpserve {address}", traced);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return Fail($"--out {file}: {fault.Message}");
        }
        Print(traced, file);
        return 0;
    }

    /// <summary>One line a rank: where its time went in these steps.</summary>
    private static void Print(IReadOnlyList<TracedStep> steps, string file)
    {
        foreach (IGrouping<int, TracedRank> rank in steps.SelectMany(step => step.Ranks).GroupBy(rank => rank.Rank).OrderBy(rank => rank.Key))
        {
            double whole = rank.Sum(step => step.DurationNanoseconds), collective = Sum(rank, span => span.Collective ? span.DurationNanoseconds : 0), waited = Sum(rank, span => span.WaitNanoseconds);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"rank {rank.Key}: {rank.Count()} steps of {whole / rank.Count() * 1e-6:F2} ms: {1 - collective / whole:P0} compute, {(collective - waited) / whole:P0} collectives, {waited / whole:P0} waiting for peers"));
        }
        Console.WriteLine($"wrote {file}; open it at https://ui.perfetto.dev");

        static double Sum(IEnumerable<TracedRank> steps, Func<TraceSpan, long> part) => steps.SelectMany(step => step.Spans).Sum(span => (double)part(span));
    }

    private static int Fail(string reason)
    {
        Console.Error.WriteLine("tpserve: " + reason);
        return 1;
    }
}
