namespace TpServe.Tokenization.Models;

/// <summary>Encodes pieces of text to token ids.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface ITokenModel
{
    Vocabulary Vocabulary { get; }

    /// <summary>UTF-16 units of a piece that one id stands for at most, so that a piece has at least its length over this ids; null = any number.</summary>
    /// <param name="ofBytes">Pieces are written in the byte alphabet.</param>
    int? MostUnits(bool ofBytes) => null;

    /// <summary>Appends the ids of one piece, which is well-formed UTF-16.</summary>
    void Encode(ReadOnlySpan<char> piece, List<int> ids);
}

/// <summary>Every piece is a token, known or unknown; without an unknown token an unknown piece vanishes.</summary>
internal sealed class WordLevelModel(Vocabulary vocabulary, int? unknownId) : ITokenModel
{
    public Vocabulary Vocabulary => vocabulary;

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        int id = vocabulary.EncodableIdOf(piece);
        if (id >= 0)
            ids.Add(id);
        else if (unknownId is int unknown)
            ids.Add(unknown);
    }
}
