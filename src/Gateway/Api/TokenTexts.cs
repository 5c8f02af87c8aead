using System.Text;
using TpServe.Gateway.Requests;
using TpServe.Tokenization;

namespace TpServe.Gateway.Api;

/// <summary>Bytes and text of single tokens, for reports.</summary>
public sealed class TokenTexts(ServingModel model)
{
    private readonly Tokenizer _tokenizer = model.Tokenizer;

    /// <summary>The bytes the token stands for; empty for ids the embedding has and the tokenizer has not (padding).</summary>
    public ReadOnlyMemory<byte> Bytes(int id) => id < _tokenizer.VocabularySize ? _tokenizer.TokenBytes(id) : default;

    /// <summary>The same as text; bytes that are not UTF-8 are replaced by U+FFFD.</summary>
    public string Text(int id) => Encoding.UTF8.GetString(Bytes(id).Span);
}
