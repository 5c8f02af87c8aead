namespace TpServe.Kernels.Cuda.Device;

/// <summary>A stream whose work can be recorded instead of run.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal interface IGraphStream
{
    /// <summary>From here on, what is enqueued is recorded.</summary>
    void Begin();

    /// <summary>Ends the recording; nothing of it has run.</summary>
    /// <exception cref="Exception">Something in it cannot be recorded. <see cref="Abandon"/> follows.</exception>
    IStepGraph End();

    /// <summary>Ends a recording that failed and drops it. Never throws for what went wrong in the recording.</summary>
    void Abandon();
}
