using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Writes every UTF-8 byte as its character of the byte alphabet.</summary>
internal sealed class ByteLevelNormalizer : INormalizer
{
    public string Normalize(string text) => ByteAlphabet.Encode(text);
}
