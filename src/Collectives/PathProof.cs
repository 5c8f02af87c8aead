using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Collectives;

/// <summary>The first thing a new group does: known data goes every way and must arrive as it was, then a small sum is timed.</summary>
internal static unsafe class PathProof
{
    private const int PatternWords = 1021;
    private const int PatternRounds = 3; // two slots, and the first one again
    private const int SumFloats = 576;   // the hidden size of the embedded model: one decode step's sum
    private const int WarmUpSums = 10;
    private const int TimedSums = 50;

    /// <summary>Proves and measures; the communicator with its report, or the failure with the communicator disposed.</summary>
    /// <exception cref="TransportFailedException">Something arrived that was not sent.</exception>
    public static GroupCommunicator Prove(GroupCommunicator communicator, CancellationToken cancellation)
    {
        using CancellationTokenRegistration registration = cancellation.Register(() => communicator.Revoke("joining was cancelled"));
        try
        {
            for (int round = 0; round < PatternRounds; round++)
                SendPattern(communicator, round);
            communicator.Report = Timed(communicator);
            return communicator;
        }
        catch (Exception fault)
        {
            communicator.Revoke(fault.Message);
            communicator.Dispose();
            cancellation.ThrowIfCancellationRequested();
            throw;
        }
    }

    /// <summary>The communicator's report with the time of a small sum; every rank calls it.</summary>
    /// <exception cref="TransportFailedException">The sum came out wrong.</exception>
    public static CommunicatorReport Timed(ICommunicator communicator)
    {
        double microseconds = TimeSmallSum(communicator);
        communicator.TakeElapsed();
        return communicator.Report with { AllReduceMicroseconds = microseconds };
    }

    private static void SendPattern(GroupCommunicator communicator, int round)
    {
        int degree = communicator.Degree;
        int[] firsts = new int[degree + 1];
        for (int rank = 0; rank < degree; rank++)
            firsts[rank + 1] = firsts[rank] + PatternWords;
        using HostBuffer sent = new(PatternWords * sizeof(int)), received = new((long)firsts[degree] * sizeof(int));
        Tensor x = new(sent, 0, 1, PatternWords, PatternWords, ElementType.Int32);
        Tensor y = new(received, 0, 1, firsts[degree], firsts[degree], ElementType.Int32);

        Span<int> mine = x.HostSpan<int>(0);
        for (int i = 0; i < mine.Length; i++)
            mine[i] = Pattern(communicator.Epoch, round, communicator.Rank, i);
        communicator.AllGather(x, firsts, y);

        Span<int> all = y.HostSpan<int>(0);
        for (int i = 0; i < all.Length; i++)
        {
            int rank = i / PatternWords, word = i % PatternWords;
            if (all[i] != Pattern(communicator.Epoch, round, rank, word))
                throw new TransportFailedException($"{communicator.Report.Transport}: word {word} of rank {rank}'s pattern arrived at rank {communicator.Rank} as {all[i]:x8}.");
        }
    }

    private static int Pattern(long epoch, int round, int rank, int word) =>
        (int)Fingerprint.Empty.With((int)epoch).With(round).With(rank).With(word);

    private static double TimeSmallSum(ICommunicator communicator)
    {
        int degree = communicator.Degree;
        LeafShare share = new(new Leaves(1, degree), [.. Enumerable.Range(0, degree + 1)], communicator.Rank);
        using HostBuffer part = new(SumFloats * sizeof(float)), whole = new(SumFloats * sizeof(float));
        Tensor pieces = new(part, 0, 1, SumFloats, SumFloats, ElementType.Float32);
        Tensor y = new(whole, 0, 1, SumFloats, SumFloats, ElementType.Float32);
        pieces.HostSpan<float>(0).Fill(communicator.Rank + 1);

        double[] microseconds = new double[TimedSums];
        for (int i = -WarmUpSums; i < TimedSums; i++)
        {
            long start = Stopwatch.GetTimestamp();
            communicator.SumTree(pieces, share, y);
            if (i >= 0)
                microseconds[i] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
        }
        float expected = degree * (degree + 1) / 2; // exact: whole numbers far below 2^24
        float slack = communicator.Report.Wire == WireFormat.Float32 ? 0 : expected / 64; // a rounded sum is near
        foreach (float sum in y.HostSpan<float>(0))
            if (!(MathF.Abs(sum - expected) <= slack))
                throw new TransportFailedException($"{communicator.Report.Transport}: a sum of known parts came out wrong at rank {communicator.Rank}.");
        Array.Sort(microseconds);
        return microseconds[TimedSums / 2];
    }
}
