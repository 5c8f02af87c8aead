using System.Runtime.InteropServices;
using TpServe.Collectives.CudaIpc;
using TpServe.Kernels.Tests.Cuda;
using TpServe.Ptx;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>The PTX of the kernels, several ranks at once on a machine that interleaves their warps by a seed and finds races and unwritten bytes.</summary>
public sealed class InterleavedTests
{
    private const int Channels = 2;
    private const int Ranks = 3;
    private const int HalfWords = 192;
    private static readonly Lazy<PtxModule> s_sums = new(() => Compile("Sums")), s_moves = new(() => Compile("Moves"));

    [TestCase(2, 0, 200, new[] { 0, 5, 9 })]      // one-shot, two rounds a channel
    [TestCase(3, 0, 130, new[] { 0, 3, 4, 9 })]
    [TestCase(2, 1, 200, new[] { 0, 5, 9 })]      // two-shot
    [TestCase(3, 1, 130, new[] { 0, 3, 4, 9 })]
    public void Sum_AnyInterleaving_HasTheBitsOfOneRankAndNoRace(int degree, int twoShot, int elements, int[] boundaries)
    {
        float[][] leaves = LeafSums.Random(9, elements, seed: 1);
        float[] expected = LeafSums.Whole(leaves, 0, 9);
        for (int seed = 0; seed < 4; seed++)
        {
            Scene scene = new(degree, HalfWords);
            (object[] sums, PtxBuffer[] results) = Sums(scene, leaves, boundaries, twoShot);
            scene.Launch(s_sums.Value, "Sums", sums, seed, degree);
            scene.Launch(s_sums.Value, "Sums", sums, seed, degree); // the rounds go on where the first launch left them
            foreach (PtxBuffer result in results)
                Assert.That(scene.Memory.Read<float>(result), Is.EqualTo(expected), $"seed {seed}");
            for (int rank = 0; rank < degree; rank++)
                Assert.That(scene.HostWord(rank, IpcLayout.StatusAt), Is.Zero);
        }
    }

    [TestCase("st.release.sys.global.b64", "st.relaxed.sys.global.b64")]
    [TestCase("ld.acquire.sys.global.b64", "ld.relaxed.sys.global.b64")]
    public void Sum_FlagsWithoutOrder_AreFoundToRace(string ordered, string plain)
    {
        // Negative control: the machine would see it, did the flags not order the data.
        OfflineKernel kernel = Kernel("Sums");
        PtxModule module = PtxModule.Parse(kernel.Ptx.Replace(ordered, plain, StringComparison.Ordinal));
        float[][] leaves = LeafSums.Random(9, 200, seed: 1);
        Scene scene = new(2, HalfWords);
        (object[] sums, _) = Sums(scene, leaves, [0, 5, 9], twoShot: 0);
        Assert.That(() => scene.Launch(module, "Sums", sums, seed: 1, ranks: 2), Throws.InstanceOf<PtxException>().With.Property(nameof(PtxException.Fault)).EqualTo(PtxFault.Race));
    }

    [Test]
    public void Sum_RankMissing_EndsWithItsNameOnTheHost()
    {
        float[][] leaves = LeafSums.Random(9, 64, seed: 1);
        Scene scene = new(3, HalfWords, timeoutNanoseconds: 20_000); // the machine's clock counts instructions
        (object[] sums, _) = Sums(scene, leaves, [0, 3, 4, 9], twoShot: 0);
        scene.Launch(s_sums.Value, "Sums", sums, seed: 1, ranks: 2);
        IpcFault[] faults = [.. Enumerable.Range(0, 2).Select(rank => (IpcFault)scene.HostWord(rank, IpcLayout.StatusAt))];
        Assert.That(faults, Has.Some.EqualTo(IpcFault.Timeout).And.All.Not.EqualTo(IpcFault.None));
        int first = Array.IndexOf(faults, IpcFault.Timeout);
        Assert.That(scene.HostWord(first, IpcLayout.PeerAt), Is.EqualTo(2));
    }

    [Test]
    public void Sum_HostRevokes_EndsEveryRank()
    {
        float[][] leaves = LeafSums.Random(9, 64, seed: 1);
        Scene scene = new(3, HalfWords);
        (object[] sums, _) = Sums(scene, leaves, [0, 3, 4, 9], twoShot: 0);
        scene.RevokeOn(rank: 0);
        scene.Launch(s_sums.Value, "Sums", sums, seed: 1, ranks: 2); // the third never comes
        for (int rank = 0; rank < 2; rank++)
            Assert.That((IpcFault)scene.HostWord(rank, IpcLayout.StatusAt), Is.EqualTo(IpcFault.Revoked));
    }

    [TestCase(2)]
    [TestCase(3)]
    public void Move_AnyInterleaving_LaysColumnsSideBySideWithoutRace(int degree)
    {
        const int Rows = 3;
        int[] firsts = [0, 50, 57, 90], own = firsts[..(degree + 1)];
        for (int seed = 0; seed < 4; seed++)
        {
            Scene scene = new(degree, halfWords: 64);
            PtxBuffer table = scene.Memory.Allocate(own);
            PtxBuffer[] results = [.. Enumerable.Range(0, degree).Select(_ => scene.Memory.Allocate((long)Rows * own[^1] * sizeof(int)))];
            object[] moves = [.. Enumerable.Range(0, degree).Select(rank => Bytes(new IpcMove
            {
                Source = scene.Memory.Allocate([.. Cells(rank)]).Address,
                Destination = results[rank].Address,
                Firsts = table.Address,
                Rows = Rows,
                Longest = Rows * 50,
                ChannelElements = 80,
            }))];
            scene.Launch(s_moves.Value, "Moves", moves, seed, degree);
            foreach (PtxBuffer result in results)
                Assert.That(scene.Memory.Read<int>(result), Is.EqualTo(Enumerable.Range(0, Rows * own[^1])), $"seed {seed}");

            IEnumerable<int> Cells(int rank) =>
                from row in Enumerable.Range(0, Rows)
                from column in Enumerable.Range(own[rank], own[rank + 1] - own[rank])
                select row * own[^1] + column;
        }
    }

    private static (object[] Sums, PtxBuffer[] Results) Sums(Scene scene, float[][] leaves, int[] boundaries, int twoShot)
    {
        int elements = leaves[0].Length;
        LeafShare[] shares = [.. Enumerable.Range(0, boundaries.Length - 1).Select(rank => new LeafShare(new Leaves(1, leaves.Length), boundaries, rank))];
        SumSchedule schedule = SumSchedule.Of(shares[0]);
        PtxBuffer table = scene.Memory.Allocate(Table(schedule));
        PtxBuffer[] results = [.. shares.Select(_ => scene.Memory.Allocate((long)elements * sizeof(float)))];
        return ([.. shares.Select((share, rank) => (object)Bytes(new IpcSum
        {
            Mine = scene.Memory.Allocate(LeafSums.Pieces(leaves, share)).Address,
            Result = results[rank].Address,
            Schedule = table.Address,
            Pieces = schedule.Pieces,
            MyPieces = share.Pieces,
            Elements = elements,
            ChannelElements = (elements / Channels + 15) / 16 * 16,
            Chunk = HalfWords / schedule.MostPieces / 16 * 16,
            TwoShot = twoShot,
            Aligned = elements % 4 == 0 ? 1 : 0,
        }))], results);
    }

    private static int[] Table(SumSchedule schedule) =>
        [.. from rank in Enumerable.Range(0, schedule.PiecesOfRank.Length)
            from piece in Enumerable.Range(0, schedule.PiecesOfRank[rank])
            select schedule.Merges[schedule.FirstPieceOfRank[rank] + piece] | piece << 8 | rank << 24];

    private static PtxModule Compile(string name) =>
        PtxModule.Parse(Kernel(name).Ptx);

    private static OfflineKernel Kernel(string name) => OfflineKernel.Find(typeof(InterleavedKernels).Assembly).Single(kernel => kernel.Method.Name == name);

    private static byte[] Bytes<T>(T value) where T : unmanaged => MemoryMarshal.AsBytes([value]).ToArray();

    /// <summary>The memory of a group on one machine.</summary>
    private sealed class Scene
    {
        private readonly object[] _views;
        private readonly PtxBuffer[] _hosts;

        public Scene(int degree, int halfWords, long timeoutNanoseconds = 1L << 40)
        {
            PtxBuffer[] segments = [.. Enumerable.Range(0, degree).Select(_ => Zeroed(IpcLayout.DataAt(Channels), IpcLayout.SegmentBytes(Channels, halfWords)))];
            PtxBuffer table = Memory.Allocate([.. segments.Select(segment => segment.Address)]);
            _hosts = [.. Enumerable.Range(0, Ranks).Select(_ => Zeroed(IpcLayout.HostBytes, IpcLayout.HostBytes))];
            _views = [.. Enumerable.Range(0, Ranks).Select(rank => (object)Bytes(new IpcView
            {
                Table = table.Address,
                State = Zeroed(IpcLayout.StateBytes(Channels), IpcLayout.StateBytes(Channels)).Address,
                Host = _hosts[rank].Address,
                DataAt = IpcLayout.DataAt(Channels),
                TimeoutNanoseconds = timeoutNanoseconds,
                Rank = rank,
                Degree = degree,
                HalfWords = halfWords,
                Signature = 77,
            }))];
        }

        public PtxMemory Memory { get; } = new();

        /// <summary>A word that a rank's host reads.</summary>
        public int HostWord(int rank, int at) => Memory.Read<int>(_hosts[rank], at, 1)[0];

        /// <summary>As a rank's host does.</summary>
        public void RevokeOn(int rank) => Memory.Upload<int>(_hosts[rank], [1], IpcLayout.RevokeAt);

        /// <summary>The kernels of the first so many ranks, all at once.</summary>
        public void Launch(PtxModule module, string name, object[] operands, int seed, int ranks)
        {
            PtxMachine machine = new(Memory, seed) { ResidentBlocks = Channels * Ranks };
            object[] all = [.. Enumerable.Range(0, Ranks).Select(rank => operands[Math.Min(rank, operands.Length - 1)])];
            PtxRun run = machine.Launch(module, name, (Channels, ranks, 1), (64, 1, 1), 0, [.. _views, .. all]);
            Assert.That(run.DividedUniformBranches, Is.Zero, "a branch marked as uniform parted a warp");
        }

        /// <summary>A block of which only the first bytes are written: a read of the rest before it is written is a fault.</summary>
        private PtxBuffer Zeroed(int written, long bytes)
        {
            PtxBuffer buffer = Memory.Allocate(bytes);
            Memory.Upload<byte>(buffer, new byte[written]);
            return buffer;
        }
    }
}
