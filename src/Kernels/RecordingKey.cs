namespace TpServe.Kernels;

/// <summary>Names work whose operations have the same sizes every time.</summary>
/// <param name="Rows">Rows of the step, padding included.</param>
/// <param name="TableBlocks">Columns of the block tables, padding included.</param>
/// <param name="Candidates">Candidates taken of each row; 0 where none are.</param>
public readonly record struct RecordingKey(int Rows, int TableBlocks, int Candidates);
