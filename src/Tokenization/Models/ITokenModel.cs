namespace TpServe.Tokenization.Models;

/// <summary>Encodes pieces of text to token ids.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface ITokenModel
{
    Vocabulary Vocabulary { get; }

    /// <summary>True where every character of a piece lies in a token, none vanishes and none is one unknown token with its neighbours: then a piece has at least so many ids as <see cref="TokenCosts"/> says.</summary>
    /// <param name="ofBytes">Pieces are written in the byte alphabet.</param>
    bool LosesNothing(bool ofBytes) => false;

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
