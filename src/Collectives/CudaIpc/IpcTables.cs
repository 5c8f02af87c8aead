using TpServe.Kernels;
using TpServe.Kernels.Cuda;

namespace TpServe.Collectives.CudaIpc;

/// <summary>Small tables that kernels read, on the device: each is uploaded at its first use and then found by its content.</summary>
/// <remarks>
/// An upload cannot be recorded into a graph, so a step has to run once before it is recorded, as the first prefill of a model does.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class IpcTables(CudaBackend ops) : IDisposable
{
    private const int BlockWords = 4096;
    private readonly Dictionary<ulong, long> _addresses = [];
    private readonly List<DeviceBuffer> _blocks = [];
    private int _used = BlockWords;

    /// <summary>Merges, number and rank of each piece of a schedule, as <see cref="IpcSum.Schedule"/> has them.</summary>
    public long Of(SumSchedule schedule)
    {
        if (_addresses.TryGetValue(schedule.Fingerprint, out long address))
            return address;
        int[] words = new int[schedule.Pieces];
        for (int rank = 0; rank < schedule.PiecesOfRank.Length; rank++)
            for (int piece = 0; piece < schedule.PiecesOfRank[rank]; piece++)
                words[schedule.FirstPieceOfRank[rank] + piece] = schedule.Merges[schedule.FirstPieceOfRank[rank] + piece] | piece << 8 | rank << 24;
        return Add(schedule.Fingerprint, words);
    }

    /// <summary>The numbers as they are.</summary>
    public long Of(IReadOnlyList<int> numbers)
    {
        ulong fingerprint = ~Fingerprint.Empty.With(numbers);
        return _addresses.TryGetValue(fingerprint, out long address) ? address : Add(fingerprint, [.. numbers]);
    }

    /// <summary>Addresses, which stay as they are for life.</summary>
    public long Of(ReadOnlySpan<long> addresses)
    {
        int[] words = new int[2 * addresses.Length];
        System.Runtime.InteropServices.MemoryMarshal.Cast<long, int>(addresses).CopyTo(words);
        return Add(~Fingerprint.Empty.With(words), words);
    }

    /// <inheritdoc/>
    public void Dispose() => _blocks.ForEach(block => block.Dispose());

    private long Add(ulong fingerprint, int[] words)
    {
        int room = (words.Length + 3) / 4 * 4;
        if (_used + room > BlockWords)
        {
            _blocks.Add(ops.Allocate((long)Math.Max(BlockWords, room) * sizeof(int)));
            _used = 0;
        }
        DeviceBuffer block = _blocks[^1];
        Tensor table = new(block, (long)_used * sizeof(int), 1, words.Length, words.Length, ElementType.Int32);
        ops.Upload<int>(words, table);
        long address = CudaBackend.AddressOf(table);
        _used += room;
        _addresses.Add(fingerprint, address);
        return address;
    }
}
