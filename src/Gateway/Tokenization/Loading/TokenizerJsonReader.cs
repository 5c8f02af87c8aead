using System.Text.Json;
using TpServe.Gateway.Tokenization.AddedTokens;
using TpServe.Gateway.Tokenization.Models;
using TpServe.Gateway.Tokenization.Normalizers;

namespace TpServe.Gateway.Tokenization.Loading;

/// <summary>Builds a tokenizer's pipeline from tokenizer.json.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> naming the path and the value of whatever is wrong.
/// </remarks>
internal static class TokenizerJsonReader
{
    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    public static TokenizerParts Read(ReadOnlyMemory<byte> json)
    {
        if (json.Span.StartsWith(ByteOrderMark))
            json = json[ByteOrderMark.Length..];
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 2 * TokenizerLimits.Depth });
            return Read(new JsonPart(document.RootElement, "tokenizer.json"));
        }
        catch (JsonException fault)
        {
            throw new TokenizerException($"tokenizer.json is not valid JSON: {fault.Message}", fault);
        }
    }

    private static TokenizerParts Read(JsonPart root)
    {
        INormalizer? normalizer = root.Optional("normalizer") is JsonPart n ? NormalizerReader.Read(n) : null;
        ITokenModel model = ModelReader.Read(root.Required("model"));
        AddedVocabulary added = new(ReadAdded(root, model.Vocabulary), normalizer);
        return new TokenizerParts
        {
            Normalizer = normalizer,
            PreTokenizer = root.Optional("pre_tokenizer") is JsonPart p ? PreTokenizerReader.Read(p) : null,
            Model = model,
            Added = added,
            Template = root.Optional("post_processor") is JsonPart t ? PostProcessorReader.Read(t) : SpecialTokenTemplate.None,
            Decoder = DecoderReader.Read(root.Optional("decoder")),
        };
    }

    private static List<AddedToken> ReadAdded(JsonPart root, Vocabulary vocabulary)
    {
        List<AddedToken> tokens = [];
        if (root.Optional("added_tokens") is not JsonPart list)
            return tokens;
        foreach (JsonPart token in list.Items(TokenizerLimits.VocabularyTokens))
        {
            string text = token.Required("content").Text();
            if (text.Length > TokenizerLimits.TokenCharacters)
                throw new TokenizerException($"{token.Path}.content has {text.Length} characters; the limit is {TokenizerLimits.TokenCharacters}.");
            int id = token.Required("id").Integer(0, TokenizerLimits.VocabularyTokens - 1);
            int known = vocabulary.IdOf(text);
            bool special = token.Flag("special", absent: false);
            tokens.Add(new AddedToken
            {
                Text = text,
                Id = known >= 0 ? known : id, // the model's own id wins, as in the reference
                SingleWord = token.Flag("single_word", absent: false),
                StripsLeft = token.Flag("lstrip", absent: false),
                StripsRight = token.Flag("rstrip", absent: false),
                Normalized = token.Flag("normalized", absent: !special),
                Special = special,
            });
        }
        return tokens;
    }
}
