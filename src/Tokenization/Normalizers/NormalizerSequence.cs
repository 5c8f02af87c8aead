namespace TpServe.Tokenization.Normalizers;

/// <summary>Several normalizers, one after the other.</summary>
internal sealed class NormalizerSequence(IReadOnlyList<INormalizer> steps) : INormalizer
{
    public string Normalize(string text) => Apply(text, (step, current) => step.Normalize(current));

    public string NormalizeContinuation(string text) => Apply(text, (step, current) => step.NormalizeContinuation(current));

    private string Apply(string text, Func<INormalizer, string, string> apply)
    {
        string current = text;
        foreach (INormalizer step in steps)
        {
            current = apply(step, current);
            GrowthLimit.Check(text.Length, current.Length, "The normalizer");
        }
        return current;
    }
}
