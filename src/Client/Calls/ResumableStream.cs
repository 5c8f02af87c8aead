using System.Globalization;
using System.Runtime.CompilerServices;
using Grpc.Core;
using TpServe.Protos.V1;

namespace TpServe.Client.Calls;

/// <summary>The events of one request, each once and in order, over as many connections as it takes.</summary>
/// <remarks>
/// 1. The request is begun. Until its first event it is begun again, under the same name, while the server is not to be had or asks to come later.
/// 2. A connection that breaks after an event is followed by ResumeStream after that event's seq; what the server says (a status with a reason) is
///    final, but that it cannot resume just now.
/// 3. A request that was begun without a sign of it may run already: the server then says ALREADY_EXISTS, and where the name is ours, so is the request.
/// Threads: any; each enumeration is a request of its own.
/// </remarks>
internal sealed class ResumableStream(
    CallRunner calls, Inference.InferenceClient inference, string? givenName, Func<string, CallOptions, AsyncServerStreamingCall<GenerateEvent>> begin)
{
    /// <summary>Reads to the end.</summary>
    /// <param name="timeout">How long it may take; null = the client's default.</param>
    /// <param name="after">seq of the last event that was seen before; null = the request is begun.</param>
    /// <param name="cancellation">Ends the request.</param>
    /// <exception cref="TpServeException">The request failed, or the stream could not be resumed.</exception>
    public async IAsyncEnumerable<GenerateEvent> ReadAsync(TimeSpan? timeout, ulong? after, [EnumeratorCancellation] CancellationToken cancellation)
    {
        DateTime? deadline = calls.DeadlineOf(timeout);
        string name = givenName ?? "net-" + Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture);
        Progress progress = new() { Seen = after ?? 0, Resumes = after is not null };
        while (true)
        {
            CallOptions options = await calls.OptionsAsync(deadline, cancellation).ConfigureAwait(false);
            using AsyncServerStreamingCall<GenerateEvent> call = progress.Resumes
                ? inference.ResumeStream(new ResumeStreamRequest { RequestId = name, AfterSeq = progress.Seen }, options)
                : begin(name, options);
            TpServeException? failure = null;
            bool any = false;
            while (true)
            {
                bool more = false;
                try
                {
                    more = await call.ResponseStream.MoveNext(cancellation).ConfigureAwait(false);
                }
                catch (RpcException fault)
                {
                    failure = CallRunner.Failure(fault, cancellation);
                }
                if (failure is not null)
                    break;
                if (!more)
                    yield break;
                GenerateEvent happened = call.ResponseStream.Current;
                if (happened.Seq <= progress.Seen)
                    continue;
                if (happened.Seq != progress.Seen + 1)
                    throw TpServeException.OfStream($"Event {happened.Seq} came after event {progress.Seen}.");
                progress.Seen = happened.Seq;
                progress.Failed = 0;
                any = true;
                yield return happened;
            }
            await GoOnAsync(failure, any, progress, deadline, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Decides what follows a failure and waits for it, or throws the failure.</summary>
    private async ValueTask GoOnAsync(TpServeException failure, bool any, Progress progress, DateTime? deadline, CancellationToken cancellation)
    {
        if (failure.Status == StatusCode.AlreadyExists && givenName is null && !progress.Resumes && progress.Failed > 0)
        {
            progress.Resumes = true;
            return;
        }
        progress.Failed++;
        progress.Resumes |= progress.Seen > 0;
        bool mayGoOn = failure.IsCut ? progress.Resumes || failure.IsForLater : !any && failure.IsForLater;
        int most = progress.Resumes ? calls.MaxResumes : calls.MaxAttempts - 1;
        if (!mayGoOn || progress.Failed > most || !await calls.Retry.WaitAsync(failure, progress.Failed, deadline, cancellation).ConfigureAwait(false))
            throw failure;
    }

    /// <summary>How far one reading has come.</summary>
    private sealed class Progress
    {
        /// <summary>seq of the last event handed out.</summary>
        public ulong Seen { get; set; }

        /// <summary>Attempts that have failed since.</summary>
        public int Failed { get; set; }

        /// <summary>Whether the next attempt resumes rather than begins.</summary>
        public bool Resumes { get; set; }
    }
}
