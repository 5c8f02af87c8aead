using System.Runtime.CompilerServices;
using System.Threading.Channels;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>The requests of one HTTP call, run together; the first failure ends them all.</summary>
internal static class GenerationBatch
{
    private const int BufferedEvents = 64;

    /// <summary>Everything, in the order of the requests.</summary>
    public static async Task<GenerationResult[]> CollectAsync(
        InferenceEngine engine, IReadOnlyList<ValidatedRequest> requests, CancellationToken cancellation)
    {
        GenerationResult[] results = [.. requests.Select(request => new GenerationResult(request.Outputs))];
        await foreach ((int index, GenerationEvent happened) in RunAsync(engine, requests, cancellation))
            results[index].Take(happened);
        return results;
    }

    /// <summary>The events of a stream: of a request that runs already, of a single one that can be resumed, or of several.</summary>
    public static async IAsyncEnumerable<(int Index, GenerationEvent Happened)> StreamAsync(
        InferenceEngine engine, IReadOnlyList<ValidatedRequest> requests, IAsyncEnumerable<GenerationEvent>? resumed, object presentation,
        [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (requests.Count > 1)
        {
            await foreach ((int, GenerationEvent) happened in RunAsync(engine, requests, cancellation))
                yield return happened;
            yield break;
        }
        await foreach (GenerationEvent happened in AnswerStream.Of(requests[0], resumed ?? engine.GenerateAsync(requests[0], resumable: true, presentation, cancellation)))
            yield return (0, happened);
    }

    /// <summary>The events of all requests as they come, each with its request's index.</summary>
    public static async IAsyncEnumerable<(int Index, GenerationEvent Happened)> RunAsync(
        InferenceEngine engine, IReadOnlyList<ValidatedRequest> requests, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (requests.Count == 1)
        {
            await foreach (GenerationEvent happened in AnswerStream.Of(requests[0], engine.GenerateAsync(requests[0], cancellation: cancellation)))
                yield return (0, happened);
            yield break;
        }

        Channel<(int, GenerationEvent)> merged = Channel.CreateBounded<(int, GenerationEvent)>(BufferedEvents);
        using CancellationTokenSource ends = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task pumps = PumpAllAsync();
        try
        {
            await foreach ((int, GenerationEvent) happened in merged.Reader.ReadAllAsync(cancellation))
                yield return happened;
        }
        finally
        {
            await ends.CancelAsync();
            await pumps;
        }

        async Task PumpAllAsync()
        {
            Exception? first = null;
            await Task.WhenAll(requests.Select(async (request, index) =>
            {
                try
                {
                    await foreach (GenerationEvent happened in AnswerStream.Of(request, engine.GenerateAsync(request, cancellation: ends.Token)))
                        await merged.Writer.WriteAsync((index, happened), ends.Token);
                }
                catch (Exception failure)
                {
                    Interlocked.CompareExchange(ref first, failure, null); // goes to the reader
                    await ends.CancelAsync();
                }
            }));
            merged.Writer.TryComplete(first);
        }
    }
}
