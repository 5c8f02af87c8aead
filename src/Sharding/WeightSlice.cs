namespace TpServe.Sharding;

/// <summary>The part of a matrix [out, in] that a rank holds.</summary>
/// <param name="FirstRow">First output feature.</param>
/// <param name="Rows">Output features.</param>
/// <param name="FirstColumn">First input feature.</param>
/// <param name="Columns">Input features.</param>
public readonly record struct WeightSlice(int FirstRow, int Rows, int FirstColumn, int Columns)
{
    /// <summary>Elements held.</summary>
    public long Elements => (long)Rows * Columns;
}
