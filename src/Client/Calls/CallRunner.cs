using Grpc.Core;

namespace TpServe.Client.Calls;

/// <summary>What every call of one client shares: metadata, deadline, retries, and failures as <see cref="TpServeException"/>.</summary>
/// <remarks>Threads: any.</remarks>
internal sealed class CallRunner(TpServeClientOptions options, TimeProvider time, Random random)
{
    /// <summary>When and how long to wait.</summary>
    public RetryPolicy Retry { get; } = new(options, time, random);

    /// <summary>How often a call is begun.</summary>
    public int MaxAttempts => options.MaxAttempts;

    /// <summary>How often in a row a stream is resumed.</summary>
    public int MaxResumes => options.MaxResumes;

    /// <summary>When a call that begins now must have ended, UTC; null = never.</summary>
    public DateTime? DeadlineOf(TimeSpan? timeout) =>
        (timeout ?? options.Deadline) is { } limit ? time.GetUtcNow().UtcDateTime + limit : null;

    /// <summary>Headers and deadline of one attempt.</summary>
    public async ValueTask<CallOptions> OptionsAsync(DateTime? deadline, CancellationToken cancellation)
    {
        Metadata headers = [];
        if (options.ApiKey is { } key)
            headers.Add("authorization", $"Bearer {key}");
        if (options.Metadata is { } hook)
            foreach ((string name, string value) in await hook(cancellation).ConfigureAwait(false))
                headers.Add(name, value);
        return new CallOptions(headers, deadline, cancellation);
    }

    /// <summary>A unary call, begun again while the server is not to be had or asks to come later.</summary>
    /// <exception cref="TpServeException">It failed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellation"/> asked for it.</exception>
    public async Task<T> UnaryAsync<T>(Func<CallOptions, AsyncUnaryCall<T>> call, TimeSpan? timeout, CancellationToken cancellation)
    {
        DateTime? deadline = DeadlineOf(timeout);
        for (int attempt = 1; ; attempt++)
        {
            CallOptions settings = await OptionsAsync(deadline, cancellation).ConfigureAwait(false);
            TpServeException failure;
            try
            {
                using AsyncUnaryCall<T> answer = call(settings);
                return await answer.ResponseAsync.ConfigureAwait(false);
            }
            catch (RpcException fault)
            {
                failure = Failure(fault, cancellation);
            }
            if (!failure.IsForLater || attempt >= MaxAttempts || !await Retry.WaitAsync(failure, attempt, deadline, cancellation).ConfigureAwait(false))
                throw failure;
        }
    }

    /// <summary>A failed call as its caller is told; a call that the caller cancelled is no failure.</summary>
    public static TpServeException Failure(RpcException fault, CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
            throw new OperationCanceledException(fault.Status.Detail, fault, cancellation);
        return TpServeException.From(fault);
    }
}
