using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using TpServe.Chaos.Faults;

namespace TpServe.Chaos.Load;

/// <summary>Clients that ask one known request after another, each in a way of its own, and compare what they get.</summary>
/// <param name="clients">How many.</param>
/// <param name="requests">What they ask.</param>
/// <param name="ports">HTTP and gRPC.</param>
/// <param name="random">Decides who asks what, and how.</param>
/// <param name="ended">Told how each request ended, and how long it took.</param>
internal sealed class LoadGenerator(int clients, IReadOnlyList<KnownRequest> requests, (int Http, int Grpc) ports, Random random, Action<Way, Outcome, TimeSpan> ended)
    : IAsyncDisposable
{
    private static readonly TimeSpan s_afterRefusal = TimeSpan.FromSeconds(0.5);
    private static long s_asked;

    private readonly GrpcClient _grpc = new(ports.Grpc);
    private readonly CompletionClient _http = new(ports.Http);
    private readonly CancellationTokenSource _hung = new();
    private readonly ConcurrentDictionary<string, string> _open = [];
    private volatile bool _stopping;
    private Task[] _clients = [];

    /// <summary>Asks everything once over both interfaces, with nothing to disturb: these are the right answers.</summary>
    /// <returns>Requests whose answers over the two interfaces differ.</returns>
    public async Task<IReadOnlyList<string>> LearnAsync()
    {
        ConcurrentBag<string> differences = [];
        await Parallel.ForEachAsync(requests, new ParallelOptions { MaxDegreeOfParallelism = clients }, async (request, cancellation) =>
        {
            request.OverGrpc = await _grpc.AskAsync(request, NextId(), cancellation);
            request.OverHttp = await _http.AskAsync(request, NextId(), cancellation);
            for (int i = 0; i < request.Outputs; i++)
            {
                OutputAnswer grpc = request.OverGrpc.Outputs[i], http = request.OverHttp.Outputs[i];
                if (grpc.Text != http.Text || !grpc.TokenIds.SequenceEqual(http.TokenIds))
                    differences.Add($"{request}: output {i} is '{grpc.Text}' over gRPC, '{http.Text}' over HTTP");
            }
        });
        return [.. differences];
    }

    /// <summary>The clients begin.</summary>
    public void Start() => _clients = [.. Enumerable.Range(0, clients).Select(_ => AskAsync(new Random(random.Next())))];

    /// <summary>No client asks anything new; waits until all have their answers. Those that have none by then are told as hung.</summary>
    public async Task StopAsync(TimeSpan patience)
    {
        if (_hung.IsCancellationRequested)
            return;
        _stopping = true;
        Task all = Task.WhenAll(_clients);
        if (await Task.WhenAny(all, Task.Delay(patience)) != all)
        {
            foreach (string open in _open.Values)
                ended(Way.GrpcStream, new Outcome(OutcomeKind.Hung, $"no end {patience.TotalSeconds:F0} s after the last fault: {open}"), patience);
            await _hung.CancelAsync();
        }
        await all;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync(TimeSpan.Zero);
        _grpc.Dispose();
        _http.Dispose();
        _hung.Dispose();
    }

    private async Task AskAsync(Random mine)
    {
        await Task.Yield();
        while (!_stopping)
        {
            KnownRequest request = mine.OneOf(requests);
            Way way = mine.OneOf(Ways.Weighted);
            string id = NextId();
            _open[id] = $"{id}, {way}, {request}";
            long start = Stopwatch.GetTimestamp();
            try
            {
                Outcome outcome = await AskAsync(request, way, id, mine);
                if (outcome.Kind == OutcomeKind.Refused)
                    await Task.Delay(s_afterRefusal, _hung.Token);
                ended(way, outcome.IsViolation ? outcome with { Detail = $"{id}, {way}, {request}: {outcome.Detail}" } : outcome, Stopwatch.GetElapsedTime(start));
            }
            catch (Exception) when (_hung.IsCancellationRequested)
            {
                return; // told already
            }
            catch (Exception fault)
            {
                ended(way, new Outcome(OutcomeKind.Lost, $"{id}, {way}, {request}: {fault}"), Stopwatch.GetElapsedTime(start));
            }
            finally
            {
                _open.TryRemove(id, out _);
            }
        }
    }

    private Task<Outcome> AskAsync(KnownRequest request, Way way, string id, Random mine)
    {
        CancellationToken hung = _hung.Token;
        int[] breaks = [.. Enumerable.Range(0, mine.Next(1, 4)).Select(_ => mine.Next(1, 12))];
        return way switch
        {
            Way.GrpcUnary => _grpc.UnaryAsync(request, id, null, hung),
            Way.GrpcDeadline => _grpc.UnaryAsync(request, id, TimeSpan.FromSeconds(0.2 + 3 * mine.NextDouble()), hung),
            Way.GrpcStream => _grpc.StreamAsync(request, id, [], mine, hung),
            Way.GrpcResume => _grpc.StreamAsync(request, id, breaks, mine, hung),
            Way.GrpcLeave => _grpc.LeaveAsync(request, id, breaks[0], hung),
            Way.HttpUnary => _http.UnaryAsync(request, id, hung),
            Way.HttpStream => _http.StreamAsync(request, id, [], mine, hung),
            Way.HttpResume => _http.StreamAsync(request, id, breaks, mine, hung),
            Way.HttpLeave => _http.LeaveAsync(request, id, breaks[0], hung),
            _ => throw new InvalidOperationException($"{way} is no way to ask."),
        };
    }

    private static string NextId() => string.Create(CultureInfo.InvariantCulture, $"chaos-{Interlocked.Increment(ref s_asked)}");
}

/// <summary>How a client asks.</summary>
internal enum Way
{
    GrpcUnary,
    GrpcDeadline,
    GrpcStream,
    GrpcResume,
    GrpcLeave,
    HttpUnary,
    HttpStream,
    HttpResume,
    HttpLeave,
}

/// <summary>How often each way is taken.</summary>
internal static class Ways
{
    public static readonly Way[] Weighted =
    [
        Way.GrpcUnary, Way.GrpcUnary, Way.GrpcDeadline, Way.GrpcStream, Way.GrpcStream, Way.GrpcStream, Way.GrpcResume, Way.GrpcResume, Way.GrpcLeave,
        Way.HttpUnary, Way.HttpUnary, Way.HttpStream, Way.HttpStream, Way.HttpStream, Way.HttpResume, Way.HttpResume, Way.HttpLeave,
    ];
}
