using System.IO.Compression;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Grpc.Net.Compression;

namespace TpServe.Gateway.Api.Grpc;

/// <summary>Compressed gRPC messages, both ways.</summary>
/// <remarks>
/// Requests may be compressed by gzip and deflate; what they inflate to is bounded as a message is. Answers are compressed by gzip where the request was and the client
/// takes it: most clients say that they take gzip whether or not their user wants it, and a stream's short events only grow by it.
/// Source   gRPC over HTTP/2, "Compression".
/// </remarks>
internal static class MessageCompression
{
    private const string EncodingHeader = "grpc-encoding";

    /// <summary>Bounds what compressed messages inflate to.</summary>
    public static void Bound(GrpcServiceOptions options, int limitBytes)
    {
        options.CompressionProviders.Clear();
        options.CompressionProviders.Add(new BoundedProvider(new GzipCompressionProvider(CompressionLevel.Fastest), limitBytes));
        options.CompressionProviders.Add(new BoundedProvider(new DeflateCompressionProvider(CompressionLevel.Fastest), limitBytes));
    }

    /// <summary>Decides whether a call's answers are compressed.</summary>
    public static void Choose(ServerCallContext context)
    {
        string? encoding = context.RequestHeaders.GetValue(EncodingHeader) ?? context.GetHttpContext().Request.Headers[EncodingHeader];
        if (encoding is null or "" or "identity")
            context.WriteOptions = new WriteOptions(WriteFlags.NoCompress);
    }

    private sealed class BoundedProvider(ICompressionProvider inner, int limitBytes) : ICompressionProvider
    {
        public string EncodingName => inner.EncodingName;

        public Stream CreateCompressionStream(Stream stream, CompressionLevel? compressionLevel) => inner.CreateCompressionStream(stream, compressionLevel);

        public Stream CreateDecompressionStream(Stream stream) => new BoundedStream(inner.CreateDecompressionStream(stream), limitBytes);
    }

    /// <summary>Reads no more than so many bytes.</summary>
    private sealed class BoundedStream(Stream inner, int limitBytes) : Stream
    {
        private long _read;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            int read = inner.Read(buffer);
            _read += read;
            return _read <= limitBytes ? read : throw new RpcException(new Status(StatusCode.ResourceExhausted, "Received message exceeds the maximum configured message size."));
        }

        public override void Flush()
        {
            // Nothing is written.
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
