using System.Numerics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives.Staged;

/// <summary>Tensors on a device through a transport of the host: down into page-locked memory, the transport's own operation there, and up again.</summary>
/// <remarks>
/// Numerics the inner transport's: words are copied, so no bit changes.
/// Cost     the operands cross to the host and back, and the first download of an operation waits for the kernels enqueued before it. That waiting is
///          the kernels' time, so <see cref="TakeElapsed"/> counts the inner operation alone.
/// Threads  as <see cref="ICommunicator"/>.
/// Errors   as the inner transport; arguments are checked before anything is copied.
/// </remarks>
/// <param name="inner">The transport; disposed with this. Its tensors are on the host.</param>
/// <param name="ops">The device; outlives this.</param>
public sealed class StagedCommunicator(ICommunicator inner, ITensorBackend ops) : ICommunicator
{
    private readonly Staging _in = new(ops);
    private readonly Staging _out = new(ops);

    /// <inheritdoc/>
    public int Rank => inner.Rank;

    /// <inheritdoc/>
    public int Degree => inner.Degree;

    /// <inheritdoc/>
    public long Epoch => inner.Epoch;

    /// <inheritdoc/>
    public CommunicatorReport Report => inner.Report;

    /// <inheritdoc/>
    public bool IsEnqueued => false;

    /// <inheritdoc/>
    public TimeSpan TakeElapsed() => inner.TakeElapsed();

    /// <inheritdoc/>
    public TimeSpan Waited => inner.Waited;

    /// <inheritdoc/>
    public Traffic Sent => inner.Sent;

    /// <inheritdoc/>
    public void BeginStep(long step) => inner.BeginStep(step);

    /// <inheritdoc/>
    public void SumTree(Tensor pieces, LeafShare share, Tensor y)
    {
        Operands.CheckSum(pieces, share, y, Rank, Degree);
        Tensor mine = Down(pieces, _in), sum = _out.Like(y);
        inner.SumTree(mine, share, sum);
        Up(sum, y);
    }

    /// <inheritdoc/>
    public void SumDisjoint(Tensor x)
    {
        Operands.CheckWords(x, nameof(x));
        Tensor staged = Down(x, _in);
        inner.SumDisjoint(staged);
        Up(staged, x);
    }

    /// <inheritdoc/>
    public void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads: true);
        Tensor mine = Down(x, _in), all = _out.Like(y);
        inner.AllGather(mine, firsts, all);
        Up(all, y);
    }

    /// <inheritdoc/>
    public void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y)
    {
        bool reads = Rank == 0;
        Operands.CheckGather(x, firsts, y, Rank, Degree, reads);
        Tensor mine = Down(x, _in), all = reads ? _out.Like(y) : default;
        inner.Gather(mine, firsts, all);
        if (reads)
            Up(all, y);
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor x, int root)
    {
        Operands.CheckWords(x, nameof(x));
        Tensor staged = Rank == root ? Down(x, _in) : _in.Like(x);
        inner.Broadcast(staged, root);
        if (Rank != root)
            Up(staged, x);
    }

    /// <inheritdoc/>
    public void Barrier() => inner.Barrier();

    /// <inheritdoc/>
    public void Barrier(TimeSpan patience) => inner.Barrier(patience);

    /// <inheritdoc/>
    public void Revoke(string reason) => inner.Revoke(reason);

    /// <inheritdoc/>
    public void Dispose()
    {
        inner.Dispose(); // an operation in progress ends before its memory goes
        _in.Dispose();
        _out.Dispose();
    }

    private Tensor Down(Tensor device, Staging staging)
    {
        Tensor host = staging.Like(device);
        if (Words(host) is { IsEmpty: false } words)
            ops.Download(device, words);
        return host;
    }

    private void Up(Tensor host, Tensor device)
    {
        if (Words(host) is { IsEmpty: false } words)
            ops.Upload<uint>(words, device);
    }

    private static unsafe Span<uint> Words(Tensor host)
    {
        long words = (long)host.Rows * host.Columns;
        return words == 0 ? [] : new Span<uint>(host.HostRow<uint>(0), checked((int)words)); // the tensor lies inside its buffer
    }

    /// <summary>One block of host memory that operations use one after the other; it grows to the largest and then stays.</summary>
    private sealed class Staging(ITensorBackend ops) : IDisposable
    {
        private HostBuffer? _buffer;

        /// <summary>A dense tensor of the same shape and type, with undefined content, valid until the next call.</summary>
        public Tensor Like(Tensor device)
        {
            long bytes = (long)device.Rows * device.Columns * device.Type.SizeBytes();
            if (_buffer is null || _buffer.Bytes < bytes)
            {
                _buffer?.Dispose();
                _buffer = null;
                _buffer = ops.AllocateStaging(Math.Max(SmallestBytes, (long)BitOperations.RoundUpToPowerOf2((ulong)bytes)));
            }
            return new Tensor(_buffer, 0, device.Rows, device.Columns, device.Columns, device.Type);
        }

        /// <inheritdoc/>
        public void Dispose() => _buffer?.Dispose();

        /// <summary>Enough for a decode step of a usual model, so that most groups never grow theirs.</summary>
        private const long SmallestBytes = 1 << 20;
    }
}
