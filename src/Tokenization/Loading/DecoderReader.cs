using TpServe.Tokenization.Decoders;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.PreTokenizers;

namespace TpServe.Tokenization.Loading;

/// <summary>Builds the decoder of tokenizer.json.</summary>
internal static class DecoderReader
{
    private const int MostStripped = 1024;

    /// <summary>The chain; without a decoder, tokens with a space between.</summary>
    public static DecoderChain Read(JsonPart? part)
    {
        if (part is not JsonPart decoder)
            return new DecoderChain([() => new JoinStage()]);
        long growth = 1;
        List<Func<DecoderStage>> steps = [];
        foreach (JsonPart step in decoder.Flatten("decoders"))
        {
            steps.Add(ReadStep(step, ref growth));
            if (growth > GrowthLimit.Factor)
                throw new TokenizerException($"{step.Path} and the Replace steps before it may lengthen a text {growth} times; the limit is {GrowthLimit.Factor}.");
        }
        return new DecoderChain(steps);
    }

    private static Func<DecoderStage> ReadStep(JsonPart part, ref long growth)
    {
        switch (part.Type())
        {
            case "ByteLevel":
                return () => new ByteLevelStage();
            case "ByteFallback":
                return () => new ByteFallbackStage();
            case "Fuse":
                return () => new FuseStage();
            case "Replace":
                ReplaceNormalizer replace = NormalizerReader.ReadReplace(part);
                growth *= replace.Growth;
                return () => new ReplaceStage(replace);
            case "Strip":
                char content = part.Required("content").Character();
                int start = part.Required("start").Integer(0, MostStripped);
                int stop = part.Required("stop").Integer(0, MostStripped);
                return () => new StripStage(content, start, stop);
            case "Metaspace":
                char mark = part.Required("replacement").Character();
                bool dropsFirst = PreTokenizerReader.Scheme(part) != PrependScheme.Never;
                return () => new MetaspaceStage(mark, dropsFirst);
            case "WordPiece":
                string prefix = part.OptionalText("prefix") ?? "##";
                bool cleanup = part.Flag("cleanup", absent: true);
                return () => new WordPieceStage(prefix, cleanup);
            case "BPEDecoder":
                string suffix = part.OptionalText("suffix") ?? "</w>";
                return () => new BpeSuffixStage(suffix);
            default:
                throw part.UnknownType("Sequence", "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Metaspace", "WordPiece", "BPEDecoder");
        }
    }
}
