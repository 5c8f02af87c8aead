namespace TpServe.Tokenization.Models;

/// <summary>Encodes pieces of text to token ids.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface ITokenModel
{
    Vocabulary Vocabulary { get; }

    /// <summary>Appends the ids of one piece, which is well-formed UTF-16.</summary>
    void Encode(ReadOnlySpan<char> piece, List<int> ids);
}
