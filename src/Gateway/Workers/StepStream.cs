using System.Threading.Channels;
using Grpc.Core;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>A Run call. Results are read at all times, not only while one is waited for: the end of an idle worker must be seen too.</summary>
internal sealed class StepStream : IStepStream
{
    private readonly AsyncDuplexStreamingCall<RunRequest, StepResult> _call;
    private readonly Channel<StepResult> _results = Channel.CreateUnbounded<StepResult>(new UnboundedChannelOptions { SingleReader = true, AllowSynchronousContinuations = true });
    private Task _sending = Task.CompletedTask;

    public StepStream(AsyncDuplexStreamingCall<RunRequest, StepResult> call)
    {
        _call = call;
        Ended = ReadAsync();
    }

    /// <inheritdoc/>
    public Task<StreamEnd> Ended { get; }

    /// <inheritdoc/>
    public Task SendAsync(StepPlan plan, CancellationToken cancellation) => SendAsync(new RunRequest { Step = plan }, cancellation);

    /// <inheritdoc/>
    public Task SendAsync(StepMasks masks, CancellationToken cancellation) => SendAsync(new RunRequest { Masks = masks }, cancellation);

    /// <inheritdoc/>
    public ValueTask<StepResult> ReceiveAsync(CancellationToken cancellation) => _results.Reader.ReadAsync(cancellation);

    /// <inheritdoc/>
    public async Task FinishAsync()
    {
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // a stream takes one message at a time
        try
        {
            await _call.RequestStream.CompleteAsync();
        }
        catch (Exception fault) when (fault is RpcException or InvalidOperationException or IOException)
        {
            // It has ended already.
        }
    }

    /// <inheritdoc/>
    public void GiveUp() => _results.Writer.TryComplete();

    public void Dispose() => _call.Dispose(); // ends the reading too

    private Task SendAsync(RunRequest request, CancellationToken cancellation) => _sending = _call.RequestStream.WriteAsync(request, cancellation);

    private async Task<StreamEnd> ReadAsync()
    {
        StreamEnd end = new(StreamFault.Link, "the worker closed its step stream");
        try
        {
            while (await _call.ResponseStream.MoveNext(CancellationToken.None))
            {
                if (_call.ResponseStream.Current.Fault is { } fault)
                {
                    end = new StreamEnd(KindOf(fault), fault.Reason);
                    _ = FinishAsync(); // the worker waits for it
                    break;
                }
                _results.Writer.TryWrite(_call.ResponseStream.Current);
            }
        }
        catch (RpcException fault)
        {
            end = new StreamEnd(StreamFault.Link, fault.Status.Detail);
        }
        catch (Exception fault) // whatever happened: nobody waits for a result that cannot come
        {
            end = new StreamEnd(StreamFault.Link, fault.Message);
        }
        _results.Writer.TryComplete();
        return end;
    }

    private static StreamFault KindOf(StepFault fault) => fault.Kind switch
    {
        StepFault.Types.Kind.Plan => StreamFault.Plan,
        StepFault.Types.Kind.Peer => StreamFault.Peer,
        _ => StreamFault.Step,
    };
}
