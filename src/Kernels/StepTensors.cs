namespace TpServe.Kernels;

/// <summary>The integers of one step on the device: which token stands where.</summary>
/// <remarks>
/// Shapes   n tokens, s sequences. Rows of one sequence follow each other in ascending position.
/// </remarks>
/// <param name="TokenIds">[n, 1] Int32.</param>
/// <param name="Positions">[n, 1] Int32: 0-based position in its sequence.</param>
/// <param name="Slots">[n, 1] Int32: where its key and value are stored: block · blockTokens + position in block.</param>
/// <param name="SequenceOfRow">[n, 1] Int32: row of BlockTables.</param>
/// <param name="BlockTables">[s, most blocks of any] Int32: physical block of each logical block; unused entries are −1.</param>
public sealed record StepTensors(Tensor TokenIds, Tensor Positions, Tensor Slots, Tensor SequenceOfRow, Tensor BlockTables);
