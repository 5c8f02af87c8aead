using TpServe.Kernels;

namespace TpServe.Benchmarks;

/// <summary>Random blocks. Where only time counts every row is the same; where results are compared, each is another.</summary>
internal sealed class RandomRows : WeightRows
{
    private readonly byte[] _rows;
    private readonly int _rowBytes;

    public RandomRows(WeightFormat format, int outputs, int columns, bool distinct = false)
    {
        (Format, Outputs, FileColumns) = (format, outputs, columns);
        _rowBytes = (int)format.RowBytes(columns);
        _rows = new byte[_rowBytes * (distinct ? outputs : 1)];
        Random random = new(1);
        random.NextBytes(_rows);
        // Halves and floats near one: subnormal numbers would slow the multipliers down.
        int word = format == WeightFormat.F32 ? 4 : 2;
        for (int i = word - 1; i < _rows.Length; i += word)
            _rows[i] = (byte)(0x3C | (_rows[i] & 0x83));
    }

    public override WeightFormat Format { get; }

    public override int Outputs { get; }

    public override int FileColumns { get; }

    public override ReadOnlySpan<byte> Row(int output) => _rows.AsSpan((int)((long)output * _rowBytes % _rows.Length), _rowBytes);
}
