using System.Globalization;

namespace TpServe.Worker;

/// <summary>The one gateway that this worker serves now. Another one is refused while its call is open, or two gateways would load the worker in turn for ever.</summary>
/// <remarks>Threads   any.</remarks>
internal sealed class GatewayHold(TimeProvider time)
{
    private readonly Lock _gate = new();
    private string _gatewayId = "";
    private string _gateway = "";
    private DateTimeOffset _since;
    private TaskCompletionSource? _call; // the holding call, which ends with it; null = nobody holds

    /// <summary>Takes the worker. Null where it is taken; else who has it. A gateway that holds it already holds it by the new call.</summary>
    /// <param name="gatewayId">Names the gateway's process.</param>
    /// <param name="gateway">The same for people.</param>
    /// <param name="call">Completed where another call of that gateway takes this one's place.</param>
    public string? TryTake(string gatewayId, string gateway, TaskCompletionSource call)
    {
        TaskCompletionSource? before;
        lock (_gate)
        {
            if (_call is not null && _gatewayId != gatewayId)
                return string.Create(CultureInfo.InvariantCulture, $"gateway {_gateway} has it since {_since:HH:mm:ss} UTC");
            before = _call;
            (_gatewayId, _gateway, _since, _call) = (gatewayId, gateway, time.GetUtcNow(), call);
        }
        before?.TrySetResult();
        return null;
    }

    /// <summary>The call has ended. True where the worker is free now; false where another call has taken its place.</summary>
    public bool Release(TaskCompletionSource call)
    {
        lock (_gate)
        {
            if (_call != call)
                return false;
            _call = null;
            return true;
        }
    }
}
