using TpServe.Gateway.Requests;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Engine;

/// <summary>Resolved sampling in the words of the worker protocol.</summary>
internal static class WorkerSampling
{
    /// <summary>For one output of a request.</summary>
    public static SamplingParameters Of(ValidatedRequest request, int outputIndex)
    {
        ResolvedSampling sampling = request.Sampling;
        SamplingParameters parameters = new()
        {
            Temperature = sampling.Temperature,
            TopK = sampling.TopK,
            TopP = sampling.TopP,
            MinP = sampling.MinP,
            Seed = sampling.Seed,
            OutputIndex = outputIndex,
            PresencePenalty = sampling.PresencePenalty,
            FrequencyPenalty = sampling.FrequencyPenalty,
            RepetitionPenalty = sampling.RepetitionPenalty,
            MinTokens = request.Stopping.MinTokens,
        };
        foreach ((int id, float bias) in sampling.LogitBias)
            parameters.LogitBias.Add(id, bias);
        parameters.AllowedTokenIds.AddRange(sampling.AllowedTokenIds);
        parameters.EndTokenIds.AddRange(request.Stopping.EndTokenIds.Order());
        return parameters;
    }
}
