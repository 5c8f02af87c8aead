namespace TpServe.Tokenization.Loading;

/// <summary>Reads from the post-processor of tokenizer.json which ids stand around a single text.</summary>
internal static class PostProcessorReader
{
    public static SpecialTokenTemplate Read(JsonPart part) =>
        part.Flatten("processors").Select(ReadStep).Aggregate(SpecialTokenTemplate.None, (inner, outer) => inner.Inside(outer));

    private static SpecialTokenTemplate ReadStep(JsonPart part) => part.Type() switch
    {
        "ByteLevel" => SpecialTokenTemplate.None, // moves offsets only
        "TemplateProcessing" => ReadTemplate(part),
        "RobertaProcessing" or "BertProcessing" => new SpecialTokenTemplate([Pair(part.Required("cls"))], [Pair(part.Required("sep"))]),
        _ => throw part.UnknownType("Sequence", "ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"),
    };

    private static SpecialTokenTemplate ReadTemplate(JsonPart part)
    {
        List<int> before = [], after = [];
        bool text = false;
        foreach (JsonPart piece in part.Required("single").Items(TokenizerLimits.PipelineSteps))
        {
            if (piece.Optional("SpecialToken") is JsonPart special)
            {
                (text ? after : before).AddRange(Ids(part, special.Required("id").Text()));
                continue;
            }
            string id = piece.Required("Sequence").Required("id").Text();
            if (text || id != "A")
                throw piece.Fault("one Sequence A among special tokens");
            text = true;
        }
        return text ? new SpecialTokenTemplate(before, after) : throw part.Required("single").Fault("a template with Sequence A");
    }

    private static IEnumerable<int> Ids(JsonPart part, string name) =>
        part.Required("special_tokens").Required(name).Required("ids").Items(TokenizerLimits.PipelineSteps).Select(Id);

    private static int Pair(JsonPart part) => part.Items(2) is [_, JsonPart id] ? Id(id) : throw part.Fault("a token and its id");

    private static int Id(JsonPart part) => part.Integer(0, TokenizerLimits.VocabularyTokens - 1);
}
