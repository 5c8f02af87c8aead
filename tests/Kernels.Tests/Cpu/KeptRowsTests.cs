using NUnit.Framework;
using TpServe.Kernels.Cpu;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>A matrix packed from another one and from the file is byte for byte the one that is packed from the file alone.</summary>
public sealed class KeptRowsTests
{
    private const int Columns = 1024;

    private readonly CpuBackend _backend = new(threads: 2, Isa.Detect());

    private static IEnumerable<WeightFormat> Formats => Enum.GetValues<WeightFormat>();

    [OneTimeTearDown]
    public void Close() => _backend.Dispose();

    [Test]
    public void PackWeight_RangeOfRowsMoves_ReadsOnlyWhatIsNew(
        [ValueSource(nameof(Formats))] WeightFormat format, [Values(0, 16, 32, 33, 64)] int from, [Values(96, 128, 157)] int end)
    {
        LinearWeights file = LinearWeights.Random(format, 160, Columns, seed: 1);
        using PackedWeight old = _backend.PackWeight(new Slice(file, 32, 96), InputLeaves.Whole(Columns));
        Slice wanted = new(file, from, end - from);
        int first = Math.Max(from, 32), last = Math.Min(end, 128);
        using PackedWeight moved = _backend.PackWeight(wanted, InputLeaves.Whole(Columns), [new KeptRows(old, first - 32, first - from, last - first)], out long read);
        Check(moved, wanted, InputLeaves.Whole(Columns));
        // A group of four rows that one source does not hold whole is read whole.
        int target = first - from, copied = last - from == end - from ? end - from : (last - from) / 4 * 4;
        Assert.That(read, Is.EqualTo((end - from - Math.Max(0, copied - ((target + 3) / 4 * 4))) * format.RowBytes(Columns)));
    }

    [Test]
    public void PackWeight_RangeOfLeavesMoves_ReadsOnlyWhatIsNew(
        [ValueSource(nameof(Formats))] WeightFormat format, [Values(0, 256, 320)] int from, [Values(512, 704, 1024)] int end)
    {
        LinearWeights file = LinearWeights.Random(format, 50, Columns, seed: 2);
        InputLeaves held = LeavesOf(256, 768), wanted = LeavesOf(from, end);
        using PackedWeight old = _backend.PackWeight(file, held);
        using PackedWeight moved = _backend.PackWeight(file, wanted, [new KeptRows(old, 0, 0, 50)], out long read);
        Check(moved, file, wanted);
        int unit = Math.Max(32, format.BlockValues()), first = from / unit * unit, last = (end + unit - 1) / unit * unit;
        int copied = Math.Min(last, 768) - Math.Max(first, 256);
        Assert.That(read, Is.EqualTo(50 * format.RowBytes(last - first - copied)));
    }

    [Test]
    public void PackWeight_SourceHoldsOtherColumns_ReadsAll()
    {
        LinearWeights file = LinearWeights.Random(WeightFormat.Q8_0, 16, Columns, seed: 3);
        using PackedWeight old = _backend.PackWeight(file, LeavesOf(0, 256));
        using PackedWeight moved = _backend.PackWeight(file, LeavesOf(512, 1024), [new KeptRows(old, 0, 0, 16)], out long read);
        Check(moved, file, LeavesOf(512, 1024));
        Assert.That(read, Is.EqualTo(16 * WeightFormat.Q8_0.RowBytes(512)));
    }

    private static InputLeaves LeavesOf(int from, int end) => new([.. Enumerable.Range(0, ((end - from) / 64) + 1).Select(leaf => from + (64 * leaf))], [.. Enumerable.Repeat(0, (end - from) / 64)]);

    private unsafe void Check(PackedWeight moved, WeightRows rows, InputLeaves leaves)
    {
        using PackedWeight fresh = _backend.PackWeight(rows, leaves);
        CpuPackedWeight own = (CpuPackedWeight)moved, other = (CpuPackedWeight)fresh;
        Assert.That((own.Panels, own.PanelBytes, own.Bytes), Is.EqualTo((other.Panels, other.PanelBytes, other.Bytes)));
        Assert.That(new ReadOnlySpan<byte>(own.PanelAt(0), (int)own.Bytes).SequenceEqual(new ReadOnlySpan<byte>(other.PanelAt(0), (int)other.Bytes)), Is.True);
    }

    /// <summary>Some rows of a matrix.</summary>
    private sealed class Slice(WeightRows rows, int first, int count) : WeightRows
    {
        public override WeightFormat Format => rows.Format;

        public override int Outputs => count;

        public override int FileColumns => rows.FileColumns;

        public override ReadOnlySpan<byte> Row(int output) => rows.Row(first + output);
    }
}
