namespace TpServe.Kernels;

/// <summary>Rows of a matrix to be packed that lie packed in another one already, of whatever columns that covers.</summary>
/// <remarks>
/// Both matrices are of the same tensors of the same file, so that equal rows and columns are equal bytes. The source is only read.
/// A rank whose range grows or shrinks packs its matrices anew from what it holds, and reads from the file what it did not own.
/// </remarks>
/// <param name="Source">Who holds them.</param>
/// <param name="FirstSource">The first of them there.</param>
/// <param name="FirstTarget">The first of them in the matrix to be packed.</param>
/// <param name="Rows">How many.</param>
public readonly record struct KeptRows(PackedWeight Source, int FirstSource, int FirstTarget, int Rows);
