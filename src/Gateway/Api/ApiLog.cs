namespace TpServe.Gateway.Api;

/// <summary>What the API logs; ids 1200 to 1299. Prompts and outputs never are.</summary>
internal static partial class ApiLog
{
    [LoggerMessage(1200, LogLevel.Information, "{Method} refused: {Status} {Reason} {Message}")]
    public static partial void Refused(ILogger logger, string method, string status, string reason, string message);

    [LoggerMessage(1201, LogLevel.Error, "{Method} failed")]
    public static partial void Failed(ILogger logger, string method, Exception fault);
}
