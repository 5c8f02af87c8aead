using TpServe.Kernels;

namespace TpServe.Benchmarks;

/// <summary>Random blocks; their values do not matter here.</summary>
internal sealed class RandomRows : WeightRows
{
    private readonly byte[] _row;

    public RandomRows(WeightFormat format, int outputs, int columns)
    {
        (Format, Outputs, FileColumns) = (format, outputs, columns);
        _row = new byte[format.RowBytes(columns)];
        Random random = new(1);
        random.NextBytes(_row);
        // Halves and floats near one: subnormal numbers would slow the multipliers down.
        int word = format == WeightFormat.F32 ? 4 : 2;
        for (int i = word - 1; i < _row.Length; i += word)
            _row[i] = (byte)(0x3C | (_row[i] & 0x83));
    }

    public override WeightFormat Format { get; }

    public override int Outputs { get; }

    public override int FileColumns { get; }

    public override ReadOnlySpan<byte> Row(int output) => _row;
}
