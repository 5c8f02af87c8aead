namespace TpServe.Tokenization.Normalizers;

/// <summary>Puts a text in front of every text that is not empty.</summary>
internal sealed class PrependNormalizer(string prefix) : INormalizer
{
    public string Normalize(string text) => text.Length == 0 ? text : prefix + text;

    public string NormalizeContinuation(string text) => text;
}
