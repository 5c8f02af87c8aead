namespace TpServe.Tokenization.Models;

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
