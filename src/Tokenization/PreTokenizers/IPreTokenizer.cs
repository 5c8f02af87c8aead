namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Cuts a piece of text into smaller ones, possibly changing it.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface IPreTokenizer
{
    /// <summary>Appends the parts of the piece, in order, none empty.</summary>
    void Split(TextPiece piece, List<TextPiece> parts);
}
