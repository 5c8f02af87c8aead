using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>One rank's end of its group: every rank calls the same operations in the same order, and every rank gets the same bits.</summary>
/// <remarks>
/// Every operation carries (epoch, step, sequence number, operation, shape); ranks that disagree fail at once with
/// <see cref="CollectiveMismatchException"/>. Every wait ends: with the peers' data, at the deadline with
/// <see cref="CollectiveTimeoutException"/>, or with <see cref="RevokedException"/> when the epoch is revoked.
/// Where <see cref="IsEnqueued"/> is true, these come from the first call after the device has met them: at the latest from <see cref="ThrowIfLost"/>.
/// After any of these the epoch is dead for this rank: every later call throws <see cref="RevokedException"/>.
/// Numerics no sum's order depends on who computes it: rank and degree leave no trace in the bits.
/// Threads  the rank's thread calls the operations; <see cref="Revoke"/> may come from any thread.
/// </remarks>
public interface ICommunicator : IDisposable
{
    /// <summary>This rank, 0-based.</summary>
    int Rank { get; }

    /// <summary>Ranks in the group.</summary>
    int Degree { get; }

    /// <summary>The life of the group it belongs to.</summary>
    long Epoch { get; }

    /// <summary>Transport and what the ranks measured at start.</summary>
    CommunicatorReport Report { get; }

    /// <summary>True where operations are only enqueued on the backend's stream, so that a step may be recorded as a graph; false where they run on the host.</summary>
    bool IsEnqueued { get; }

    /// <summary>Time spent in operations since the last call, waiting included; resets to zero.</summary>
    TimeSpan TakeElapsed();

    /// <summary>Time in all operations so far in which the rank did nothing but wait for a peer; zero where the device waits and the host cannot tell.</summary>
    TimeSpan Waited => TimeSpan.Zero;

    /// <summary>What this rank has sent in all operations so far; nothing where the device sends and the host cannot tell.</summary>
    Traffic Sent => default;

    /// <summary>What the operations that follow are for, until the next call: so that traffic and time can be told apart. Whoever does not count ignores it.</summary>
    void For(CollectivePurpose purpose)
    {
    }

    /// <summary>Throws what the epoch has died of, where the device has met it by now. What was downloaded before is right where this does not throw.</summary>
    /// <remarks>Only enqueued operations leave anything to be met later; elsewhere each operation has thrown what it met.</remarks>
    void ThrowIfLost()
    {
    }

    /// <summary>Opens step <paramref name="step"/>: later operations carry its number.</summary>
    void BeginStep(long step);

    /// <summary>Finishes the canonical sum of all ranks' pieces: the same tree as one rank would have added.</summary>
    /// <remarks>Shapes   pieces [share.Pieces · n, out] contiguous (0 rows where the rank owns no leaf), y [n, out] contiguous, whole on every rank.</remarks>
    void SumTree(Tensor pieces, LeafShare share, Tensor y);

    /// <summary>The same; finished rows go to the consumer, where that pays while the rest is still being added.</summary>
    void SumTree(Tensor pieces, LeafShare share, Tensor y, ISumConsumer consumer)
    {
        ArgumentNullException.ThrowIfNull(consumer);
        SumTree(pieces, share, y);
        consumer.Take(y, 0);
    }

    /// <summary>Rows of a block of a row-parallel product whose sum travels while the next block is computed, the same on every rank; 0 = sums are not overlapped.</summary>
    int OverlapRows => 0;

    /// <summary>Begins a <see cref="SumTree(Tensor, LeafShare, Tensor)"/> that runs while the rank computes. Sums end in the order in which they were begun; until the last has, no other operation is called.</summary>
    /// <remarks>The operands are the sum's until it has ended.</remarks>
    void BeginSum(Tensor pieces, LeafShare share, Tensor y) => SumTree(pieces, share, y);

    /// <summary>Returns when the oldest sum under way has ended, as its operation would have.</summary>
    void EndSum()
    {
    }

    /// <summary>Room for this rank's pieces of n rows that the peers read in place: they are summed without being copied. Null where there is none, or not so much.</summary>
    /// <remarks>Shapes   [share.Pieces · rows, columns], undefined content. Only for the next operation, which must be the SumTree of the same share and size.</remarks>
    Tensor? Window(LeafShare share, int rows, int columns) => null;

    /// <summary>x ← Σ over ranks of x, where for each element at most one rank's value is not +0: exact in any order.</summary>
    /// <remarks>Shapes   x [n, c] contiguous, the same shape on every rank.</remarks>
    void SumDisjoint(Tensor x);

    /// <summary>Lays the ranks' columns side by side: y[:, firsts[r] .. firsts[r + 1]) = rank r's x.</summary>
    /// <remarks>Shapes   x [n, firsts[Rank + 1] − firsts[Rank]] Float32 or Int32; y [n, firsts[Degree]]; both contiguous. A rank may have 0 columns.</remarks>
    void AllGather(Tensor x, IReadOnlyList<int> firsts, Tensor y);

    /// <summary>As <see cref="AllGather"/>, but only rank 0 receives; others pass default for y. They do not wait for rank 0.</summary>
    void Gather(Tensor x, IReadOnlyList<int> firsts, Tensor y);

    /// <summary>x ← rank <paramref name="root"/>'s x.</summary>
    void Broadcast(Tensor x, int root);

    /// <summary>Returns when every rank has called it.</summary>
    void Barrier();

    /// <summary>As <see cref="Barrier()"/>, but waits for the peers as long as <paramref name="patience"/>: for what may take one rank much longer than another, as loading does.</summary>
    void Barrier(TimeSpan patience);

    /// <summary>Wakes every waiter of the epoch, on every rank that can be reached, with <see cref="RevokedException"/>.</summary>
    void Revoke(string reason);
}

/// <summary>Takes rows of a sum as they are finished.</summary>
public interface ISumConsumer
{
    /// <summary>Rows [first, first + sums.Rows) are final; ascending, each once. Calls no collective.</summary>
    void Take(Tensor sums, int first);
}

/// <summary>Which transport a group uses, why, and what it cost at start.</summary>
/// <param name="Transport">"local", "cuda-ipc", "shm", "ring", "shm+ring".</param>
/// <param name="Reason">Why this one, for people.</param>
/// <param name="AllReduceMicroseconds">Median of a small canonical sum (576 floats) measured at start; 0 with one rank.</param>
public sealed record CommunicatorReport(string Transport, string Reason, double AllReduceMicroseconds)
{
    /// <summary>What partial sums are sent as.</summary>
    public WireFormat Wire { get; init; }
}
