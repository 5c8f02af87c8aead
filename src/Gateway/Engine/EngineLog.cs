namespace TpServe.Gateway.Engine;

/// <summary>What the engine logs; ids 1100 to 1199. Prompts and outputs never are.</summary>
internal static partial class EngineLog
{
    [LoggerMessage(1100, LogLevel.Debug, "Worker group ready: epoch {Epoch}, {KvBlocks} KV blocks of {BlockTokens} tokens")]
    public static partial void Ready(ILogger logger, long epoch, int kvBlocks, int blockTokens);

    [LoggerMessage(1101, LogLevel.Warning, "Worker group lost: {Why} {Requests} running requests go on when it is back")]
    public static partial void Lost(ILogger logger, string why, int requests);

    [LoggerMessage(1102, LogLevel.Critical, "The engine's loop failed")]
    public static partial void Failed(ILogger logger, Exception fault);

    [LoggerMessage(1110, LogLevel.Information, "Request {RequestId} accepted: {PromptTokens} prompt tokens, {Outputs} outputs of at most {MaxTokens} tokens")]
    public static partial void Accepted(ILogger logger, string requestId, int promptTokens, int outputs, int maxTokens);

    [LoggerMessage(1111, LogLevel.Information, "Request {RequestId} finished: {CompletionTokens} tokens in {Seconds:F3} s")]
    public static partial void Finished(ILogger logger, string requestId, int completionTokens, double seconds);

    [LoggerMessage(1112, LogLevel.Information, "Request {RequestId} ended: {Why}")]
    public static partial void Ended(ILogger logger, string requestId, string why);

    [LoggerMessage(1113, LogLevel.Information, "Request {RequestId}: its client left after {Seconds:F3} s")]
    public static partial void Left(ILogger logger, string requestId, double seconds);

    [LoggerMessage(1114, LogLevel.Information, "Request {RequestId}: its client left after {Seconds:F3} s and may come back")]
    public static partial void Suspended(ILogger logger, string requestId, double seconds);

    [LoggerMessage(1103, LogLevel.Critical, "The books of the KV cache did not balance while nothing ran, all blocks are free again: {Imbalance}")]
    public static partial void Imbalance(ILogger logger, string imbalance);
}
