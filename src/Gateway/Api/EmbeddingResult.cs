using Grpc.Core;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>The vectors that a request asks for, in the order of its inputs.</summary>
/// <param name="Vectors">One for each input; scaled to length 1 where the request says so.</param>
/// <param name="Totals">What the request took.</param>
public sealed record EmbeddingResult(IReadOnlyList<float[]> Vectors, RequestTotals Totals)
{
    /// <summary>Runs the request.</summary>
    /// <exception cref="RequestRejectedException">ABORTED: an operator has ended it.</exception>
    public static async Task<EmbeddingResult> CollectAsync(InferenceEngine engine, ValidatedRequest request, CancellationToken cancellation)
    {
        float[][] vectors = new float[request.Outputs][];
        RequestTotals? totals = null;
        await foreach (GenerationEvent happened in engine.GenerateAsync(request, cancellation: cancellation))
            switch (happened)
            {
                case EmbeddedEvent embedded:
                    vectors[embedded.Index] = request.Embedding!.Normalize ? Normalized(embedded.Values) : [.. embedded.Values];
                    break;
                case FinishedEvent { Reason: EndReason.Aborted }:
                    throw new RequestRejectedException(StatusCode.Aborted, "ABORTED", $"Request '{request.RequestId}' was aborted by an operator.");
                case FinishedEvent { Totals: { } total }:
                    totals = total;
                    break;
            }
        return new EmbeddingResult(vectors, totals!);
    }

    /// <summary>x / |x|, in float64 and rounded once; a vector of zeros stays one.</summary>
    public static float[] Normalized(IReadOnlyList<float> values)
    {
        double squares = 0;
        foreach (float value in values)
            squares += (double)value * value;
        double scale = squares > 0 ? 1 / Math.Sqrt(squares) : 0;
        return [.. values.Select(value => (float)(value * scale))];
    }
}
