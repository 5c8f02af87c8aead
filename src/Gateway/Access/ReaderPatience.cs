using System.IO.Pipelines;
using Microsoft.AspNetCore.Http.Features;

namespace TpServe.Gateway.Access;

/// <summary>Ends the connection of who asks for an answer and does not take it: nothing more fits into the buffers, and for so long no room has come.</summary>
/// <remarks>
/// Kestrel's own rule, a least rate of bytes, is no bound on that: what the system's buffers take counts as taken, and gives the reader its size by the rate more time, which is minutes for the megabytes that they hold.
/// Stands around the body's writer, so for every dialect and for gRPC. Costs  a timer only where a flush has to wait.
/// </remarks>
internal static class ReaderPatience
{
    /// <summary>Middleware.</summary>
    public static RequestDelegate Around(RequestDelegate next, TimeSpan patience, TimeProvider clock) => http =>
    {
        if (http.Features.Get<IHttpResponseBodyFeature>() is { } body)
            http.Features.Set<IHttpResponseBodyFeature>(new PatientBody(http, body, patience, clock));
        return next(http);
    };

    private sealed class PatientBody(HttpContext http, IHttpResponseBodyFeature inner, TimeSpan patience, TimeProvider clock) : IHttpResponseBodyFeature
    {
        private Stream? _stream;
        private PatientWriter? _writer;

        public Stream Stream => _stream ??= Writer.AsStream(leaveOpen: true);

        public PipeWriter Writer => _writer ??= new PatientWriter(http, inner.Writer, patience, clock);

        public void DisableBuffering() => inner.DisableBuffering();

        public Task StartAsync(CancellationToken cancellationToken = default) => inner.StartAsync(cancellationToken);

        public Task SendFileAsync(string path, long offset, long? count, CancellationToken cancellationToken = default) => inner.SendFileAsync(path, offset, count, cancellationToken);

        public Task CompleteAsync() => inner.CompleteAsync();
    }

    private sealed class PatientWriter(HttpContext http, PipeWriter inner, TimeSpan patience, TimeProvider clock) : PipeWriter
    {
        public override bool CanGetUnflushedBytes => inner.CanGetUnflushedBytes;

        public override long UnflushedBytes => inner.UnflushedBytes;

        public override void Advance(int bytes) => inner.Advance(bytes);

        public override Memory<byte> GetMemory(int sizeHint = 0) => inner.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => inner.GetSpan(sizeHint);

        public override void CancelPendingFlush() => inner.CancelPendingFlush();

        public override void Complete(Exception? exception = null) => inner.Complete(exception);

        public override ValueTask CompleteAsync(Exception? exception = null) => inner.CompleteAsync(exception);

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => BoundedAsync(inner.FlushAsync(cancellationToken));

        public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default) => BoundedAsync(inner.WriteAsync(source, cancellationToken));

        private ValueTask<FlushResult> BoundedAsync(ValueTask<FlushResult> flush) => flush.IsCompleted ? flush : WaitAsync(flush);

        private async ValueTask<FlushResult> WaitAsync(ValueTask<FlushResult> flush)
        {
            await using ITimer timer = clock.CreateTimer(static call => ((HttpContext)call!).Abort(), http, patience, Timeout.InfiniteTimeSpan);
            return await flush;
        }
    }
}
