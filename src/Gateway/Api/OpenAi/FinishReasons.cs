using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Why an output ended, in OpenAI's and vLLM's words.</summary>
internal static class FinishReasons
{
    /// <summary>finish_reason.</summary>
    public static string Of(FinishedEvent finished) => finished.Reason switch
    {
        EndReason.Stop => "stop",
        EndReason.Length => "length",
        _ => "abort",
    };

    /// <summary>stop_reason: the stop string or the request's stop token id.</summary>
    public static object? StopOf(FinishedEvent finished) => finished.StopString ?? (object?)finished.StopTokenId;
}
