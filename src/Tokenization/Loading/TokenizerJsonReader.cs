using System.Text.Json;
using System.Text.Unicode;
using TpServe.Checkpoint;
using TpServe.Tokenization.AddedTokens;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.Normalizers;

namespace TpServe.Tokenization.Loading;

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
        if (!Utf8.IsValid(json.Span)) // the parser looks at text only when it is asked for it
            throw new TokenizerException("tokenizer.json is not valid JSON: it is not valid UTF-8.");
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 2 * TokenizerLimits.Depth });
            JsonNames.RequireText(json.Span);
            return Read(new JsonPart(document.RootElement, "tokenizer.json", ""));
        }
        catch (JsonException fault)
        {
            throw new TokenizerException($"tokenizer.json is not valid JSON: {fault.Message}", fault);
        }
    }

    private static TokenizerParts Read(JsonPart root)
    {
        INormalizer? normalizer = root.Optional("normalizer") is JsonPart n ? NormalizerReader.Read(n) : null;
        List<AddedToken> tokens = ReadAdded(root);
        HashSet<string> special = [.. tokens.Where(token => token.Special).Select(token => token.Text)];
        ITokenModel model = ModelReader.Read(root.Required("model"), special);

        // The model's own id wins over the list's, as in the reference.
        AddedVocabulary added = new(tokens.Select(token => model.Vocabulary.IdOf(token.Text) is >= 0 and int id ? token with { Id = id } : token), normalizer);
        if (added.LargestId > TokenizerLimits.LargestIdOf(model.Vocabulary.Size + tokens.Count))
            throw new TokenizerException($"added_tokens[].id is {added.LargestId}; ids run from 0 to {TokenizerLimits.LargestIdOf(model.Vocabulary.Size + tokens.Count)} where there are {model.Vocabulary.Size} tokens and {tokens.Count} added ones.");
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

    private static List<AddedToken> ReadAdded(JsonPart root)
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
            bool special = token.Flag("special", absent: false);
            tokens.Add(new AddedToken
            {
                Text = text,
                Id = id,
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
