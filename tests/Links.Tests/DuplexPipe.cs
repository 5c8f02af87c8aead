using System.IO.Pipelines;

namespace TpServe.Links.Tests;

/// <summary>One end of two pipes in memory.</summary>
internal sealed class DuplexPipe(Stream incoming, Stream outgoing) : Stream
{
    /// <summary>What one end writes the other one reads; an end that is disposed ends the other's reading.</summary>
    public static (Stream Near, Stream Far) Pair()
    {
        Pipe there = new(), back = new();
        return (new DuplexPipe(back.Reader.AsStream(), there.Writer.AsStream()), new DuplexPipe(there.Reader.AsStream(), back.Writer.AsStream()));
    }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => incoming.Read(buffer, offset, count);

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => incoming.ReadAsync(buffer, cancellationToken);

    public override void Write(byte[] buffer, int offset, int count) => outgoing.Write(buffer, offset, count);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => outgoing.WriteAsync(buffer, cancellationToken);

    public override void Flush() => outgoing.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => outgoing.FlushAsync(cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        outgoing.Dispose();
        incoming.Dispose();
        base.Dispose(disposing);
    }
}
